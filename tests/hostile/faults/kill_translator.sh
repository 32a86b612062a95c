# kill -9 of the translator at random moments under traffic (bulk TCP, UDP, new connections): the guest's network is back
# by itself, each time. KILLS=200 is the long form. A crash loop, which no restart helps, slows down and does not end.
. "$(dirname "$0")/../../netns/world.sh"
here=$(cd "$(dirname "$0")" && pwd)
KILLS=${KILLS:-10}
PATIENCE=60
LIMIT_MS=${LIMIT_MS:-2000}  # of a busy machine; a quiet one stays below 200
SLACK_KIB=1024
if grep -qE '__(asan|tsan)_init' "$CORDON"; then SLACK_KIB=65536 LIMIT_MS=10000; fi
start far server python3 "$here/far_end.py" 7001 $SERVER4 $SERVER6
rm -f $W/log/stop
background loaded -- python3 "$here/load.py" $SERVER4 7001 1000000 $W/log/events --stop $W/log/stop
cat >$W/killer.py <<'PYTHON'
# killer.py COUNT OUT: kills the translator at random moments, no faster than is started again at once.
import os, random, signal, sys, time
random.seed(int(os.environ.get("SEED", "0")) or None)
def translator():
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if open("/proc/%s/cmdline" % name, "rb").read().startswith(b"cordon\0--role=translator\0"):
                    return int(name)
            except OSError:
                pass
    return 0
kills, credit, at = [], 7.0, time.monotonic()
out = open(sys.argv[2], "w")
for turn in range(int(sys.argv[1])):
    time.sleep(random.uniform(0.4, 1.2))
    now = time.monotonic()
    credit, at = min(7.0, credit + (now - at) / 2.0), now
    if credit < 1.1:
        time.sleep(2.2 * (1.1 - credit))
    credit -= 1
    end = time.monotonic() + 10
    pid = translator()
    while not pid and time.monotonic() < end:
        time.sleep(0.01)
        pid = translator()
    if not pid:
        sys.exit("no translator before kill %d" % turn)
    os.kill(pid, signal.SIGKILL)
    print("%.6f" % time.monotonic(), file=out, flush=True)
time.sleep(2.5)
PYTHON
cat >$W/back.py <<'PYTHON'
# back.py KILLS EVENTS LIMIT_MS: how long after each kill the first new connection stood, and the first answer came.
import sys
kills = [float(line) for line in open(sys.argv[1])]
events = [(what, float(a), float(b)) for what, a, b in (line.split() for line in open(sys.argv[2]))]
bad = False
for kind in ("new", "udp"):
    times = []
    for kill in kills:
        after = [end for what, begun, end in events if what == kind and begun >= kill]
        times.append((min(after) - kill) * 1000 if after else float("inf"))
    times.sort()
    pick = lambda q: times[min(len(times) - 1, int(q * len(times)))]
    print("%s: kill to back, ms: p50 %.1f p90 %.1f p99 %.1f max %.1f (%d kills)" % (kind, pick(.5), pick(.9), pick(.99), times[-1], len(times)))
    bad |= times[-1] > float(sys.argv[3])
print("%d new connections, %d datagram answers, %d MiB" % tuple(sum(what == k for what, _, _ in events) for k in ("new", "udp", "bulk")))
sys.exit(bad)
PYTHON
launcher_fds() { ls /proc/"$(role launcher)"/fd | wc -l; }
launcher_kib() { awk '/^VmRSS/ {print $2}' /proc/"$(role launcher)"/status; }
fds=$(launcher_fds) kib=$(launcher_kib)
expect "the translator is killed $KILLS times" python3 $W/killer.py $KILLS $W/log/kills
expect "the launcher has as many descriptors as before: $fds" test "$(launcher_fds)" = "$fds"
say "  the launcher: $kib KiB before, $(launcher_kib) after"
expect "and has not grown" test "$(launcher_kib)" -le $((kib + SLACK_KIB))
restarted() { [ "$(grep -c '"message":"translator restarted: killed by signal 9' "$AUDIT")" = "$KILLS" ]; }
expect "each kill is on record" within 3 restarted
touch $W/log/stop
wait "${pid_of[loaded]}"
expect "the command has ended well" test $? = 0
python3 $W/back.py $W/log/kills $W/log/events $LIMIT_MS >$W/log/back
status=$?
cat $W/log/back
expect "the guest's network was back within $LIMIT_MS ms each time" test $status = 0
finish
