# A minute of change under traffic: addresses come to the host and go, routes, links and the policy change, in an order
# that the seed makes, while a guest sends to all of it. After a cut no TCP payload byte reaches what is denied, no more
# datagrams reach the host than the audit log says, and no flow that was allowed throughout is harmed. Then the same for
# a while with contrib/nftables loaded: no datagram at all.
. "$(dirname "$0")/../world.sh"
SEED=${CORDON_TEST_SEED:-4711}
BOOK_PORT=7778
# How long something may still arrive. After a policy is in force, as its record says: packets under way. After a change
# of the host, as this script made it: the broker has to be given a processor first. Sanitizers make all of it slow.
[ "$BYTES" -ge 1000000000 ] && POLICY_SLACK=50 HOST_SLACK=250 || POLICY_SLACK=250 HOST_SLACK=500
# A minute, and with sanitizers a part of it.
[ "$BYTES" -ge 1000000000 ] && SECONDS_PLAIN=60 SECONDS_BACKSTOP=18 || SECONDS_PLAIN=25 SECONDS_BACKSTOP=12
SECONDS_PLAIN=${CORDON_TEST_HAMMER_S:-$SECONDS_PLAIN} SECONDS_BACKSTOP=${CORDON_TEST_BACKSTOP_S:-$SECONDS_BACKSTOP}
# What the broker may grow by, in KiB; AddressSanitizer holds back 256 MiB of what was freed.
[ "$BYTES" -ge 1000000000 ] && GROWTH=8192 || GROWTH=300000
steady="192.0.2.10 198.51.100.10 2001:db8::10"
becomes_host=() closed_at_times=() unrouted_at_times="192.0.2.60 2001:db8::60"
for i in 0 1 2 3 4 5 6 7; do
  becomes_host+=("192.0.2.4$i" "2001:db8::4$i")
  [ $i -ge 4 ] || closed_at_times+=("192.0.2.2$i" "2001:db8::2$i")
done
now() { printf '%s' "$EPOCHREALTIME"; }
long() { case $1 in *:*) printf '%s/128' "$1" ;; *) printf '%s/32' "$1" ;; esac; }
rand() { printf '%s' $((RANDOM % $1)); }

for address in "${becomes_host[@]}" "${closed_at_times[@]}" $unrouted_at_times; do
  ip -n server addr add "$(long "$address")" dev lo nodad 2>/dev/null || ip -n server addr add "$(long "$address")" dev lo
done
# Flows shall have a source address that comes back after each change.
ip -n host addr del 2001:db8::131/128 dev up0
# A second gateway on the link, and a second link.
ip -n server addr add 10.99.0.3/24 dev dn0
ip -n server addr add fd00:99::3/64 dev dn0 nodad
ip link add up1 netns host type veth peer name dn1 netns server
ip -n server addr add 10.98.0.1/24 dev dn1
ip -n server addr add fd00:98::1/64 dev dn1 nodad
ip -n server link set dn1 up
# What waits in the kernel for a neighbour's link address was sent before the cut, and would come long after it.
mac_of() { ip -n server -br link show "$1" | awk '{print $3}'; }
dn0=$(mac_of dn0) dn1=$(mac_of dn1)
neighbours() {
  local address
  for address in 10.99.0.1 10.99.0.3 fd00:99::1 fd00:99::3; do
    ip -n host neigh replace $address lladdr "$dn0" dev up0 nud permanent
  done
  for address in 10.98.0.1 fd00:98::1; do
    ip -n host neigh replace $address lladdr "$dn1" dev up1 nud permanent
  done
}
ip netns exec server sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.dn0.rp_filter=0 net.ipv4.conf.dn1.rp_filter=0
ip netns exec host sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.up0.rp_filter=0

# --- what changes

# denied ADDRESS since a time, and until another: the book is compared with this.
declare -A denied_since=()  # the time, and the slack in milliseconds
deny_from() { denied_since[$1]="$2 $3"; }
deny_until() { printf '%s %s %s\n' "$1" "${denied_since[$1]}" "$2" >>$W/log/denied; unset "denied_since[$1]"; }

