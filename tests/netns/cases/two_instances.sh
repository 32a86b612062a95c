# Two guests at a time: both work, neither sees the other's traffic, even from the same source port.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
SOME=$((BYTES / 16))
guest --name one -- $TRAFFIC send $SERVER4 $PORT $SOME & one=$!
expect "the second guest receives" guest --name two -- $TRAFFIC receive $SERVER6 $PORT $SOME
expect "the first one sent" wait $one
# Both ask the same server from the same port; each must get its own answers.
guest --name one -- sh -c "for i in 1 2 3 4 5 6; do $TRAFFIC --bind 10.0.2.15 udp-sizes $SERVER4 $PORT 100 200 300 || exit 1; done" & one=$!
expect "datagrams of the second guest" \
  guest --name two -- sh -c "for i in 1 2 3 4 5 6; do $TRAFFIC udp-sizes $SERVER4 $PORT 101 201 301 || exit 1; done"
expect "datagrams of the first guest" wait $one
expect "the other guest's address is not reached" guest --address 10.0.3.15/24 -- $TRAFFIC --timeout 1500 denied 10.0.2.15 $PORT
finish
