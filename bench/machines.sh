# How a virtual machine's network is started, measured and stopped: a back-end in the namespace "host", its guest in
# the namespace "box". One guest at a time; `backend` and `card` are the pids of this one's processes.

VM_SOCKET=$W/machine/socket
NOBODY=65534

prepare_machines() {
  ip netns add box || die "ip netns add box"
  ip -n box link set lo up
  in_host sysctl -qw net.ipv4.tcp_max_tw_buckets=1
  in_server sysctl -qw net.ipv4.tcp_max_tw_buckets=1
  mkdir -m 1777 $W/machine  # passt runs as an ordinary user
}

# Processes in the tree below a pid, itself included.
tree() {
  local child
  echo "$1"
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do tree "$child"; done
}
# Processor time in ns of all processes of the back-end, and of the bridge.
spent() {
  local pid file sum=0 own rest
  for pid in "$@"; do
    for file in /proc/"$pid"/task/*/schedstat; do
      read -r own rest 2>/dev/null <"$file" && sum=$((sum + own))
    done
  done
  echo $sum
}

# Cordon's processes have sessions of their own, and the scheduler's groups give each session a share of a busy machine:
# passt gets one, too.
launch_backend() {  # launch_backend PROGRAM MTU: in the foreground
  local mtu=$2 passt=(-f -q -4 --no-map-gw -a 10.0.2.15 -n 24 -g 10.0.2.2 --mtu "$2" -t none -u none -s "$VM_SOCKET")
  local vm=("$CORDON" vm --quiet --threads 1 --policy "$W/policy.yaml" --mtu "$mtu" --socket "$VM_SOCKET")
  case $1 in
    cordon-vhost) exec ip netns exec host "${vm[@]}" --vhost-user ;;
    cordon-stream) exec ip netns exec host "${vm[@]}" ;;
    cordon-run)
      exec ip netns exec host "$CORDON" run --quiet --threads 1 --mtu "$mtu" --policy $W/policy.yaml -- sleep $NAP
      ;;
    passt-vhost)
      exec ip netns exec host setsid setpriv --reuid=$NOBODY --regid=$NOBODY --clear-groups "$PASST_VHOST" "${passt[@]}" --vhost-user
      ;;
    passt-stream)
      exec ip netns exec host setsid setpriv --reuid=$NOBODY --regid=$NOBODY --clear-groups "$PASST" "${passt[@]}"
      ;;
  esac
}
launch_card() {  # launch_card PROGRAM MTU
  case $1 in
    *-vhost) exec ip netns exec box "$VHOST_BRIDGE" $VM_SOCKET vm0 --reconnect ;;
    *-stream) exec ip netns exec box "$TAP_BRIDGE" --tap vm0 --mtu "$2" --connect $VM_SOCKET --reconnect-ms 50 ;;
  esac
}
carried() { grep -qE 'ready|connected' $W/log/card.out && ip -n box link show vm0 >/dev/null 2>&1; }
in_machine() {
  local limit=(timeout $((time / 1000 + 7)))
  if [ "$program" = cordon-run ]; then
    "${limit[@]}" nsenter --net=/proc/"$(nap)"/ns/net "$@"
  else
    "${limit[@]}" ip netns exec box "$@"
  fi
}
answers() { in_machine $TRAFFIC --timeout 500 first $SERVER4 $PORT >/dev/null 2>&1; }
napping() { [ -n "$(nap)" ]; }

begin_backend() {
  rm -f $VM_SOCKET
  (launch_backend "$program" "$mtu") </dev/null >$W/log/backend.out 2>$W/log/program.err &
  backend=$!
  card=
  if [ "$program" = cordon-run ]; then within 10 napping; else within 10 test -S $VM_SOCKET; fi
}
begin_card() {
  : >$W/log/card.out
  (launch_card "$program" "$mtu") </dev/null >$W/log/card.out 2>$W/log/card.err &
  card=$!
  within 10 carried || return
  ip -n box link set vm0 mtu "$mtu" up
  ip -n box addr replace 10.0.2.15/24 dev vm0
  ip -n box route replace default via 10.0.2.2
}
begin_machine() {
  begin_backend && { [ "$program" = cordon-run ] || begin_card; } && within 10 answers
}
end_machine() {
  local pid all
  all=$(tree $backend)
  [ -n "$card" ] && kill -TERM "$card" 2>/dev/null
  [ "$program" = cordon-run ] && kill -TERM "$(nap)" 2>/dev/null
  for pid in $all; do kill -TERM "$pid" 2>/dev/null; done
  within 3 gone $backend || for pid in $all; do kill -KILL "$pid" 2>/dev/null; done
  wait $backend $card 2>/dev/null
  ip -n box link delete vm0 2>/dev/null
}

# The processes whose time counts: not the sleeping guest, not the launcher's shell.
backend_processes() { tree $backend; }

record() { echo "$program $1-$mtu $2" >>"$results"; }
field() { sed -n "s/.*\"$1\": \\([0-9.]*\\).*/\\1/p" <<<"$2"; }
calculate() { awk "BEGIN {print $1}"; }

# weigh NAME COMMAND...: throughput with its cost: CPU s per GiB of the back-end and of the guest's card, and how busy
# the back-end was.
weigh() {
  local name=$1 line bytes processes before_backend before_card cost seconds
  shift
  processes=$(backend_processes)
  before_backend=$(spent $processes)
  before_card=$(spent $card)
  line=$("$@" 2>>$W/log/bench.err) || return
  cost=$(($(spent $processes) - before_backend))
  bytes=$(field bytes "$line")
  seconds=$(field seconds "$line")
  record "$name" "$(field gbps "$line")"
  [ "${bytes:-0}" != 0 ] || return
  record "$name-cpu" "$(calculate "$cost / 1e9 / ($bytes / 1073741824)")"
  record "$name-busy" "$(calculate "$cost / 1e7 / $seconds")"
  [ -n "$card" ] && record "$name-card" "$(calculate "($(spent $card) - $before_card) / 1e9 / ($bytes / 1073741824)")"
}
take() {  # take NAME FIELD COMMAND...
  local name=$1 wanted=$2 line value
  shift 2
  line=$("$@" 2>>$W/log/bench.err) || return
  value=$(field "$wanted" "$line")
  [ -n "$value" ] && record "$name" "$value"
}

measure_machine() {
  local program=$1 mtu=$2 backend card direction
  if begin_machine; then
    for direction in out in; do weigh $direction in_machine $TRAFFIC --timeout 5000 $direction $SERVER4 $PORT 1 $time; done
    take tcp-rr median_us in_machine $TRAFFIC --timeout 5000 tcp-rr $SERVER4 $PORT $time
    take udp-rr median_us in_machine $TRAFFIC --timeout 5000 udp-rr $SERVER4 $PORT $time
    take udp rate in_machine $TRAFFIC --timeout 5000 udp-in $SERVER4 $PORT $time 1400
  else
    note "$program did not start: $(cat $W/log/program.err $W/log/card.err 2>/dev/null)"
  fi
  end_machine
  case $program in *-vhost) measure_rings ;; esac
}

# The same back-end under ring_guest, which is the whole guest. Cordon has a process for each connection, so ring_guest
# looks at the processor time itself.
ring_guest() {
  timeout $((time / 1000 + 7)) "$RING_GUEST" $VM_SOCKET "$@" --mtu "$mtu" --backend $backend 2>>$W/log/bench.err
}
measure_rings() {
  local direction card='' line bytes
  begin_backend || { note "$program did not start: $(cat $W/log/program.err)"; return; }
  for direction in out in; do
    line=$(ring_guest $direction $SERVER4 $PORT $time) || continue
    bytes=$(field bytes "$line")
    [ -n "$bytes" ] || continue
    record ring-$direction "$(field gbps "$line")"
    [ "$bytes" != 0 ] || continue
    record ring-$direction-cpu "$(calculate "$(field cpu_ns "$line") / 1e9 / ($bytes / 1073741824)")"
    record ring-$direction-busy "$(calculate "$(field cpu_ns "$line") / 1e7 / $(field seconds "$line")")"
    record ring-$direction-guest "$(calculate "$(field guest_ns "$line") / 1e9 / ($bytes / 1073741824)")"
  done
  take ring-rr median_us ring_guest tcp-rr $SERVER4 $PORT $time
  end_machine
}