# A destination becomes an address of the host, for a while or several times in a row.
next_host=0
host_address() {
  local address=${becomes_host[$((next_host++ % ${#becomes_host[@]}))]} device
  device=$(pick lo br0 up0)
  # Deprecated: not a source address for anybody.
  local add del
  add="addr add $(long "$address") dev $device" del="addr del $(long "$address") dev $device"
  case $address in *:*) add="$add nodad preferred_lft 0" ;; esac
  did "address $device"
  if [ "$(rand 3)" = 0 ]; then
    for _ in 1 2 3 4 5 6 7 8 9 10; do printf '%s\n%s\n' "$add" "$del"; done | ip -n host -batch -
  else
    # shellcheck disable=SC2086
    ip -n host $add
    deny_from "$address" "$(now)" $HOST_SLACK
    sleep "0.$((RANDOM % 4))$((RANDOM % 10))"
    deny_until "$address" "$(now)"
    # shellcheck disable=SC2086
    ip -n host $del
  fi
}
pick() { shift "$(rand $#)"; printf '%s' "$1"; }

gateway() {
  did gateway
  local last
  last=$(pick 1 3)
  ip -n host route replace default via 10.99.0.$last
  ip -n host route replace default via fd00:99::$last
}
unrouted() {
  local address kind
  address=$(pick $unrouted_at_times)
  kind=$(pick blackhole unreachable prohibit)
  did "$kind"
  ip -n host route add "$kind" "$(long "$address")"
  deny_from "$address" "$(now)" $HOST_SLACK
  sleep 0.$((1 + RANDOM % 3))
  deny_until "$address" "$(now)"
  ip -n host route del "$kind" "$(long "$address")"
}
no_default() {
  did "no default route"
  ip -n host route del default
  ip -n host route del default via fd00:99::1 2>/dev/null || ip -n host -6 route del default
  sleep 0.$((1 + RANDOM % 4))
  back
}
# A route to some of the destinations by the other link: those flows may move, the steady ones stay where they are.
detour() {
  did detour
  ip -n host link set up1 up
  neighbours
  ip -n host addr replace 10.98.0.2/24 dev up1
  ip -n host addr replace fd00:98::2/64 dev up1 nodad
  ip -n host route add 192.0.2.32/28 via 10.98.0.1
  ip -n host route add 2001:db8::40/124 via fd00:98::1
  sleep 0.$((2 + RANDOM % 5))
  [ "$(rand 2)" = 0 ] || ip -n host link set up1 down
  ip -n host route del 192.0.2.32/28 2>/dev/null
  ip -n host route del 2001:db8::40/124 2>/dev/null
}
link() {
  case $(pick mtu carrier down bridge) in
    mtu)
      local mtu
      did mtu
      mtu=$(pick 1400 1500 9000)
      ip -n host link set up0 mtu "$mtu"
      ip -n server link set dn0 mtu "$mtu"  # a link whose ends disagree loses packets in silence
      ;;
    carrier)
      did carrier
      ip -n server link set dn0 down
      sleep 0.$((1 + RANDOM % 3))
      ip -n server link set dn0 up
      ip -n server addr replace fd00:99::1/64 dev dn0 nodad
      ip -n server addr replace fd00:99::3/64 dev dn0 nodad
      ip -n server route replace 2001:db8::128/121 via fd00:99::2
      ;;
    down)
      did "link down"
      ip -n host link set up0 down
      sleep 0.$((1 + RANDOM % 3))
      back
      ;;
    bridge) did bridge; ip -n host link set br0 down; ip -n host link set br0 up ;;
  esac
}
back() {
  ip -n host addr replace fd00:99::2/64 dev up0 nodad
  ip -n host link set up0 up
  neighbours
  ip -n host route replace default via 10.99.0.1
  ip -n host route replace default via fd00:99::1
}
declare -A done_count=()
did() { done_count[$1]=$((${done_count[$1]:-0} + 1)); }

# --- the policy

