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
finish
