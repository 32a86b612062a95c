# The host's network changes under a running guest: it comes late, goes, comes back, moves to another uplink, and its
# events overrun. One TCP connection and one UDP socket per family are in use all the time; printed is how long each
# took to fail and to work again.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
all="tcp4 tcp6 udp4 udp6"

# The second path to the server.
ip link add up1 netns host type veth peer name dn1 netns server
ip -n server addr add 10.98.0.1/24 dev dn1
ip -n server addr add fd00:98::1/64 dev dn1 nodad
ip -n server link set dn1 up
ip netns exec server sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.dn0.rp_filter=0 net.ipv4.conf.dn1.rp_filter=0

now() { date +%s.%N; }
# ms_until MARK WHO PATTERN: milliseconds from MARK to the first line of WHO that matches; fails when there is none.
ms_until() {
  awk -v mark="$1" -v who="$2" -v pattern="$3" \
    '$2 == who && $1 >= mark - 0.001 && substr($0, index($0, $2) + length($2) + 1) ~ pattern {
       printf "%d\n", ($1 - mark) * 1000; found = 1; exit }
     END { exit !found }' $W/log/watch.out
}
# happens WHAT SECONDS MARK PATTERN WHO...: each of WHO enters a state that matches, not later than after SECONDS.
happens() {
  local what=$1 seconds=$2 mark=$3 pattern=$4 who took times=
  shift 4
  for who in "$@"; do
    if within $((seconds + 2)) ms_until "$mark" "$who" "$pattern" >/dev/null &&
      took=$(ms_until "$mark" "$who" "$pattern") && [ "$took" -le $((seconds * 1000 + 500)) ]; then
      times="$times $who ${took} ms"
    else
      say "FAILED: $what: $who: $(grep " $who " $W/log/watch.out | tail -n 3 | tr '\n' ';')"
      failures=$((failures + 1))
      return
    fi
  done
  say "ok: $what: $times"
}
# never WHAT MARK PATTERN WHO...: none of WHO has entered such a state since.
never() {
  local what=$1 mark=$2 pattern=$3 who
  shift 3
  for who in "$@"; do
    ms_until "$mark" "$who" "$pattern" >/dev/null || continue
    say "FAILED: $what: $who $(ms_until "$mark" "$who" "$pattern") ms: $pattern"
    failures=$((failures + 1))
    return
  done
  say "ok: $what"
}
uplink0() {  # as after a cold start
  ip -n host addr replace 10.99.0.2/24 dev up0
  ip -n host addr replace fd00:99::2/64 dev up0 nodad
  ip -n host link set up0 up
  ip -n host route replace default via 10.99.0.1
  ip -n host route replace default via fd00:99::1
}
uplink1() {
  ip -n host link set up1 up
  ip -n host addr replace 10.98.0.2/24 dev up1
  ip -n host addr replace fd00:98::2/64 dev up1 nodad
}
all_up() { local who; for who in $all; do [ "$(grep " $who " $W/log/watch.out | tail -n1 | cut -d' ' -f3-)" = up ] || return 1; done; }
settle() { expect "  everything works before the next change" within 5 all_up; }

say "--- a start without any network: no address, no route, no resolver"
ip -n host addr flush dev up0
ip -n host route flush table main 2>/dev/null
ip -n host -6 addr flush dev up0 scope global
ip -n host -6 route flush default 2>/dev/null
: >$W/resolv.conf
mark=$(now)
background watch -- $TRAFFIC watch $SERVER4 $SERVER6 $PORT 300
happens "refused as the kernel would" 2 "$mark" "^(refused|error): Network is unreachable" $all
expect "and recorded" audited route-blocked $SERVER4
mark=$(now)
uplink0
happens "it works as soon as the network is there" 1 "$mark" "^up" $all
pids="$(role launcher) $(role broker) $(role translator)"

say "--- the default route is withdrawn and comes back after 0.5 s"
mark=$(now)
ip -n host route del default
ip -n host -6 route del default
happens "UDP is told" 1 "$mark" "^error: Network is unreachable" udp4 udp6
sleep 0.5
mark2=$(now)
uplink0
happens "and works again" 1 "$mark2" "^up" udp4 udp6
never "the TCP connections live on" "$mark" "^(failed|refused)" tcp4 tcp6
settle

say "--- the addresses are renewed: they go and come back after 0.5 s"
mark=$(now)
ip -n host addr del 10.99.0.2/24 dev up0
ip -n host addr del fd00:99::2/64 dev up0
sleep 0.5
mark2=$(now)
uplink0
happens "UDP works again" 1 "$mark2" "^up" udp4  # over IPv6 it may have found another source address
never "the TCP connections live on" "$mark" "^(failed|refused)" tcp4 tcp6
settle

