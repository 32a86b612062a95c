# The command has the launcher's user and sees its processes: it can signal none of them, and does among its own whatever
# it could before.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
cat >$W/try.py <<'PYTHON'
# try.py PID...: no signal reaches any of them, by none of the calls.
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
wrong = 0
def refused(what, call):
    global wrong
    try:
        call()
    except PermissionError:
        return
    except OSError as error:
        print(what, error)
    else:
        print(what, "passed")
    wrong += 1
for pid in map(int, sys.argv[1:]):
    for number in (0, signal.SIGCONT, signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
        refused(f"kill {pid} {number}", lambda: os.kill(pid, number))
    fd = os.pidfd_open(pid)
    refused(f"pidfd {pid}", lambda: signal.pidfd_send_signal(fd, signal.SIGSTOP))
    if libc.ptrace(16, pid, 0, 0) == 0:
        print("ptrace", pid, "passed")
        wrong += 1
# What it may do: all of this is about processes of its own.
child = os.fork()
if child == 0:
    signal.pause()
for number in (0, signal.SIGSTOP, signal.SIGCONT):
    os.kill(child, number)
if libc.ptrace(16, child, 0, 0) != 0:
    print("ptrace of a child:", os.strerror(ctypes.get_errno()))
    wrong += 1
else:
    os.waitpid(child, 0)
    libc.ptrace(17, child, 0, 0)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
sys.exit(wrong != 0)
PYTHON
cat >$W/command.sh <<SH
echo ready
until [ -s $W/log/pids ]; do sleep 0.05; done
fail() { echo "\$1"; touch $W/log/wrong; }
python3 $W/try.py \$(cat $W/log/pids) || fail "signals"
[ "\$(id -u)" != 0 ] || { mount -t tmpfs none /mnt && umount /mnt; } || fail "mount"
unshare --user --map-root-user --mount --pid --fork sh -c 'mount -t tmpfs none /mnt && kill -0 \$\$' || fail "unshare"
sh -c 'sleep 60 & kill %1 2>/dev/null || kill \$!; wait \$!; [ \$? -gt 128 ]' || fail "kill of a child"
# A script that ends its process group, as many do at their end: its own processes go, launcher and broker stay.
setsid sh -c 'sleep 60 & trap "" TERM; kill 0; wait; exit 0' || fail "kill 0"
$TRAFFIC --timeout 5000 first $SERVER4 $PORT || fail "network"
touch $W/log/done
until [ -e $W/log/stop ]; do sleep 0.05; done
SH
chmod 644 $W/try.py $W/command.sh
scope_of() { grep -F 'cordon: command: ' $W/log/held.err; }
run_all() {  # run_all WHO
  rm -f $W/log/{pids,wrong,done,stop}
  CHAT=--verbose background held -- sh $W/command.sh
  if ! scope_of | grep -q 'command: signal-scope'; then
    say "note: $(scope_of)"
    touch $W/log/stop
    [ -n "$(scope_of)" ] || die "--verbose does not tell of the command's isolation"
    exit 77
  fi
  local pids
  pids="$(role launcher) $(role broker) $(role translator)"
  echo "$pids" >$W/log/pids.new && chmod 644 $W/log/pids.new && mv $W/log/pids.new $W/log/pids
  within 20 test -e $W/log/done || die "the command is stuck: $(cat $W/log/held.*)"
  expect "$1: signals stay inside, and all else is as before" not test -e $W/log/wrong
  [ ! -e $W/log/wrong ] || cat $W/log/held.out $W/log/held.err
  expect "$1: the processes are the same" test "$pids" = "$(role launcher) $(role broker) $(role translator)"
  kill -TERM "$(role launcher)"
  expect "$1: a signal from outside ends it" within 3 none_left
  wait "${pid_of[held]}" 2>/dev/null
}
run_all root
AUDIT=$W/log/user.jsonl
rm -f $W/log/*.new
as_user
run_all "ordinary user"
finish
