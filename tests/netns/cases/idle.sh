# A TCP and a UDP flow that rest for 60 s still work.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
LIMIT=100
guest -- $TRAFFIC idle $SERVER6 $PORT "${CORDON_TEST_IDLE:-60}" & six=$!
expect "idle over IPv4" guest -- $TRAFFIC idle $SERVER4 $PORT "${CORDON_TEST_IDLE:-60}"
expect "idle over IPv6" wait $six
finish
