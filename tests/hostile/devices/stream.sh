# A hostile monitor against a live cordon vm by the stream protocol: the rows STR-01 to STR-08 of docs/hostile-matrix.md.
. "$(dirname "$0")/../../netns/world.sh"
MONITOR=${MONITOR:?path of hostile_monitor}
[ "$CORDON_CALLER" = 0 ] || { say "skipped: needs a second user"; exit 77; }
cp "$MONITOR" $W/bin/hostile_monitor || die "cannot copy the monitor"
start canary host $TRAFFIC canary $PORT
ip netns exec host "$CORDON" vm --policy $W/policy.yaml --audit-log "$AUDIT" --socket $W/vm.sock \
  --control $W/ctl --mac 52:54:00:12:34:56 --ready-fd 7 7>$W/log/vm.ready </dev/null >$W/log/vm.out 2>$W/log/vm.err &
pid_of[vm]=$!
within 20 test -s $W/log/vm.ready || die "cordon vm: $(cat $W/log/vm.err)"
chmod 666 $W/vm.sock
sleep 0.5  # what a start needs is closed
timeout --foreground 400 $W/bin/hostile_monitor $W/vm.sock ${pid_of[vm]} "$AUDIT" ${ROWS:-} 2>&1 | tee $W/log/rows
expect "all rows" test "${PIPESTATUS[0]}" = 0
expect "the status is answered" ip netns exec host $CORDON ctl --socket $W/ctl status
expect "what was said is not much: $(wc -c <$W/log/vm.err) bytes" test "$(wc -c <$W/log/vm.err)" -lt 100000
counts=$(stop canary)
expect "nothing came to the host: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
kill -TERM ${pid_of[vm]}
finish
