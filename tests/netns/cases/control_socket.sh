# The control socket: for its owner, not for the guest; two instances; what is left behind.
. "$(dirname "$0")/../world.sh"
S=$W/control.sock
instance() {  # instance NAME OPTION...: in the background, until $W/log/NAME.end exists
  local name=$1
  shift
  : >$W/log/$name.out
  rm -f $W/log/$name.end
  ip netns exec host "${RUN_AS[@]}" "$CORDON" run --verbose --policy $W/policy.yaml "$@" -- \
    sh -c "echo ready; until [ -e $W/log/$name.end ]; do sleep 0.05; done" >$W/log/$name.out 2>$W/log/$name.err &
  pid_of[$name]=$!
  within 20 grep -q ready $W/log/$name.out || die "$name did not start: $(cat $W/log/$name.err)"
}
end() { touch $W/log/$1.end; wait ${pid_of[$1]}; }
status_of() { timeout 10 "$CORDON" ctl status --socket "$1"; }
mode_is() { [ "$(stat -c %a "$2")" = "$1" ]; }

instance one --control $S
expect "its owner alone may open it" mode_is 600 $S
expect "its owner gets an answer" status_of $S
fails_with() {  # fails_with STATUS TEXT COMMAND...
  local status=$1 text=$2 got
  shift 2
  "$@" >$W/log/out 2>$W/log/err
  got=$?
  [ $got = "$status" ] && grep -qF -- "$text" $W/log/err || { say "status $got: $(cat $W/log/err)"; return 1; }
}
expect "a path that a live instance has" fails_with 125 "a running cordon has it" \
  timeout 20 ip netns exec host $CORDON run --policy $W/policy.yaml --control $S -- true
touch $W/not-a-socket
expect "a path where a file is" fails_with 125 "something else" \
  timeout 20 ip netns exec host $CORDON run --policy $W/policy.yaml --control $W/not-a-socket -- true
expect "and the file stays" test -f $W/not-a-socket
expect "a path that is too long" fails_with 2 "at most 107 bytes" \
  timeout 20 ip netns exec host $CORDON run --policy $W/policy.yaml --control "/tmp/$(printf 'x%.0s' $(seq 110))" -- true
end one
expect "it is gone at the end" test ! -e $S

instance one --control $S
kill -9 "$(role launcher)"
wait ${pid_of[one]} 2>/dev/null
expect "kill -9 leaves its file" test -S $S
within 5 none_left
# The guest sees the file, has its owner's user id, and is turned away.
cat >$W/knock.py <<'PYTHON'
# Not cordon's own client, which would see who listens and not ask.
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.settimeout(5)
client.connect(sys.argv[1])
try:
    client.sendall(b'{"jsonrpc":"2.0","id":1,"method":"status"}\n')
    sys.stdout.write(client.recv(4096).decode())
except (ConnectionResetError, BrokenPipeError):
    pass
PYTHON
cat >$W/knock.sh <<END
python3 $W/knock.py $S
unshare --user --map-root-user python3 $W/knock.py $S
timeout 5 $CORDON ctl status --socket $S
echo \$? >$W/log/knocked
timeout 5 $CORDON ctl kill --all --socket $S
echo \$? >>$W/log/knocked
unshare --user --map-root-user timeout 5 $CORDON ctl status --socket $S
echo \$? >>$W/log/knocked
END
chmod 644 $W/knock.sh $W/knock.py
timeout 60 ip netns exec host $CORDON run --policy $W/policy.yaml --control $S -- sh $W/knock.sh >$W/log/guest.out 2>$W/log/guest.err
expect "a dead instance's path is taken over, and the guest is let in by no way" not grep -qx 0 $W/log/knocked
expect "it got nothing" test ! -s $W/log/guest.out
expect "which is said once" test "$(grep -c "control socket: refused a peer: inside of another user namespace" $W/log/guest.err)" = 1
expect "three knocks" test "$(wc -l <$W/log/knocked)" = 3
expect "gone at the end again" test ! -e $S

# The default place.
if [ "$CORDON_CALLER" = 0 ]; then place=/run/cordon; else place=$W/runtime/cordon; export XDG_RUNTIME_DIR=$W/runtime; mkdir -p $W/runtime; fi
[ "$(id -u)" != 0 ] || place=/run/cordon
instance one --name box
expect "the usual place" status_of $place/box.sock
expect "its directory is private" mode_is 700 $place
# More than come in at once (50, and 50 a second): who waits is not forgotten.
each_is_answered() { local i; for i in $(seq 130); do status_of $place/box.sock || { say "the $i. is not"; return 1; }; done; }
expect "one question after the other is answered" each_is_answered
instance two --name box
expect "a second instance of the name has a socket, too" test -S "$(sed -n 's/^cordon: control socket: //p' $W/log/two.err)"
expect "of its own" status_of "$(sed -n 's/^cordon: control socket: //p' $W/log/two.err)"
end two
expect "the first one's stays" status_of $place/box.sock
end one
expect "no socket is left" test -z "$(ls $place)"
instance one --name box
kill -9 "$(role launcher)"
wait ${pid_of[one]} 2>/dev/null
within 5 none_left
instance other
expect "what a killed instance left is swept by the next" test ! -e $place/box.sock
end other
instance none --no-control
expect "--no-control: none" test -z "$(ls $place)"
end none
chmod 777 $place
instance open
expect "a directory that others may write to is not used" test -z "$(ls $place)"
expect "which --verbose says" grep -q "no control socket: .*others may write" $W/log/open.err
end open
finish
