# The connections of cordon vm: they come, go, are replaced, break the rules, stand still, and are refused.
. "$(dirname "$0")/../vm_world.sh"
start server server $TRAFFIC server $PORT
start outside host $TRAFFIC server 7070
errors() {  # errors STATUS TEXT OPTIONS...: refuses to start, in one line
  local status=$1 text=$2
  shift 2
  timeout 20 nsenter --net=/run/netns/host $CORDON vm --quiet --policy $W/policy.yaml "$@" >$W/log/out 2>&1
  local got=$?
  cat $W/log/out
  [ $got = "$status" ] && grep -qF -- "$text" $W/log/out && [ "$(wc -l <$W/log/out)" = 1 ]
}
processes() { cordon_processes "$@" | wc -l; }
no_translator() { ! role translator >/dev/null; }
records() { [ "$(grep -c "\"event.action\":\"$1\"" "$AUDIT")" = "$2" ]; }
cpu() { awk '{print $14 + $15}' "/proc/$1/stat"; }  # in 1/100 s
reach_in() { in_server $TRAFFIC --timeout 1500 first 10.99.0.2 7788; }

vm one --socket $SOCKET -t 7788 --control $W/ctl --pid-file $W/one.pid
expect "only the user may connect" test "$(stat -c %a $SOCKET)" = 600
expect "without a guest there is no translator" no_translator
expect "and the status says so" connected "not connected"
expect "a published port leads nowhere" not reach_in
expect "a second instance is refused" errors 125 "already in use" --socket $SOCKET
expect "which disturbs nobody" connected "not connected"
expect "and costs no client" records guest-connected 0
bridge qemu --connect $SOCKET
configure
expect "traffic" works
expect "the status says so" connected connected
start service box $TRAFFIC server 7788
expect "a published port leads to it" reach_in
nsenter --net=/run/netns/host $BRIDGE --tap vm1 --connect $SOCKET >$W/log/second.out 2>&1 & pid_of[second]=$!
expect "a second client is closed at once" ends second 0
expect "and the first one is not disturbed" works
expect "one connection is on record" records guest-connected 1

end qemu KILL
expect "the guest is gone: its translator too" within 5 no_translator
expect "which is on record" within 3 records guest-disconnected 1
expect "the status says so" within 3 connected "not connected"
bridge qemu --connect $SOCKET
configure
expect "the next connection" works
for i in 1 2 3 4 5 6 7 8; do
  end qemu KILL
  within 5 no_translator
  bridge qemu --connect $SOCKET
done
configure
expect "eight more are no crash loop" works
end qemu TERM
within 5 no_translator

# Lengths no frame can have.
for what in length:0 length:13 length:65554 length:0xffffffff; do
  before=$(grep -c '"sandbox.cause":"violation"' "$AUDIT")
  bridge bad --connect $SOCKET --mischief $what
  expect "$what ends the connection" ends bad 0
  expect "and is on record" within 3 test "$(grep -c '"sandbox.cause":"violation"' "$AUDIT")" -gt "$before"
done
expect "and is named" grep -q "a frame of 4294967295 bytes" $W/log/one.err
bridge half --connect $SOCKET --mischief half:1000
end half KILL
expect "half a frame" within 5 no_translator
bridge qemu --connect $SOCKET
configure
expect "the next client is served" works

# A guest that stands still costs nothing and loses nothing but its own frames.
: >$W/log/stood
in_box $TRAFFIC --timeout 60000 receive $SERVER4 $PORT $((BYTES / 8)) >$W/log/stood 2>&1 & pid_of[stood]=$!
sleep 0.3
kill -STOP "${pid_of[qemu]}"
sleep 1
translator=$(role translator)
before=$(cpu "$translator")
background other -- sh -c "$TRAFFIC send $SERVER4 $PORT $((BYTES / 64)) && echo ready && sleep 60"
sleep 3
used=$(($(cpu "$translator") - before))
expect "a stopped guest costs no processor time ($used/100 s)" test $used -le 3
expect "the status is answered" connected connected
end other
kill -CONT "${pid_of[qemu]}"
expect "its connection goes on" wait "${pid_of[stood]}"
expect "and it has its network" works

# The end of each process.
translator=$(role translator)
kill -9 "$translator"
expect "a killed translator ends the connection" ends qemu 0
expect "which is on record" within 3 recorded '"event.action":"engine-failed"' "killed by signal 9"
expect "the launcher lives" connected "not connected"
bridge qemu --connect $SOCKET --reconnect-ms 100
configure
expect "the next client" works
kill -9 "$(role translator)"
again() { [ "$(grep -c connected $W/log/qemu.out)" -ge 2 ]; }
expect "a monitor that reconnects is back" within 5 again
configure
expect "with traffic" works
kill -9 "$(role broker)"
expect "without broker it ends and says so" ends one 125
end qemu
expect "the socket is gone" test ! -e $SOCKET
expect "nothing is left" within 3 none_left
vm two --socket $SOCKET
bridge qemu --connect $SOCKET
kill -9 "${pid_of[two]}"
wait "${pid_of[two]}" 2>/dev/null
expect "kill -9 leaves no process" within 3 none_left
expect "but the socket's file" test -S $SOCKET
end qemu
vm three --socket $SOCKET
expect "which is replaced" test -S $SOCKET
for signal in TERM INT; do
  kill -$signal "${pid_of[three]}"
  expect "SIG$signal ends it" ends three 0
  expect "and takes the socket away" test ! -e $SOCKET
  vm three --socket $SOCKET
  bridge qemu --connect $SOCKET
done
end three
expect "nothing is left" within 3 none_left

vm once --socket $SOCKET --one-off
bridge qemu --connect $SOCKET
configure
expect "--one-off serves one" works
end qemu
expect "and ends with it" ends once 0
expect "without its socket" test ! -e $SOCKET
vm once --socket $SOCKET --one-off
bridge bad --connect $SOCKET --mischief length:3
expect "--one-off after nonsense fails" ends once 125
ends bad 0

# --fd: the bridge's other end, inherited; blocking, and with frames that wait already.
cat >$W/pair.py <<END
import os, socket, sys
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
if sys.argv[1] == "nonblocking": theirs.setblocking(False)
os.set_inheritable(theirs.fileno(), True)
os.set_inheritable(ours.fileno(), True)
number = int(sys.argv[2])
queued = bytes.fromhex("ffffffffffff" "525400123456" "0806" "0001080006040001" "525400123456" "0a00020f" "000000000000" "0a000202") + bytes(18)
ours.sendall(len(queued).to_bytes(4, "big") + queued)
if os.fork() == 0:
    theirs.close()
    os.execv("$BRIDGE", ["$BRIDGE", "--fd", str(ours.fileno()), "--mac", "52:54:00:12:34:56"])
os.dup2(theirs.fileno(), number)
if theirs.fileno() != number: theirs.close()
ours.close()
os.execvp("nsenter", ["nsenter", "--net=/run/netns/host", "$CORDON", "vm", "--quiet", "--policy", "$W/policy.yaml",
                      "--audit-log", "$AUDIT", "--fd", str(number)])
END
for how in "blocking 9" "nonblocking 50" "blocking 0"; do
  nsenter --net=/run/netns/box python3 $W/pair.py $how >$W/log/pair.out 2>$W/log/pair.err & pid_of[pair]=$!
  up() { in_box ip link show vm0 up 2>/dev/null | grep -q LOWER_UP; }
  within 30 up || die "no bridge: $(cat $W/log/pair.err)"
  configure
  expect "--fd, $how" within 5 works
  for bridge_pid in $(pgrep -f "^$BRIDGE"); do kill $bridge_pid; done
  expect "ends with its peer" ends pair 0
done
expect "nothing is left" within 3 none_left

expect "no parent" errors 125 "No such file" --socket $W/nowhere/vm.sock
expect "a file that is no socket" errors 125 "something else" --socket $W/empty
expect "too long" errors 2 "at most 107 bytes" --socket "$W/$(printf 'x%.0s' {1..120})"
expect "no descriptor" errors 125 "no such descriptor" --fd 33
expect "a descriptor that is no socket" errors 125 "no socket" --fd 0
finish
