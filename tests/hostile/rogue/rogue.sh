# A translator that has been taken over tries everything it knows. rogue.sh [NAME=VALUE...] for the driver, as in
# thorough=1 or only="a name".
. "$(dirname "$0")/../../netns/world.sh"
: "${ROGUE:?path of cordon_rogue}" "${DRIVER:?path of rogue_driver}"
cp "$ROGUE" $W/bin/cordon_rogue && cp "$DRIVER" $W/bin/rogue_driver && chmod 755 $W/bin/* || die "cannot copy the binaries"
cat >$W/rogue.yaml <<END
version: 1
name: rogue
egress:
  - name: one-service
    allow: [192.0.2.10, "2001:db8::10"]
    ports: [tcp/7777, udp/7777, icmp/echo]
END
start server server $TRAFFIC server 7778 $SERVER4

# The other guest does what it is told, and is believed.
mkfifo $W/log/work $W/log/done && chmod 666 $W/log/work $W/log/done && exec 8<>$W/log/work 9<>$W/log/done
background other -- sh -c "echo ready; while read -r line <&8; do
  if $TRAFFIC --timeout 5000 first $SERVER4 7778 >/dev/null 2>&1; then printf y >&9; else printf n >&9; fi; done"
other=$(role translator)

rm -f $W/ready
env --default-signal=INT,QUIT nsenter --net=/run/netns/host $W/bin/cordon_rogue vm --quiet --policy $W/rogue.yaml \
  --audit-log "$AUDIT.rogue" --ready-fd 7 --max-flows 512 --socket-memory 64MB --socket $W/vm.sock --control $W/ctl ${ROGUE_OPTIONS:-} \
  7>$W/ready </dev/null >$W/log/rogue.out 2>$W/log/rogue.err &
pid_of[rogue]=$!
within 20 test -s $W/ready || die "the rogue's launcher does not get ready: $(cat $W/log/rogue.err)"
broker=$(pgrep -P "${pid_of[rogue]}" -f -- --role=broker)
nsenter --net=/run/netns/host $W/bin/rogue_driver cordon=$CORDON socket=$W/vm.sock control=$W/ctl audit="$AUDIT.rogue" \
  log=$W/log/rogue.err policy=$W/rogue.yaml outside=/run/netns/server work=$W/log/work done=$W/log/done \
  launcher="${pid_of[rogue]}" broker="$broker" other="$other" "$@"
status=$?
[ $status = 0 ] || { say "the launcher said:"; tail -n 20 $W/log/rogue.err; say "the audit log:"; tail -n 5 "$AUDIT.rogue"; }
expect "the oracles found nothing" test $status = 0
kill "${pid_of[rogue]}"; wait "${pid_of[rogue]}"
kill "${pid_of[other]}"; wait "${pid_of[other]}"
finish
