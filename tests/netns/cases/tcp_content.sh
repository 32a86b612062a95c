# 1 GiB each way over IPv4 and IPv6, every byte compared.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
LIMIT=280
for address in $SERVER4 $SERVER6; do
  expect "$BYTES bytes to $address" guest -- $TRAFFIC send $address $PORT "$BYTES"
  expect "$BYTES bytes from $address" guest -- $TRAFFIC receive $address $PORT "$BYTES"
done
finish