write_policy() {  # write_policy DENIED...
  {
    printf 'version: 1\nname: world\negress:\n'
    [ $# = 0 ] || printf '  - {name: closed, deny: [%s]}\n' "$(printf '"%s", ' "$@" | sed 's/, $//')"
    printf '  - {name: open, allow: [192.0.2.0/24, 198.51.100.0/24, "2001:db8::/32"], ports: [tcp, udp, icmp/echo]}\n'
  } >$W/policy.new
  mv $W/policy.new $W/policy.yaml
}
last_record() { tac "$AUDIT" | grep -m1 -F "\"event.action\":\"$1\""; }
field() { sed -n "s/.*\"$1\":\"\\([^\"]*\\)\".*/\\1/p"; }
hash_in_force() { last_record policy-loaded | field sandbox.policy.hash; }
other_hash() { [ "$(hash_in_force)" != "$1" ]; }
rejections() { grep -cF '"event.action":"policy-rejected"' "$AUDIT"; }
more_rejections() { [ "$(rejections)" -gt "$1" ]; }
tell() { [ "$(rand 2)" = 0 ] || kill -HUP "$launcher"; }

closed=()
policy() {
  local address before loaded fresh=()
  for address in "${closed_at_times[@]}"; do [ "$(rand 2)" = 0 ] || fresh+=("$address"); done
  [ "${fresh[*]}" != "${closed[*]}" ] || return 0
  did policy
  before=$(hash_in_force)
  for address in "${closed[@]}"; do
    case " ${fresh[*]} " in *" $address "*) ;; *) deny_until "$address" "$(now)" ;; esac
  done
  write_policy "${fresh[@]}"
  tell
  within 20 other_hash "$before" || { complain "a good policy is not in force after 20 s"; return; }
  loaded=$(date -d "$(last_record policy-loaded | field @timestamp)" +%s.%6N)
  for address in "${fresh[@]}"; do
    [ -n "${denied_since[$address]:-}" ] || deny_from "$address" "$loaded" $POLICY_SLACK
  done
  closed=("${fresh[@]}")
}
bad_policy() {
  did "bad policy"
  local before hash
  before=$(rejections) hash=$(hash_in_force)
  cp $W/policy.yaml $W/policy.good
  # Each one differs: a watched file that is again what was refused last, and was another one in between only for the
  # watch's patience, is no news.
  { echo "# $before" && pick $'version: 1\nname: world\negress: [{allow: nonsense}]' $'\tversion' ''; } >$W/policy.new
  mv $W/policy.new $W/policy.yaml
  tell
  within 20 more_rejections "$before" || complain "a bad policy is not refused after 20 s"
  mv $W/policy.good $W/policy.yaml
  [ "$(hash_in_force)" = "$hash" ] || complain "a bad policy changed what is in force"
}
complain() { say "FAILED: $*"; failures=$((failures + 1)); }

# --- one run

descriptors() { find "/proc/$1/fd" -mindepth 1 | wc -l; }
live_flows() { in_host "$CORDON" ctl --socket $W/control.sock --json status | sed -n 's/.*"flows":{"live":\([0-9]*\).*/\1/p'; }
# Descriptors that are not a flow's; both numbers move while they are read.
few_others() {
  local flows descriptors
  flows=$(live_flows) descriptors=$(descriptors "$broker")
  echo "$descriptors descriptors, $flows flows"
  [ -n "$flows" ] && [ $((descriptors - flows)) -le 60 ]
}
resident() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }
cat >$W/traffic <<END
#!/bin/bash
echo ready
$TRAFFIC steady $PORT \$1 $steady & steady=\$!
$TRAFFIC restless $BOOK_PORT \$1 4 ${becomes_host[*]} ${closed_at_times[*]} $unrouted_at_times & restless=\$!
wait \$steady && wait \$restless
END
chmod 755 $W/traffic

# Lines of the book that are inside of a denied time, how late the latest was, and what was past the slack.
late() {
  test -s $W/log/denied && test -s $W/log/book.out || { echo "nothing to compare"; return 1; }
  awk -v which="$1" '
    FNR == NR { n[$1]++; from[$1, n[$1]] = $2; slack[$1, n[$1]] = $3; to[$1, n[$1]] = $4; next }
    $2 == which { booked++ }
    $2 == which && ($3 in n) {
      ours++
      for (i = 1; i <= n[$3]; i++)
        if ($1 > from[$3, i] && $1 < to[$3, i]) {
          ms = ($1 - from[$3, i]) * 1000
          if (ms > latest) latest = ms
          if (ms > slack[$3, i]) { bytes += $4; if (shown++ < 5) printf "%s from %s to %s\n", $0, from[$3, i], to[$3, i] }
        }
    }
    END {
      printf "%d bytes too late, the latest after %.1f ms, of %d in the book, %d of them to what was denied at times\n",
        bytes, latest, booked, ours
      exit bytes > 0 || booked < 100 || ours < 10
    }' $W/log/denied $W/log/book.out
}

