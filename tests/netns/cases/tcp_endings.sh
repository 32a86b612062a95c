# Every way a connection ends or fails to begin is seen at the other end as what it is.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
for address in $SERVER4 $SERVER6; do
  for command in half-close-client half-close-server reset-by-server reset-by-client; do
    expect "$command with $address" guest -- $TRAFFIC $command $address $PORT
  done
  expect "$address port 9 is refused" guest -- $TRAFFIC refused $address 9
done
expect "198.51.100.77 is unreachable" guest -- $TRAFFIC unreachable 198.51.100.77 $PORT
expect "2001:db8:dead::1 is unreachable" guest -- $TRAFFIC unreachable 2001:db8:dead::1 $PORT
finish
