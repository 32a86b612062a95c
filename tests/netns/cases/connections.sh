# 2,000 connections at a time: all are opened, then all are used.
. "$(dirname "$0")/../world.sh"
ulimit -n "$(ulimit -Hn)"
start server server $TRAFFIC server $PORT
LIMIT=120
expect "2,000 connections over IPv4" guest -- $TRAFFIC many $SERVER4 $PORT 2000
expect "2,000 connections over IPv6" guest -- $TRAFFIC many $SERVER6 $PORT 2000
finish
