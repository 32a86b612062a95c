# A hostile program against a live cordon vm; the cases that source this say which. live OPTIONS...: starts the machine's
# network; rows PROGRAM: plays the rows, then asks what may have come of them.
. "$(dirname "$0")/../../netns/world.sh"

live() {
  start canary host $TRAFFIC canary $PORT
  ip netns exec host "$CORDON" vm "$@" --policy $W/policy.yaml --audit-log "$AUDIT" --socket $W/vm.sock \
    --control $W/ctl --mac 52:54:00:12:34:56 --ready-fd 7 7>$W/log/vm.ready </dev/null >$W/log/vm.out 2>$W/log/vm.err &
  pid_of[vm]=$!
  within 20 test -s $W/log/vm.ready || die "cordon vm: $(cat $W/log/vm.err)"
}
rows() {
  sleep 0.5  # what a start needs is closed
  timeout --foreground 400 "$1" $W/vm.sock ${pid_of[vm]} "$AUDIT" ${ROWS:-} 2>&1 | tee $W/log/rows
  expect "all rows" test "${PIPESTATUS[0]}" = 0
  expect "the status is answered" ip netns exec host $CORDON ctl --socket $W/ctl status
  expect "what was said is not much: $(wc -c <$W/log/vm.err) bytes" test "$(wc -c <$W/log/vm.err)" -lt 100000
  counts=$(stop canary)
  expect "nothing came to the host: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
  kill -TERM ${pid_of[vm]}
  finish
}