say "--- the uplink goes down and stays down for 4 s"
mark=$(now)
ip -n host link set up0 down
happens "UDP is told" 1 "$mark" "^error: Network is unreachable" udp4 udp6
happens "TCP is reset" 4 "$mark" "^failed: Connection reset by peer" tcp4 tcp6
happens "new connections are refused" 4 "$mark" "^refused: Network is unreachable" tcp4 tcp6
mark=$(now)
uplink0
happens "it works again" 1 "$mark" "^up" $all
settle

say "--- the carrier is lost for 1 s"
mark=$(now)
ip -n server link set dn0 down
sleep 1
ip -n server link set dn0 up
ip -n server addr replace fd00:99::1/64 dev dn0 nodad
ip -n server route replace 2001:db8::128/121 via fd00:99::2
mark2=$(now)
happens "everything goes on" 4 "$mark2" "^up" $all
never "the TCP connections live on" "$mark" "^(failed|refused)" tcp4 tcp6
settle

say "--- a second, preferred uplink appears; the first one keeps its route"
uplink1
mark=$(now)
ip -n host route add default via 10.98.0.1 metric 1
ip -n host route del default via 10.99.0.1
ip -n host route add default via 10.99.0.1 metric 100
ip -n host -6 route add default via fd00:98::1 metric 1
sleep 1
# The kernel's own view: which uplink the sockets use.
via() { ip netns exec host ss -H -n"${1:0:1}" dst "$2" | grep -c "%$3"; }
moved() { [ "$(via udp $SERVER4 up1)" -ge 1 ] && [ "$(via udp $SERVER4 up0)" = 0 ]; }
expect "UDP moved" within 2 moved
expect "TCP stayed" test "$(via tcp $SERVER4 up0)" -ge 1
never "and nobody noticed" "$mark" "^(failed|refused|error|silent)" $all

say "--- the first uplink loses its route: what is on it must leave"
mark=$(now)
ip -n host route del default via 10.99.0.1
ip -n host -6 route del default via fd00:99::1
happens "TCP is reset" 4 "$mark" "^failed: Connection reset by peer" tcp4 tcp6
happens "and connects by the other one" 4 "$mark" "^up" tcp4 tcp6
never "UDP was there already" "$mark" "^(error|silent)" udp4 udp6
settle

say "--- the second uplink is deleted, the first one has its route back"
mark=$(now)
uplink0
ip -n host link del up1
happens "TCP is reset at once" 1 "$mark" "^failed: Connection reset by peer" tcp4 tcp6
happens "and connects by the first one" 2 "$mark" "^up" tcp4 tcp6
settle

say "--- another MTU of the uplink, both ways, under traffic"
guest -- $TRAFFIC receive $SERVER4 $PORT $BYTES >$W/log/bulk.out 2>&1 & bulk=$!
for mtu in 1400 9000 1280 1500; do
  ip -n host link set up0 mtu $mtu
  ip -n server link set dn0 mtu $mtu
  sleep 0.3
done
expect "a transfer goes on" wait $bulk
settle

say "--- hundreds of address changes, faster than they are read"
before=$(now)
for pid in $(role broker); do kill -STOP "$pid"; done
for i in $(seq 1 6000); do printf 'addr add 203.0.113.7/32 dev up0\naddr del 203.0.113.7/32 dev up0\n'; done |
  ip -n host -batch - 2>/dev/null
mark=$(now)
for pid in $(role broker); do kill -CONT "$pid"; done
overrun() { ip netns exec host awk 'NR > 1 && $9 > 0 {found = 1} END {exit !found}' /proc/net/netlink; }
expect "events were lost" overrun
expect "the network is back for new flows" guest -- $TRAFFIC --timeout 5000 first $SERVER4 $PORT
never "live flows live on" "$before" "^(failed|refused|error)" $all
settle
for round in 1 2 3; do
  for i in $(seq 1 300); do printf 'addr add 203.0.113.7/32 dev up0\naddr del 203.0.113.7/32 dev up0\n'; done |
    ip -n host -batch - 2>/dev/null
done
never "nor does a broker that reads along disturb them" "$before" "^(failed|refused|error)" $all

say "--- each process stands still for 3 s, as the machine's sleep looks from inside"
ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
for who in broker launcher translator; do
  mark=$(now)
  pid=$(role $who)
  kill -STOP "$pid"
  sleep 3
  mark2=$(now)
  kill -CONT "$pid"
  [ $who != translator ] || happens "traffic goes on" 2 "$mark2" "^up" $all
  settle
  begun=$(ticks "$pid")
  sleep 1
  spent=$(($(ticks "$pid") - begun))
  expect "$who: not busy afterwards ($spent of 100 ticks)" test $spent -lt 40
  never "$who: no flow was lost" "$mark" "^(failed|refused|error)" $all
done

expect "the same processes as at the start" test "$pids" = "$(role launcher) $(role broker) $(role translator)"
kill "${pid_of[watch]}"
wait "${pid_of[watch]}" 2>/dev/null
finish
