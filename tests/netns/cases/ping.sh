# Echo requests reach the server as such; a denied address is not pinged.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
for address in $SERVER4 $SERVER6; do
  expect "ping $address" guest -- ping -n -c 3 -i 0.2 -W 2 $address
  expect "ping $address with 1,400 bytes" guest -- ping -n -c 2 -i 0.2 -W 2 -s 1400 $address
done
expect "203.0.113.9 is not pinged" not guest -- ping -n -c 1 -W 1 203.0.113.9
expect "and there is a record of it" audited no-rule 203.0.113.9
finish
