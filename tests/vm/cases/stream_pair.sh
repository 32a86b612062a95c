# Two guests on one host, each with a network of its own: neither reaches the other by any path the policy does
# not open, although each has a published port and a service behind it that others do reach.
. "$(dirname "$0")/../vm.sh"
start server server $TRAFFIC server $PORT
cat >>$W/policy.yaml <<END_POLICY
ingress:
  - {name: peers, allow: [192.0.2.0/24, "2001:db8::/32", 10.99.0.1, "fd00:99::1"]}
END_POLICY
network a -t 8001:$PORT -u 8001:$PORT
network b --address 10.0.3.15/24 --address fd00:c0:3d::15/64 -t 8002:$PORT -u 8002:$PORT
plug a
plug b
booted a
booted b
serve="traffic server $PORT >/tmp/server 2>&1 & within 10 grep -q ready /tmp/server"
for guest in a b; do
  expect "$guest configures itself" vm $guest "ip link set eth0 up; lease4 && slaac && lease6"
  expect "$guest serves" vm $guest "$serve"
  expect "$guest reaches the server" vm $guest "traffic first $SERVER4 $PORT && traffic first $SERVER6 $PORT"
done
for address in 10.99.0.2 fd00:99::2; do
  expect "a's service is reached from outside by $address" in_server $TRAFFIC first $address 8001
  expect "b's service is reached from outside by $address" in_server $TRAFFIC first $address 8002
done

# path FROM PORTS ADDRESS...: every way to the other one, in one go.
tries() {
  local from=$1 port
  shift
  local ports=$1
  shift
  local line="status=0"
  for address in "$@"; do
    for port in $ports; do line+="; traffic --timeout 1000 denied $address $port || { echo $address port $port; status=1; }"; done
  done
  VM_LIMIT=100 vm $from "$line; [ \$status = 0 ]"
}
expect "a does not reach b by its addresses" tries a $PORT 10.0.3.15 fd00:c0:3d::15 10.0.3.2 fd00:c0:3d::2
expect "b does not reach a by its addresses" tries b $PORT 10.0.2.15 fd00:c0:2d::15 10.0.2.2 fd00:c0:2d::2
expect "a does not reach b's published port" tries a 8002 "${HOST4[@]}" "${HOST6[@]}" 10.0.2.2 fd00:c0:2d::2
expect "b does not reach a's published port" tries b 8001 "${HOST4[@]}" "${HOST6[@]}" 10.0.3.2 fd00:c0:3d::2
for address in "${HOST4[@]}" "${HOST6[@]}"; do
  expect "record for $address" audited host-address $address
done
link_local=$(vm b "ip -6 addr show dev eth0 scope link" | sed -n 's/.*inet6 \([^/ ]*\).*/\1/p')
expect "nor by b's link-local address $link_local" vm a "not_reached() { ! ping -c 1 -W 2 \$1%eth0; }; not_reached $link_local"
unplug a
unplug b
close_network a
close_network b
finish
