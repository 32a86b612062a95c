# contrib/nftables: what the broker's sockets send to this host is held back by the kernel, and nothing else is. Cordon
# says whether it is there.
. "$(dirname "$0")/../world.sh"
[ "$CORDON_CALLER" = 0 ] || { say "skipped: needs a uid for the broker that nobody else has"; exit 77; }
command -v nft >/dev/null || { say "skipped: nft is not installed"; exit 77; }
rules=$(cd "$(dirname "$0")/../../.." && pwd)/contrib/nftables/cordon-backstop.nft
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
# The same kind of socket as a flow's, by hand and without Cordon in the way.
by_uid() { in_host "${nobody[@]}" "$TRAFFIC" --timeout 250 "$@"; }
by_root() { in_host "$TRAFFIC" --timeout 500 "$@"; }
held() { in_host nft list counter inet cordon_backstop held_back | number_of packets; }
number_of() { sed -n "s/.*$1 \\([0-9][0-9]*\\).*/\\1/p"; }
load() { in_host nft -f "$rules"; }
unload() { in_host nft delete table inet cordon_backstop; }
says() { in_host "$CORDON" run --verbose --policy $W/policy.yaml -- true 2>&1 | grep -x "cordon: backstop: $1"; }

start server server $TRAFFIC server $PORT
start canary host $TRAFFIC canary $PORT
expect "without it" says none
ip -n host link set lo down
expect "without a loopback nobody knows" says unknown
ip -n host link set lo up
ip -n host addr replace 192.0.2.133/32 dev lo
ip -n host addr replace 2001:db8::133/128 dev lo nodad
ip -n host route replace local 198.51.100.128/25 dev lo
ip -n host route replace local 2001:db8:1::/64 dev lo
for address in 127.0.0.1 ::1 "${HOST4[@]}" "${HOST6[@]}"; do
  expect "by hand: $address is there" by_uid blast $PORT 5 both "$address"
done
reached=$(stop canary)
say "  $reached"
expect "the canary works" test "$(number accepted <<<"$reached")" -ge 12 -a "$(number datagrams <<<"$reached")" -ge 12

start canary host $TRAFFIC canary $PORT
expect "it loads" load
expect "and again, replacing itself" load
expect "Cordon sees it" says active
sees_old() { in_host nft flush set inet cordon_backstop uids && says none; }
expect "for other users it is none" sees_old
load
ip6_only() { in_host nft insert rule inet cordon_backstop judge meta nfproto ipv4 return && says partial; }
expect "for one family it is partial" ip6_only
load
denied_by_hand() { ! by_uid first "$1" $PORT && by_uid blast $PORT 50 udp "$1"; }
for address in 127.0.0.1 ::1 "${HOST4[@]}" "${HOST6[@]}"; do
  before=$(held)
  expect "by hand: $address is not" denied_by_hand "$address"
  [ "$(held)" -gt "$before" ] || { say "FAILED: $address: nothing was counted"; failures=$((failures + 1)); }
done
expect "no echo of the host's own" not in_host "${nobody[@]}" ping -n -c 1 -W 1 10.99.0.2
expect "no multicast, no broadcast" not in_host "${nobody[@]}" ping -n -b -c 1 -W 1 10.99.0.255
expect "the way out is open" by_uid first $SERVER4 $PORT
expect "and by IPv6" by_uid first $SERVER6 $PORT
counts=$(stop canary)
expect "the canary saw nothing: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'

start local host $TRAFFIC server $PORT
expect "other users are not concerned" by_root first 127.0.0.1 $PORT
expect "nor by IPv6" by_root first 2001:db8::133 $PORT
expect "nor is UDP of theirs" by_root udp-sizes 192.0.2.131 $PORT 100
stop local >/dev/null

# The kernel rewrites a destination: the socket and the routing table say remote, the packet arrives here.
start canary host $TRAFFIC canary $PORT
in_host nft -f - <<END
table inet rewrite {
  chain output {
    type nat hook output priority -100;
    ip daddr 192.0.2.10 meta l4proto { tcp, udp } th dport 99 redirect to :$PORT
    ip6 daddr $SERVER6 meta l4proto { tcp, udp } th dport 99 redirect to :$PORT
    ip daddr 192.0.2.54 meta l4proto { tcp, udp } dnat ip to 192.0.2.131:$PORT
  }
}
END
redirected="$TRAFFIC blast 99 300 both $SERVER4 $SERVER6; $TRAFFIC blast $PORT 200 both 192.0.2.54"
expect "the guest sends to what is redirected to this host" guest -- sh -c "$redirected"
counts=$(stop canary)
expect "the canary saw nothing: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
start canary host $TRAFFIC canary $PORT
unload
guest -- sh -c "$redirected" >/dev/null
counts=$(stop canary)
expect "it did without the backstop: $counts" test "$(number datagrams <<<"$counts")" -gt 0
in_host nft delete table inet rewrite
load

