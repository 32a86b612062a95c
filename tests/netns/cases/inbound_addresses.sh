# Who sees which address: the source a service sees, the address answers come from, target ports and addresses, and
# listeners that are bound to an address or an interface.
. "$(dirname "$0")/../world.sh"
cat >>$W/policy.yaml <<END
ingress:
  - {name: peers, allow: [host, 10.99.0.0/24, "fd00:99::/64", 192.0.2.0/24, "2001:db8::/32"]}
END
ip -n server route add 192.0.2.128/25 via 10.99.0.2
# who NETNS PROTOCOL ADDRESS PORT SEEN [BIND]
who() { ip netns exec $1 $TRAFFIC ${6:+--bind $6} who $2 $3 $4 $5; }

background guest -t 8001:80,8010-8012:90-92 -u 8001:80 -- sh -c "
  for port in 80 91; do $TRAFFIC who-server \$port & done; sleep 1; echo ready; wait"
for protocol in tcp udp; do
  expect "$protocol: another machine keeps its address" who server $protocol 10.99.0.2 8001 10.99.0.1
  expect "$protocol: and IPv6" who server $protocol fd00:99::2 8001 fd00:99::1
  expect "$protocol: a second address of the host answers" who server $protocol 192.0.2.131 8001 192.0.2.10 192.0.2.10
  expect "$protocol: and one of IPv6" who server $protocol 2001:db8::131 8001 2001:db8::10 2001:db8::10
  expect "$protocol: an address on lo" who server $protocol 192.0.2.133 8001 10.99.0.1
  expect "$protocol: the host by its own address" who host $protocol 10.99.0.2 8001 10.99.0.2
  expect "$protocol: the host by loopback is the gateway" who host $protocol 127.0.0.1 8001 10.0.2.2
  expect "$protocol: and by ::1" who host $protocol ::1 8001 fd00:c0:2d::2
done
expect "a range leads to its ports in step" who server tcp 10.99.0.2 8011 10.99.0.1
expect "a port of the range without service" in_server $TRAFFIC turned-away tcp 10.99.0.2 8010
many_at_once() {
  local i pids=()
  for i in 1 2 3 4 5 6 7 8; do
    who host udp 127.0.0.1 8001 10.0.2.2 127.0.0.$((i + 1)) & pids+=($!)
  done
  for i in "${pids[@]}"; do wait $i || return 1; done
}
expect "eight loopback sources at once stay apart" many_at_once
stop guest >/dev/null

background guest -t 192.0.2.131/8002:80 -u 192.0.2.131/8002:80 -t 127.0.0.1/8003:80 -t %up0/8004:80 -u %up0/8004:80 \
  -t "[2001:db8::131]/8005:[fd00:c0:2d::15]/80" -t 8020-8029:80,~8022-8028 -- $TRAFFIC who-server 80
expect "the bound address" who server tcp 192.0.2.131 8002 10.99.0.1
expect "the bound address, UDP" who server udp 192.0.2.131 8002 10.99.0.1
expect "not another address" in_server $TRAFFIC refused 10.99.0.2 8002
expect "not another address, UDP" in_server $TRAFFIC udp-refused 10.99.0.2 8002
expect "loopback only: from the host" who host tcp 127.0.0.1 8003 10.0.2.2
expect "loopback only: not from outside" in_server $TRAFFIC refused 10.99.0.2 8003
expect "the bound interface" who server tcp 10.99.0.2 8004 10.99.0.1
expect "the bound interface, UDP" who server udp 10.99.0.2 8004 10.99.0.1
expect "not another interface" in_host $TRAFFIC refused 127.0.0.1 8004
expect "IPv6 with target address" who server tcp 2001:db8::131 8005 fd00:99::1
expect "IPv6 only: not IPv4" in_server $TRAFFIC refused 10.99.0.2 8005
listening() { in_host ss -Htln "sport >= 8020 and sport <= 8029" | wc -l; }
expect "exclusions leave three ports" test "$(listening)" = 3
stop guest >/dev/null
finish