hammer() {  # hammer SECONDS
  local end pids counts exposed address
  RANDOM=$SEED
  done_count=() denied_since=() closed=()
  : >$W/log/denied
  : >$AUDIT
  write_policy
  back
  start server server $TRAFFIC server $PORT
  start book server $TRAFFIC stamper $BOOK_PORT
  start canary host $TRAFFIC canary $BOOK_PORT
  background guest --watch-policy --control $W/control.sock -- $W/traffic $((($1 + 5) * 1000))
  launcher=$(role launcher) broker=$(role broker)
  pids="$launcher $broker $(role translator)"
  sleep 1
  local descriptors_before resident_before
  descriptors_before=$(descriptors "$broker") resident_before=$(resident "$broker")
  end=$((SECONDS + $1 - 1))
  while [ $SECONDS -lt $end ]; do
    case $(rand 12) in
      0 | 1 | 2 | 3) host_address ;;
      4 | 5 | 6) policy ;;
      7) bad_policy ;;
      8) unrouted ;;
      9) gateway ;;
      10) link ;;
      11) "$(pick no_default detour)" ;;
    esac 2>>$W/log/driver.err
    sleep 0.$((RANDOM % 2))$((RANDOM % 10))
  done
  back
  say "  broker: $descriptors_before -> $(descriptors "$broker") descriptors, $resident_before -> $(resident "$broker") kB resident"
  expect "broker: its descriptors are its flows'" within 2 few_others
  expect "broker: its memory stays" test "$(resident "$broker")" -lt $((resident_before + GROWTH))
  expect "the same processes as at the start" test "$pids" = "$(role launcher) $(role broker) $(role translator)"
  grep -E 'translator|broker' $W/log/guest.err
  for address in "${!denied_since[@]}"; do deny_until "$address" "$(now)"; done
  expect "flows that were allowed throughout: all complete, each byte as it should be" wait "${pid_of[guest]}"
  grep '"command"' $W/log/guest.out
  for what in "${!done_count[@]}"; do printf '  %s x %s,' "${done_count[$what]}" "$what"; done
  say " $(wc -l <$W/log/denied) times denied"
  stop book >/dev/null
  stop server >/dev/null
  counts=$(stop canary)
  exposed=$(grep '"event.action":"host-exposure"' "$AUDIT" | grep -o '"event.count":[0-9]*' |
    awk -F: '{sum += $2} END {print sum + 0}')
  expect "TCP payload to what was denied" late tcp
  expect "datagrams to what was denied" late udp
  expect "TCP payload at the host: $counts" test "$(number bytes <<<"$counts")" = 0
  if [ "${2:-}" = backstop ]; then
    expect "datagrams at the host: 0" test "$(number datagrams <<<"$counts")" = 0
    expect "connections at the host: 0" test "$(number accepted <<<"$counts")" = 0
  else
    expect "datagrams at the host: no more than the audited exposure ($exposed)" \
      test "$(number datagrams <<<"$counts")" -le "$exposed"
  fi
  for cause in policy-changed host-changed; do
    expect "flows were cut: $cause" grep -qE "\"flow-revoked\".*\"sandbox.cause\":\"$cause\"" "$AUDIT"
  done
  sort $W/log/driver.err | uniq -c | sort -rn | head -n 5
}

say "--- without the backstop, seed $SEED"
hammer "$SECONDS_PLAIN"
if [ "$CORDON_CALLER" = 0 ] && command -v nft >/dev/null; then
  say "--- with the backstop"
  expect "it loads" in_host nft -f "$(cd "$(dirname "$0")/../../.." && pwd)/contrib/nftables/cordon-backstop.nft"
  hammer "$SECONDS_BACKSTOP" backstop
  expect "Cordon knew of it" grep -qF 'in force; backstop: active' "$AUDIT"
  expect "and never thought otherwise" not grep -qE 'backstop: (none|partial)' "$AUDIT"
  held=$(in_host nft list counter inet cordon_backstop held_back | sed -n 's/.*packets \([0-9]*\).*/\1/p')
  expect "it held back: ${held:-nothing} packets" test "${held:-0}" -gt 0
fi
finish
