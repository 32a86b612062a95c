# Content at the smallest, the usual and the largest MTU, and without each offload.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
SOME=$((BYTES / 16))
for mtu in 1280 1500 9000 65520; do
  for address in $SERVER4 $SERVER6; do
    expect "to $address, MTU $mtu" guest --mtu $mtu -- $TRAFFIC send $address $PORT $SOME
    expect "from $address, MTU $mtu" guest --mtu $mtu -- $TRAFFIC receive $address $PORT $SOME
  done
done
for features in -tso -uso -udp-gso -udp-gro -checksum -tso,-uso,-udp-gso,-udp-gro,-checksum; do
  expect "to the server, $features" guest --mtu 1500 --features=$features -- $TRAFFIC send $SERVER4 $PORT $SOME
  expect "from the server, $features" guest --mtu 1500 --features=$features -- $TRAFFIC receive $SERVER6 $PORT $SOME
  expect "datagrams, $features" guest --mtu 1500 --features=$features -- $TRAFFIC udp-sizes $SERVER4 $PORT
done
finish
