# Surroundings that a caller may have: few descriptors, closed streams, readers that leave, a start that waits, name
# service files that are missing, a network that comes later, and a sandbox inside a sandbox.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
connect="$TRAFFIC --timeout 5000 first $SERVER4 $PORT"
status_of() { local wanted=$1 got; shift; "$@"; got=$?; [ $got = "$wanted" ] || { say "status $got"; return 1; }; }
run="ip netns exec host $CORDON run --quiet --policy $W/policy.yaml"

expect "a soft limit of 64 descriptors" bash -c "ulimit -Sn 64; $run -- $connect"
expect "a hard limit of 256 descriptors" bash -c "ulimit -n 256; $run -- $connect"
expect "a hard limit that holds no connection is our failure" status_of 125 bash -c "ulimit -n 32; $run -- true"
expect "closed streams" bash -c "$run -- $connect <&- >&- 2>&-"
expect "an empty environment" env -i $(command -v ip) netns exec host $CORDON run --quiet --policy $W/policy.yaml -- $connect
expect "a sandbox inside a sandbox" guest -- $CORDON run --quiet --policy $W/policy.yaml -- $connect

mkfifo $W/nobody-writes
for signal in INT TERM; do
  waits() { timeout --foreground -k 5 -s $signal 1 ip netns exec host $CORDON run --policy $W/nobody-writes -- true; }
  expect "SIG$signal ends a start that waits for its policy" status_of 124 waits
done

$run --audit-log /dev/full -- sh -c "$TRAFFIC --timeout 2000 denied 10.99.0.2 $PORT; $connect" 2>$W/log/full.err
expect "a full disk under the audit log stops nothing" test $? = 0
expect "but is said" grep -q 'records are lost' $W/log/full.err

# The launcher's messages have no reader when the translator is replaced.
rm -f $W/log/stop
mkfifo $W/messages
(read -r line <$W/messages) & reader=$!
env --default-signal=PIPE $run -- sh -c "echo ready; while ! [ -e $W/log/stop ]; do sleep 0.05; done; exec $connect" \
  >$W/log/alone.out 2>$W/messages & alone=$!
within 10 grep -q ready $W/log/alone.out
kill $reader 2>/dev/null
wait $reader 2>/dev/null
first=$(role translator)
kill -9 "$first"
another() { local now; now=$(role translator) && [ "$now" != "$first" ]; }
expect "a translator is replaced though nobody reads the messages" within 5 another
touch $W/log/stop
expect "and the command goes on" wait $alone

place=$(readlink -f /etc/resolv.conf || echo /etc/resolv.conf)
cp -a /etc/. $W/etc 2>/dev/null || { mkdir $W/etc && cp -a /etc/. $W/etc; }
other_etc() {  # other_etc COMMAND...: with an /etc of its own, where the shell commands in $change were done
  unshare -m bash -c "umount $place; mount --bind $W/etc /etc; rm -f /etc/resolv.conf; $change; exec \"\$@\"" bash "$@"
}
asks="grep -q 10.0.2.3 /etc/resolv.conf && test -e /etc/passwd && $connect"
change=: expect "no resolv.conf" other_etc $run -- sh -c "$asks"
change="ln -s ../run/no/such /etc/resolv.conf" expect "a resolv.conf that leads nowhere" other_etc $run -- sh -c "$asks"

ip -n host route del default
(sleep 0.7; ip -n host route add default via 10.99.0.1) &
expect "a route that comes later" guest -- sh -c \
  "for i in 1 2 3 4 5 6 7 8 9; do $TRAFFIC --timeout 500 first $SERVER4 $PORT && exit; done; exit 1"
finish
