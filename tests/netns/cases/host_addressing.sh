# The guest has the host's own addresses; the host is out of its reach all the same.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
start canary host $TRAFFIC canary $PORT
expect "its IPv4 address" test "$(guest --host-addressing -- ip -4 -o addr show eth0 | sed -n 's/.* inet \([^ ]*\) .*/\1/p')" = 10.99.0.2/24
sixes=$(guest --host-addressing -- ip -6 -o addr show eth0)
expect "its IPv6 address" grep -q ' inet6 fd00:99::2/64 ' <<<"$sixes"
gateways() { guest --host-addressing -- ip "$1" route show default | sed -n 's/default via \([^ ]*\) .*/\1/p'; }
expect "its IPv4 gateway" test "$(gateways -4)" = 10.99.0.1
expect "its IPv6 gateway" test "$(gateways -6)" = fd00:99::1
for address in $SERVER4 $SERVER6; do
  expect "to $address" guest --host-addressing -- $TRAFFIC send $address $PORT 1000000
done
for address in 10.99.0.1 fd00:99::1 192.0.2.131 2001:db8::131; do
  expect "$address is denied" guest --host-addressing -- $TRAFFIC --timeout 2000 denied $address $PORT
done
ip -n host addr add 10.7.7.9/32 dev up0
ip -n host route replace default via 10.99.0.1 dev up0 src 10.99.0.2
ip -n host -6 route del default
expect "a family the host lacks is left out" test -z "$(guest --host-addressing -- ip -6 route show default)"
expect "without IPv6" guest --host-addressing -- $TRAFFIC send $SERVER4 $PORT 1000000
ip -n host route del default
said=$(guest --host-addressing -- true 2>&1)
expect "no default route is a clear error: $said" grep -q 'no default route' <<<"$said"
counts=$(stop canary)
expect "the canary saw nothing: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
finish
