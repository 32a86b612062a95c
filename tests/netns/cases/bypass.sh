# Ways around a policy that opens as much as words can: `any` and the documentation prefixes. Each is tried by TCP and
# UDP, must not arrive anywhere, and must be recorded with its reason. What needs forged frames is in tests/plane and
# tests/policy; what needs time in address_race, change_hammer and policy_reload.
. "$(dirname "$0")/../world.sh"
cat >$W/policy.yaml <<END
version: 1
name: wide
egress:
  - {name: words, allow: [any, dns], ports: [tcp, udp, icmp/echo]}
  - {name: documentation, allow: [192.0.2.0/24, 198.51.100.0/24, "2001:db8::/32", 203.0.113.0/24], ports: [tcp, udp]}
END
# A container behind a bridge of the host, and a tunnel to somewhere the host may go.
for ns in container tunnel; do
  ip netns add $ns
  ip -n $ns link set lo up
done
ip netns exec host sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ip -n host link add docker0 type bridge
ip link add c0 netns container type veth peer name vc0 netns host
ip -n host link set vc0 master docker0 up
ip -n host link set docker0 up
ip -n host addr add 172.17.0.1/16 dev docker0
ip -n host addr add fd17::1/64 dev docker0 nodad
ip -n container link set c0 up
ip -n container addr add 172.17.0.2/16 dev c0
ip -n container addr add fd17::2/64 dev c0 nodad
ip -n container route add default via 172.17.0.1
ip -n container route add default via fd17::1
ip link add t0 netns tunnel type veth peer name wg0 netns host
ip -n host link set wg0 up
ip -n tunnel link set t0 up
ip -n host addr add 100.64.1.1/24 dev wg0
ip -n host addr add fd64::1/64 dev wg0 nodad
ip -n tunnel addr add 100.64.1.2/24 dev t0
ip -n tunnel addr add fd64::2/64 dev t0 nodad
for address in 10.8.0.9/32 9.9.7.7/32; do ip -n tunnel addr add $address dev lo; done
ip -n tunnel route add default via 100.64.1.1
ip -n tunnel route add default via fd64::1
ip -n host route add 10.8.0.0/16 via 100.64.1.2
ip -n host route add 9.9.7.0/24 via 100.64.1.2
# Public addresses: a neighbour on the uplink's own network, and one behind the gateway.
ip -n host addr add 9.9.9.1/24 dev up0
ip -n server addr add 9.9.9.9/24 dev dn0
ip -n server addr add 9.9.8.8/32 dev lo
for ns in host container tunnel; do start canary_$ns $ns $TRAFFIC canary $PORT; done
start server server $TRAFFIC server $PORT
for ns in container tunnel; do
  [ $ns = container ] && address=172.17.0.2 || address=10.8.0.9
  in_host $TRAFFIC blast $PORT 50 tcp $address >/dev/null
  counts=$(stop canary_$ns)
  expect "the host itself reaches the $ns" test "$(number accepted <<<"$counts")" -gt 0
  start canary_$ns $ns $TRAFFIC canary $PORT
done

# what REASON ADDRESS...
tries=()
what() {
  local reason=$1
  shift
  for address; do tries+=("$reason $address"); done
}
what host-address 172.17.0.1 fd17::1 100.64.1.1 fd64::1 9.9.9.1
what route-blocked 172.17.0.2 fd17::2 100.64.1.2 fd64::2 10.8.0.9 9.9.7.7
what metadata 169.254.169.254 169.254.170.2 fd00:ec2::254 100.100.100.200 168.63.129.16
what special-address 169.254.9.9 240.0.0.1 192.0.0.8 100::1 5f00::1
what no-rule 198.18.0.1 3fff::1
# 192.0.2.131, an address of the host, as 6to4 and through a translator; as a Teredo server.
what host-address 2002:c000:283::1 64:ff9b::c000:283
what special-address 2001:0:c000:283::1
{
  printf '#!/bin/bash\nstatus=0\n'
  for try in "${tries[@]}"; do
    printf '%s --timeout 1500 denied %s %s || status=1\n' "$TRAFFIC" "${try#* }" $PORT
  done
  for address in 224.0.0.251 ff0e::fb 10.99.0.255 255.255.255.255; do
    printf '%s --timeout 500 denied %s %s || status=1\n' "$TRAFFIC" $address $PORT
  done
  printf '%s --timeout 1500 denied 10.0.2.2 %s || status=1\n' "$TRAFFIC" $PORT
  printf '%s --timeout 1500 denied 10.0.2.3 %s || status=1\n' "$TRAFFIC" $PORT
  printf '%s --timeout 1500 denied fd00:c0:2d::2 %s || status=1\n' "$TRAFFIC" $PORT
  printf 'exit $status\n'
} >$W/tries
chmod 755 $W/tries
expect "a guest tries them all" guest -- $W/tries
for try in "${tries[@]}"; do expect "recorded: $try" audited ${try% *} ${try#* }; done
expect "what is meant to be open is" guest -- $TRAFFIC --timeout 3000 first 9.9.8.8 $PORT
expect "the neighbour is: any contains onlink" guest -- $TRAFFIC --timeout 3000 first 9.9.9.9 $PORT
# The last one is open for TCP and UDP alone.
echoes="172.17.0.2 10.8.0.9 10.99.0.2 192.0.2.131 fd17::2 fd00:99::2 $SERVER4"
for address in $echoes; do
  expect "no echo from $address" not guest -- ping -n -c 1 -W 1 $address
done

# Routing by who asks: the broker's sockets go elsewhere than an administrator's would, and that is what counts.
if [ "$CORDON_CALLER" = 0 ]; then
  ip -n host route add 9.9.8.0/24 via 172.17.0.2 table 100
  ip -n host rule add uidrange 65534-65534 lookup 100 pref 100
  expect "a rule for the broker's uid leads into the bridge" guest -- $TRAFFIC --timeout 1500 denied 9.9.8.8 $PORT
  expect "recorded" audited route-blocked 9.9.8.8
  ip -n host rule del pref 100
fi

sed -i 's/allow: \[any, dns\]/allow: [internet, dns]/' $W/policy.yaml
expect "internet is without the neighbours, public as they are" guest -- $TRAFFIC --timeout 1500 denied 9.9.9.9 $PORT
expect "recorded" audited no-rule 9.9.9.9
expect "and without port 53 elsewhere" guest -- $TRAFFIC --timeout 1500 denied 9.9.8.8 53
printf 'host: {aliases: [192.0.2.10]}\n' >>$W/policy.yaml
expect "an alias that outside leads back here" guest -- $TRAFFIC --timeout 1500 denied 192.0.2.10 $PORT
expect "recorded" audited host-address 192.0.2.10
sed -i '$d' $W/policy.yaml

# Another guest's published port is this host's.
printf 'ingress:\n  - {name: anybody, allow: [any, host, 192.0.2.0/24]}\n' >>$W/policy.yaml
background other -t 8080:$PORT -u 8080:$PORT -- $TRAFFIC server $PORT
expect "a published port of another guest" guest -- sh -c "
  for a in 10.99.0.2 192.0.2.131 172.17.0.1 fd00:99::2; do $TRAFFIC --timeout 1500 denied \$a 8080 || exit 1; done"
expect "which is there" in_server $TRAFFIC --timeout 2000 first 10.99.0.2 8080
stop other >/dev/null

for ns in host container tunnel; do
  counts=$(stop canary_$ns)
  expect "nothing arrived: $ns $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
done
finish
