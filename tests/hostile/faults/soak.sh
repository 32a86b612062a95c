# Mixed load for SECONDS: bulk, request and response, connections, datagrams, names, echo, published ports, reloads, control
# queries. No process grows in memory or descriptors, no latency grows, and the audit log adds up. SOAK_SECONDS=3600 is the
# long form.
. "$(dirname "$0")/../../netns/world.sh"
here=$(cd "$(dirname "$0")" && pwd)
SOAK_SECONDS=${SOAK_SECONDS:-15}
PATIENCE=60
SLACK_KIB=512
# A sanitizer keeps what was freed for a while.
if grep -qE '__(asan|tsan)_init' "$CORDON"; then
  SLACK_KIB=65536
  export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=1
fi
cat >>$W/policy.yaml <<END
ingress:
  - {name: peers, allow: [10.99.0.0/24, "fd00:99::/64"], log: all}
END
sed -i 's/ports: \[tcp, udp, icmp\/echo\]/&\n    log: all/' $W/policy.yaml
start server server $TRAFFIC server $PORT
start names server $TRAFFIC dns-server 53 192.0.2.10 2001:db8::10
start far server python3 "$here/far_end.py" 7001 $SERVER4 $SERVER6
rm -f $W/log/stop
background soaked --control $W/control.sock -t 7788 -- python3 "$here/soak_load.py" $SERVER4 $SERVER6 7001 $PORT $W/log/latencies $W/log/stop
launcher=$(role launcher) broker=$(role broker) translator=$(role translator)
(while ! [ -e $W/log/stop ]; do in_server $TRAFFIC --timeout 2000 first 10.99.0.2 7788 >/dev/null 2>&1; sleep 0.05; done) &
(while ! [ -e $W/log/stop ]; do sleep 1; sed "s/^name:.*/name: world$((RANDOM % 1000))/" $W/policy.yaml >$W/policy.new; mv $W/policy.new $W/policy.yaml; kill -HUP "$launcher"; done) &
(while ! [ -e $W/log/stop ]; do
   for query in status flows metrics; do in_host "$CORDON" ctl --socket $W/control.sock $query >/dev/null 2>&1; done
   sleep 0.3
 done) &
python3 "$here/soak_watch.py" $SOAK_SECONDS $W/log/usage "$CORDON" $W/control.sock launcher=$launcher broker=$broker translator=$translator
in_host "$CORDON" ctl --socket $W/control.sock metrics >$W/log/metrics
touch $W/log/stop
expect "the load has ended well" wait "${pid_of[soaked]}"
same() { [ "$(role launcher)" = "$launcher" ]; }
expect "no process was replaced" not grep -q 'engine-failed' "$AUDIT"
python3 "$here/soak_judge.py" $W/log/usage $W/log/latencies "$AUDIT" $W/log/metrics $SLACK_KIB >$W/log/judged
status=$?
cat $W/log/judged
expect "nothing grows, and the sums agree" test $status = 0
finish
