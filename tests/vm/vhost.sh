# The life of a guest over vhost-user, with QUEUES queue pairs: each back-end and each kernel it sees has another MTU
# or comes without warning.
LINK=vhost

# negotiated NAME BIT...: the guest's driver uses these features.
negotiated() {
  local name=$1 bits
  shift
  bits=$(vm $name "cat /sys/bus/virtio/devices/virtio0/features")
  echo "$bits"
  for bit in "$@"; do [ "${bits:bit:1}" = 1 ] || { echo "not bit $bit"; return 1; }; done
}

several_queues() {
  local queue before
  expect "the driver has $QUEUES queue pairs" vm a "[ \$(ls -d /sys/class/net/eth0/queues/?x-* | wc -l) = $((2 * QUEUES)) ]"
  expect "MQ is negotiated" negotiated a 22
  for ((queue = 0; queue < QUEUES; ++queue)); do
    expect "by the queue of CPU $queue" vm a "taskset $((1 << queue)) traffic send $SERVER4 $PORT 20000000 && taskset $((1 << queue)) traffic receive $SERVER6 $PORT 20000000"
  done
  expect "each of the translator's $QUEUES threads has worked" each_lane_worked
  expect "by all of them at once" vm a "pids=; for cpu in 1 2 1 2; do taskset \$cpu traffic receive $SERVER4 $PORT 5000000 & pids=\"\$pids \$!\"; taskset \$cpu traffic send $SERVER6 $PORT 5000000 & pids=\"\$pids \$!\"; done; status=0; for pid in \$pids; do wait \$pid || status=1; done; [ \$status = 0 ]"
}
each_lane_worked() {
  local lane
  for lane in "/proc/$(role translator)/task/"*; do
    awk '{ print "ticks of a thread:", $14 + $15; exit $14 + $15 < 2 }' "$lane/stat" || return 1
  done
}

vhost_life() {
  world
  local options=(--queues "$QUEUES" -t "$PORT" -u "$PORT")
  network a --mtu 1500 "${options[@]}"
  boot a
  # CSUM, GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6, MRG_RXBUF, INDIRECT_DESC, EVENT_IDX, VERSION_1
  expect "offloads and mergeable buffers are negotiated" negotiated a 0 1 7 8 11 12 15 28 29 32
  configures a 1500
  reaches a $MIB "0 1 1000 1472 4000 30000"
  expect "at MTU 1500, super-frames to the guest" in_large_frames a from
  expect "and from it" in_large_frames a to
  [ $QUEUES = 1 ] || several_queues
  asks_for_names a
  serves a
  pauses a

  kill -KILL "$(role translator)"
  expect "the guest goes on with a new translator" within 60 works a
  expect "of the same launcher" kill -0 ${pid_of[net-a]}
  kill_network a
  expect "the back-end is killed, nothing of it is left" within 10 none_left
  network a --mtu 65520 "${options[@]}"
  expect "the guest goes on with a new one, without configuring anything" within 60 works a
  expect "and is reached" in_server $TRAFFIC send 10.99.0.2 $PORT 1000000

  restarts a 65520
  reaches a $MIB "0 1 1472 9000 60000"
  expect "at MTU 65520, large frames to the guest" in_large_frames a from
  expect "and from it" in_large_frames a to
  cheats a
  ends a
}
