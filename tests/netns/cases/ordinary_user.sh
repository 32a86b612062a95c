# The same as an ordinary user: content, datagrams, ping, names, refusals.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
start canary host $TRAFFIC canary $PORT
start names server $TRAFFIC dns-server 53 192.0.2.77 2001:db8::77
as_user
SOME=$((BYTES / 16))
expect "the guest is not root" test "$(guest -- id -u)" = "$([ "$CORDON_CALLER" = 0 ] && echo 65534 || echo 0)"
for address in $SERVER4 $SERVER6; do
  expect "to $address" guest -- $TRAFFIC send $address $PORT $SOME
  expect "from $address" guest -- $TRAFFIC receive $address $PORT $SOME
  expect "datagrams with $address" guest -- $TRAFFIC udp-sizes $address $PORT
  expect "ping $address" guest -- ping -n -c 2 -i 0.2 -W 2 $address
done
expect "a name" guest -- $TRAFFIC dns 10.0.2.3 53 udp a.example
for address in "${HOST4[@]}" "${HOST6[@]}"; do
  expect "$address is denied" guest -- $TRAFFIC --timeout 2000 denied $address $PORT
done
counts=$(stop canary)
expect "the canary saw nothing: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
finish
