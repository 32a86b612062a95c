# Two guests on one host, one on a stream socket and one over vhost-user, each with a network of its own: neither
# reaches the other by any path the policy does not open, although each has a published port and a service behind it
# that others do reach.
. "$(dirname "$0")/../vm.sh"
start server server $TRAFFIC server $PORT
cat >>$W/policy.yaml <<END_POLICY
ingress:
  - {name: peers, allow: [192.0.2.0/24, "2001:db8::/32", 10.99.0.1, "fd00:99::1"]}
END_POLICY
LINK=stream
network a -t 8001:$PORT -u 8001:$PORT
plug a
# A machine with two queue pairs, of which its only CPU uses one.
LINK=vhost QUEUES=2
network b --queues 2 --address 10.0.3.15/24 --address fd00:c0:3d::15/64 -t 8002:$PORT -u 8002:$PORT
plug b -smp 1
booted a
booted b
both() {  # both LINE: in the two guests at the same time
  local status=0
  ask a "$1"
  ask b "$1"
  answer a || status=1
  answer b || status=1
  return $status
}
expect "both configure themselves" both "ip link set eth0 up; lease4 && slaac && lease6"
expect "both serve" both "traffic server $PORT >/tmp/server 2>&1 & within 30 grep -q ready /tmp/server"
expect "both reach the server" both "traffic first $SERVER4 $PORT && traffic first $SERVER6 $PORT"
expect "b has only one queue" vm b "[ \$(ls -d /sys/class/net/eth0/queues/tx-* | wc -l) = 1 ]"
expect "many connections of b, whichever queue they belong to" vm b "traffic many $SERVER4 $PORT 40 && traffic many $SERVER6 $PORT 40"
for address in 10.99.0.2 fd00:99::2; do
  expect "a's service is reached from outside by $address" in_server $TRAFFIC first $address 8001
  expect "b's service is reached from outside by $address" in_server $TRAFFIC first $address 8002
done

# tries FROM PORT ADDRESS...: TCP and UDP to all of them at once. tried FROM: none of it went through.
tries() {
  local from=$1 port=$2 line="pids=" address
  shift 2
  for address in "$@"; do line+="; traffic --timeout 3000 denied $address $port & pids=\"\$pids \$!\""; done
  ask $from "$line; status=0; for pid in \$pids; do wait \$pid || status=1; done; [ \$status = 0 ]"
}
tries a $PORT 10.0.3.15 fd00:c0:3d::15 10.0.3.2 fd00:c0:3d::2 10.0.3.3 fd00:c0:3d::3
tries b $PORT 10.0.2.15 fd00:c0:2d::15 10.0.2.2 fd00:c0:2d::2 10.0.2.3 fd00:c0:2d::3
expect "a does not reach b by its addresses" answer a
expect "b does not reach a by its addresses" answer b
tries a 8002 "${HOST4[@]}" "${HOST6[@]}" 10.0.2.2 fd00:c0:2d::2
tries b 8001 "${HOST4[@]}" "${HOST6[@]}" 10.0.3.2 fd00:c0:3d::2
expect "a does not reach b's published port" answer a
expect "b does not reach a's published port" answer b
for address in "${HOST4[@]}" "${HOST6[@]}"; do
  expect "record for $address" audited host-address $address
done

link_local() { vm $1 "ip -6 addr show dev eth0 scope link" | sed -n 's/.*inet6 \([^/ ]*\).*/\1/p'; }
a=$(link_local a) b=$(link_local b)
silent="silent() { ! ping -c 1 -W 2 \$1%eth0; }; silent"
ask a "$silent $b && traffic --timeout 1000 denied $b%eth0 $PORT"
ask b "$silent $a && traffic --timeout 1000 denied $a%eth0 $PORT"
expect "nor by the link-local address $b" answer a
expect "nor by $a" answer b
# All hosts of the link: nobody but cordon may answer. Then with the other's MAC address in the neighbour table.
neighbours="ping -c 2 -W 2 ff02::1%eth0 >/dev/null; ip neigh | cut -d' ' -f1,5"
ask a "$neighbours"
ask b "$neighbours"
expect "a has no neighbour with b's MAC address" not grep -qi ${mac_of[b]} <<<"$(answer a)"
expect "b has no neighbour with a's MAC address" not grep -qi ${mac_of[a]} <<<"$(answer b)"
static="arp -s 10.0.2.77 ${mac_of[b]} && traffic --timeout 1000 denied 10.0.2.77 $PORT"
expect "a does not reach b by b's MAC address" vm a "$static"
static="arp -s 10.0.3.77 ${mac_of[a]} && traffic --timeout 1000 denied 10.0.3.77 $PORT"
expect "b does not reach a by a's MAC address" vm b "$static"
expect "both still serve others" in_server sh -c "$TRAFFIC first 10.99.0.2 8001 && $TRAFFIC first 10.99.0.2 8002"
unplug a
unplug b -smp 1
close_network a
close_network b
finish
