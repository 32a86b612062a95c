# Datagrams of 0 to 65,507 bytes come back whole; a closed port is reported.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
for mtu in 65520 1500; do
  for address in $SERVER4 $SERVER6; do
    expect "sizes at MTU $mtu, $address" guest --mtu $mtu -- $TRAFFIC udp-sizes $address $PORT
  done
done
for address in $SERVER4 $SERVER6; do
  expect "$address port 9 is unreachable" guest -- $TRAFFIC udp-refused $address 9
done
finish
