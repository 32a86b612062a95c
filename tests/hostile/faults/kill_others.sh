# kill -9 of the broker, the launcher and the policy loader at random moments: of the start, of work, of a reload. The
# guest's network ends, or the reload fails; no process, interface or namespace is left, and the next start works with the
# same names. ROUNDS=100 is the long form.
. "$(dirname "$0")/../../netns/world.sh"
ROUNDS=${ROUNDS:-2}
start server server $TRAFFIC server $PORT
links() { ip netns exec host ip -o link | wc -l; }
before=$(links)
holds='echo ready; while ! [ -e '$W'/log/stop ]; do sleep 0.02; done; '"$TRAFFIC --timeout 300 first $SERVER4 $PORT"
names=(--control "$W/control.sock" --pid-file "$W/cordon.pid")
milliseconds() { sleep "$(printf '0.%03d' $((RANDOM % $1)))"; }
namespaces() { readlink /proc/[0-9]*/ns/net 2>/dev/null | sort -u | wc -l; }
spaces=$(namespaces)
works_again() { rm -f $W/log/stop; guest "${names[@]}" -- $TRAFFIC --timeout 5000 first $SERVER4 $PORT; }

begin() {  # in the background, without waiting until it is ready
  rm -f $W/log/stop
  : >$W/log/begun.out
  ip netns exec host timeout --foreground 30 "$CORDON" run --quiet --policy $W/policy.yaml --audit-log "$AUDIT" "${names[@]}" -- sh -c "$holds" \
    </dev/null >$W/log/begun.out 2>$W/log/begun.err &
  begun=$!
}
found() { victim=$(role "$1"); }
# Not only out of sight: a process that ends has no command line any more while it still closes what it had open.
ended() {
  local pid
  for pid in "$@"; do
    ! [ -e /proc/"$pid"/stat ] || grep -q '^State:.*Z' /proc/"$pid"/status 2>/dev/null || return 1
  done
}

bad=0
for round in $(seq "$ROUNDS"); do
  for who in broker launcher; do
    begin
    # A start takes some 50 ms: half of these are before its end.
    milliseconds 100
    within 3 found $who || { say "no $who in round $round"; bad=$((bad + 1)); }
    read -ra family <<<"$(cordon_processes | tr '\n' ' ')"
    kill -9 "$victim" 2>/dev/null
    touch $W/log/stop
    if [ $who = broker ]; then
      # Before the command was let go 125; after that its own status, which is without network.
      wait $begun
      status=$?
      [ $status = 125 ] || [ $status = 1 ] || { say "broker, round $round: status $status"; bad=$((bad + 1)); }
      [ ! -e $W/control.sock ] && [ ! -e $W/cordon.pid ] || { say "broker, round $round: a file is left"; bad=$((bad + 1)); }
    else
      wait $begun 2>/dev/null
    fi
    within 3 none_left || { say "$who, round $round: left $(cordon_processes)"; bad=$((bad + 1)); }
    within 3 ended "${family[@]}" || { say "$who, round $round: somebody does not end"; bad=$((bad + 1)); }
    [ $bad = 0 ] || cat $W/log/begun.err
  done
done
expect "broker and launcher killed at $ROUNDS random moments of a start each: nothing is left" test $bad = 0
expect "no interface is left" test "$(links)" = "$before"
as_before() { [ "$(namespaces)" = "$spaces" ]; }
expect "no namespace is left" within 3 as_before
expect "the next start takes the names of the dead" works_again
expect "and leaves none" test ! -e $W/control.sock -a ! -e $W/cordon.pid

# A record of it, by whoever is left to write.
rm -f $W/log/stop
background held "${names[@]}" -- sh -c "$holds"
kill -9 "$(role broker)"
expect "a broker's death is on record" within 3 recorded '"event.action":"engine-failed"' "broker ended, no network any more: killed by signal 9"
touch $W/log/stop
wait "${pid_of[held]}"
expect "the command went on, without network" test $? = 1

# The loader and its readers, while a policy is loaded again and again.
rm -f $W/log/stop
background held "${names[@]}" -- sh -c "$holds"
cat >$W/hunt.py <<'PYTHON'
# hunt.py COUNT LAUNCHER: reloads by SIGHUP; kills what reads, as soon as it is there, at random in its short life.
import os, random, signal, sys, time
want, launcher, killed, rounds = int(sys.argv[1]), int(sys.argv[2]), 0, 0
while killed < want and rounds < want * 40:
    rounds += 1
    os.kill(launcher, signal.SIGHUP)
    end = time.monotonic() + 0.3
    time.sleep(random.uniform(0, 0.01))
    while time.monotonic() < end:
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                line = open("/proc/%s/cmdline" % name, "rb").read()
                if line.startswith(b"cordon\0--role=policy-"):
                    os.kill(int(name), signal.SIGKILL)
                    killed += 1
                    end = 0
                    break
            except OSError:
                pass
print(killed, "killed in", rounds, "reloads")
sys.exit(killed < want)
PYTHON
expect "loaders and readers are killed" python3 $W/hunt.py $((ROUNDS * 2)) "$(role launcher)"
expect "each failed reload says so" grep -q "policy-loader: killed by signal 9\|policy-reader" $W/log/held.err
expect "and is on record" within 3 grep -q '"event.action":"policy-rejected"' "$AUDIT"
sleep 0.5
touch $W/log/stop
expect "the old policy stays in force" wait "${pid_of[held]}"

# The launcher while it reloads.
bad=0
for round in $(seq "$ROUNDS"); do
  rm -f $W/log/stop
  background held "${names[@]}" -- sh -c "$holds"
  launcher=$(role launcher)
  read -ra family <<<"$(cordon_processes | tr '\n' ' ')"
  kill -HUP "$launcher"
  milliseconds 30
  kill -9 "$launcher"
  wait "${pid_of[held]}" 2>/dev/null
  within 3 ended "${family[@]}"
  within 3 none_left || { say "round $round: left $(cordon_processes)"; bad=$((bad + 1)); }
done
expect "the launcher killed at $ROUNDS random moments of a reload: nothing is left" test $bad = 0
expect "no interface is left" test "$(links)" = "$before"
expect "the next start works" works_again
finish
