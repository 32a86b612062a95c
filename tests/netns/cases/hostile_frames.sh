# The rows of hostile frames (docs/hostile-matrix.md 4.1 to 4.6) sent raw by a guest of cordon run and by a machine of
# cordon vm: no address of the host is reached, every frame has an outcome, nothing grows, and the guest goes on.
RAW=$(dirname "$TRAFFIC")/../../hostile/frames/raw_guest
. "$(dirname "$0")/../world.sh"
cp "$RAW" $W/bin/raw_guest && chmod 755 $W/bin/raw_guest || die "cannot copy raw_guest"
start server server $TRAFFIC server $PORT
start canary host $TRAFFIC canary $PORT
ip -n host addr add 169.254.169.254/32 dev lo
ip -n host link set lo up

ctl() { timeout 40 nsenter --net=/run/netns/host "$CORDON" ctl "$@"; }
event() { ctl metrics "${WHO[@]}" | sed -n "s/^cordon_translator_events_total{[^}]*\"$1\"[^}]*} //p"; }
# Outcomes are the events between to_tcp_flow and drop_local, in the order of the metrics.
conserved() {
  ctl metrics "${WHO[@]}" >$W/log/metrics
  sed -n 's/^cordon_translator_events_total{[^}]*"\([a-z_]*\)"[^}]*} \([0-9]*\)$/\1 \2/p' $W/log/metrics |
    awk '$1 == "frames_from_guest" { came = $2 } $1 == "to_tcp_flow" { on = 1 } on { sum += $2 } $1 == "drop_local" { on = 0 }
      END { print came " frames, " sum " outcomes"; exit !(came > 0 && came == sum) }'
}
counted() {  # counted FILE: at least what it says
  local name least status=0
  while read -r name least; do
    [ "$name" != sent ] || name=frames_from_guest
    [ "$name" = "done" ] || [ "$(event $name)" -ge "$least" ] || { say "$name: $(event $name) of $least"; status=1; }
  done <$1
  return $status
}
fds() { find /proc/$(role $1)/fd -mindepth 1 | wc -l; }
resident() { awk '/^VmRSS/ { print $2 }' /proc/$(role translator)/status; }
fds_are_back() { [ "$(fds broker) $(fds translator)" = "$1" ]; }
same_processes() { [ "$(role broker) $(role translator)" = "$1" ]; }

# --- a command's tap
mkfifo $W/log/work && chmod 666 $W/log/work && exec 9<>$W/log/work
worker="echo ready; while read -r line; do eval \"\$line\"; done <$W/log/work"
background one --name one -- sh -c "$worker"
WHO=()
in_guest() { rm -f $W/log/status; echo "($*) >$W/log/said 2>&1; echo \$? >$W/log/status" >&9
  within 100 test -s $W/log/status && [ "$(<$W/log/status)" = 0 ]; }
expect "the guest works" in_guest $TRAFFIC first $SERVER4 $PORT
# The kernel drops what exceeds the interface's queue, without a word to the sender.
expect "its queue holds all rows" in_guest ip link set eth0 txqueuelen 60000
sleep 1
processes="$(role broker) $(role translator)" baseline="$(fds broker) $(fds translator)" memory=$(resident)
expect "all rows are sent" in_guest $W/bin/raw_guest tap eth0 fd00:c0:2d::15 fd00:c0:2d::2 fd00:c0:2d::3
cp $W/log/said $W/log/least
expect "the guest goes on" in_guest $TRAFFIC first $SERVER4 $PORT
expect "over IPv6, too" in_guest $TRAFFIC first $SERVER6 $PORT
expect "each row's frames have its outcome: $(head -n1 $W/log/least)" within 10 counted $W/log/least
expect "every frame has one outcome" conserved
expect "nobody died" same_processes "$processes"
expect "descriptors come back to $baseline" within 75 fds_are_back "$baseline"
expect "memory is bounded: $memory KiB before, $(resident) now" [ "$(resident)" -lt $((memory + 65536)) ]
kill -TERM ${pid_of[one]}
expect "no process is left" within 5 none_left

# --- a machine's stream
SOCKET=$W/vm.sock
nsenter --net=/run/netns/host "$CORDON" vm --quiet --name two --policy $W/policy.yaml --audit-log "$AUDIT" --socket $SOCKET \
  </dev/null >$W/log/vm.out 2>$W/log/vm.err &
pid_of[vm]=$!
within 10 test -S $SOCKET || die "cordon vm: $(cat $W/log/vm.err)"
machine() { timeout 100 $W/bin/raw_guest stream $SOCKET fd00:c0:2d::15 fd00:c0:2d::2 fd00:c0:2d::3 >$W/log/least; }
expect "a machine sends all rows" machine
expect "each row's frames have its outcome: $(head -n1 $W/log/least)" within 10 counted $W/log/least
expect "every frame has one outcome" conserved
kill -TERM ${pid_of[vm]}

counts=$(stop canary)
expect "nothing of the host was reached: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
finish
