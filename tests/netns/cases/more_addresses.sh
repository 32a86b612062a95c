# Several addresses of each family: all of them are the guest's, one beside them is not.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
more=(--address 10.0.2.15/24 --address 10.0.2.16/24 --address 172.31.9.9/32
  --address fd00:c0:2d::15/64 --address fd00:c0:2d::16/64 --address fd00:5::9/128)
for address in 10.0.2.15 10.0.2.16 172.31.9.9; do
  expect "from $address" guest "${more[@]}" -- $TRAFFIC --bind $address send $SERVER4 $PORT 1000000
done
for address in fd00:c0:2d::15 fd00:c0:2d::16 fd00:5::9; do
  expect "from $address" guest "${more[@]}" -- $TRAFFIC --bind $address send $SERVER6 $PORT 1000000
done
expect "a gateway outside of the subnet" guest --address 10.7.7.7/32 --gateway 192.168.99.1 -- $TRAFFIC send $SERVER4 $PORT 1000000
expect "no spoof" not grep -q source-spoof "$AUDIT"
finish
