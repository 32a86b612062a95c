# kill -9 of each process: what must go on goes on, what must end ends, nothing is left behind.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
links() { ip netns exec host ip -o link | wc -l; }
before=$(links)
runs='echo ready; while ! [ -e '$W'/log/stop ]; do sleep 0.05; done; '"$TRAFFIC --timeout 5000 first $SERVER4 $PORT"

rm -f $W/log/stop
background held -- sh -c "$runs"
translator=$(role translator)
kill -9 "$translator"
new_translator() { local now; now=$(role translator) && [ "$now" != "$translator" ]; }
expect "a killed translator is replaced" within 5 new_translator
touch $W/log/stop
expect "and the guest has its network again, on the same interface" wait ${pid_of[held]}
expect "nothing is left" within 3 none_left

rm -f $W/log/stop
background held -- sh -c "$runs"
kill -9 "$(role broker)"
no_translator() { ! role translator >/dev/null; }
expect "a killed broker takes the translator with it" within 5 no_translator
expect "the user is told" within 3 grep -q broker $W/log/held.err
expect "there is a record" within 3 grep -q engine-error "$AUDIT"
touch $W/log/stop
wait ${pid_of[held]}
expect "the command went on without network" test $? = 1
expect "nothing is left" within 3 none_left

rm -f $W/log/stop
background held -- sh -c "$runs"
kill -9 "$(role launcher)"
expect "all die with the launcher" within 5 none_left
wait ${pid_of[held]} 2>/dev/null

expect "no interface is left on the host" test "$(links)" = "$before"
# A killed launcher leaves the name of its control socket, which the next start takes away.
expect "the next one starts" guest -- true
expect "no file is left" test -z "$(find /tmp /run -newer $W/policy.yaml -path '*cordon*' ! -type d ! -path "$W*" 2>/dev/null)"
finish