# It comes and goes while a guest runs: seen when a policy is loaded, if not before.
background seen -- sh -c 'echo ready; while ! [ -e $0 ]; do sleep 0.05; done' $W/log/enough
expect "a start is recorded with it" grep -q 'in force; backstop: active' "$AUDIT"
unload
sed -i '2a refuse: drop' $W/policy.yaml
kill -HUP "$(role launcher)"
expect "its end is recorded" within 5 grep -q '"host-state-changed".*backstop: none' "$AUDIT"
touch $W/log/enough
wait "${pid_of[seen]}"
sed -i '/refuse: drop/d' $W/policy.yaml
rm $W/log/enough
load

# The address comes and goes on the very uplink, as in address_race.sh: there the residue is counted, here it is nothing.
start canary host $TRAFFIC canary $PORT
flip() {
  while ! [ -e $W/enough ]; do
    printf 'addr add 192.0.2.140/32 dev up0\naddr add 2001:db8::140/128 dev up0 nodad\n'
    [ $((RANDOM % 2)) = 0 ] || sleep 0.001
    printf 'addr del 192.0.2.140/32 dev up0\naddr del 2001:db8::140/128 dev up0\n'
    sleep 0.001
  done | ip -n host -batch - 2>/dev/null
}
flip & flipper=$!
expect "guest blasts while the address flips" \
  guest -- sh -c "for i in 1 2 3; do $TRAFFIC blast $PORT 4000 both 192.0.2.140 2001:db8::140 & done; wait"
touch $W/enough
wait $flipper
counts=$(stop canary)
expect "no connection, no byte, no datagram: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
ip -n host addr del 192.0.2.140/32 dev up0 2>/dev/null
ip -n host addr del 2001:db8::140/128 dev up0 2>/dev/null

# What goes on with it: traffic out, published ports for peers near and far, and services that somebody named.
for address in $SERVER4 $SERVER6; do
  expect "a transfer to $address" guest -- $TRAFFIC send $address $PORT 20000000
  expect "datagrams to $address" guest -- $TRAFFIC udp-sizes $address $PORT
  expect "ping $address" guest -- ping -n -c 1 -W 2 $address
done
cat >>$W/policy.yaml <<END
  - {name: here, allow: host, ports: [tcp/7000, udp/7000]}
ingress:
  - {name: anybody, allow: [any, host], ports: [tcp/$PORT, udp/$PORT]}
END
background guest -t $PORT -u $PORT -- $TRAFFIC server $PORT
for address in 127.0.0.1 ::1 10.99.0.2 fd00:99::2; do
  expect "a published port, from this host to $address" by_root send $address $PORT 1000000
  expect "the same by UDP" by_root udp-sizes $address $PORT 1 1000 20000
done
expect "and from another machine" in_server $TRAFFIC send 10.99.0.2 $PORT 1000000
stop guest >/dev/null

start service host $TRAFFIC server 7000
expect "the word host: held back until it is named" not guest -- $TRAFFIC --timeout 300 first 10.99.0.2 7000
in_host nft add element inet cordon_backstop services4 "{ tcp . 10.99.0.2 . 7000, udp . 10.99.0.2 . 7000 }"
expect "then it is open" guest -- $TRAFFIC first 10.99.0.2 7000
expect "by UDP, too" guest -- $TRAFFIC udp-sizes 10.99.0.2 7000 100
expect "but this one only" not guest -- $TRAFFIC --timeout 300 first 192.0.2.131 7000
stop service >/dev/null

start names host $TRAFFIC dns-server 53 192.0.2.77
printf 'nameserver 127.0.0.53\n' >$W/resolv.conf
expect "the resolver on 127.0.0.53 is named already" guest -- $TRAFFIC --timeout 3000 dns 10.0.2.3 53 udp a.example
expect "by TCP, too" guest -- $TRAFFIC --timeout 3000 dns 10.0.2.3 53 tcp a.example
printf 'nameserver 10.99.0.2\n' >$W/resolv.conf
expect "another one is not" not guest -- $TRAFFIC --timeout 300 dns 10.0.2.3 53 udp a.example
stop names >/dev/null
finish
