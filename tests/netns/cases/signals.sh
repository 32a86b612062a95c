# SIGINT and SIGTERM end the guest and everything around it, quickly.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
for signal in INT TERM; do
  background held -- $TRAFFIC cut $SERVER4 $PORT 30
  kill -$signal "$(role launcher)"
  expect "nothing is left 3 s after SIG$signal" within 3 none_left
  wait ${pid_of[held]} 2>/dev/null
  status=$?
  expect "the status tells of SIG$signal ($status)" test $status -ge 128
done
# The launcher leads the session of a terminal that goes away (script, killed): nobody else is told.
timeout -s KILL 10 ip netns exec host script -qefc "$CORDON run --quiet --policy $W/policy.yaml -- sleep 60" \
  /dev/null </dev/zero >/dev/null 2>&1 & terminal=$!
within 5 role translator >/dev/null
kill -9 "$(pgrep -x script)"
expect "nothing is left 3 s after the terminal went away" within 3 none_left
wait $terminal 2>/dev/null
finish
