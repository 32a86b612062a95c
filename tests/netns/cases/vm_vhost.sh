# A virtual machine over vhost-user: the kernel of the namespace "guest" behind the rings of a front end
# (tools/vhost_bridge.cc), so that real TCP with all offloads runs through them.
BRIDGE=$(dirname "$TRAFFIC")/vhost_bridge
. "$(dirname "$0")/../world.sh"
SOCKET=$W/vm.sock
MEGABYTES=${VM_MEGABYTES:-64}
LIMIT=120

# machine NAME MTU [cordon options]: cordon vm on the host. bridge NAME MTU [bridge options]: the machine.
machine() {
  local name=$1 mtu=$2
  shift 2
  ip netns exec host "$CORDON" vm --vhost-user --quiet --policy $W/policy.yaml --audit-log "$AUDIT" \
    --socket $SOCKET --mtu "$mtu" "$@" </dev/null >$W/log/$name.out 2>$W/log/$name.err &
  pid_of[$name]=$!
  within 10 test -S $SOCKET || die "cordon vm: $(cat $W/log/$name.err)"
}
bridge() {
  local name=$1 mtu=$2
  shift 2
  ip netns exec guest ip link delete vm0 2>/dev/null
  : >$W/log/$name.out
  ip netns exec guest "$BRIDGE" $SOCKET vm0 --reconnect "$@" </dev/null >$W/log/$name.out 2>$W/log/$name.err &
  pid_of[$name]=$!
  within 20 grep -q ready $W/log/$name.out || die "vhost_bridge: $(cat $W/log/$name.err $W/log/vm.err)"
  ip -n guest link set vm0 mtu "$mtu" up
  ip -n guest addr add 10.0.2.15/24 dev vm0
  ip -n guest addr add fd00:c0:2d::15/64 dev vm0 nodad
  ip -n guest route replace default via 10.0.2.2
  ip -n guest route replace default via fd00:c0:2d::2
}
end() {
  kill -TERM "${pid_of[$1]}" 2>/dev/null
  within 10 gone "${pid_of[$1]}" || die "$1 does not end"
}
in_guest() { timeout --foreground $LIMIT ip netns exec guest "$@"; }
ready_again() { [ "$(grep -c ready $W/log/bridge.out)" -ge "$1" ]; }
traffic_flows() {
  local what=$1 address bytes=$((${2:-$MEGABYTES} << 20))
  for address in $SERVER4 $SERVER6; do
    expect "$what: $bytes bytes to $address" in_guest $TRAFFIC send $address $PORT $bytes
    expect "$what: $bytes bytes from $address" in_guest $TRAFFIC receive $address $PORT $bytes
  done
}

ip netns add guest || die "ip netns add guest"
ip -n guest link set lo up
ip netns exec guest sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
  net.ipv6.conf.default.accept_ra=0 net.ipv4.ping_group_range="0 0"
start server server $TRAFFIC server $PORT

for setup in "1500 1" "65520 1" "1500 2" "65520 2"; do
  set -- $setup
  machine vm $1 --threads $2
  bridge bridge $1 --queues $2
  traffic_flows "MTU $1, $2 queue pairs"
  expect "ping" in_guest ping -c 3 -i 0.2 -W 5 $SERVER4
  expect "ping over IPv6" in_guest ping -c 3 -i 0.2 -W 5 $SERVER6
  end bridge
  end vm
done

machine vm 1500
bridge bridge 1500
for address in $SERVER4 $SERVER6; do
  expect "datagrams of all sizes, $address" in_guest $TRAFFIC udp-sizes $address $PORT
  expect "$address port 9 is unreachable" in_guest $TRAFFIC udp-refused $address 9
done
sleep 2  # whatever was due is done
ticks() { awk '{ print $14 + $15 }' "/proc/$(role translator)/stat"; }
before=$(ticks)
sleep 5
expect "an idle guest costs no time of the processor" test $(($(ticks) - before)) -le 1
end bridge
end vm

for without in mrg event-idx indirect uso tso csum mrg,event-idx,indirect,csum; do
  machine vm 1500
  bridge bridge 1500 --without $without
  traffic_flows "without $without" 16
  end bridge
  end vm
done

machine vm 65520 --threads 2
bridge bridge 65520 --queues 2
traffic_flows "two queue pairs" 8
kill -USR1 ${pid_of[bridge]}
expect "the guest's driver starts again" within 10 ready_again 2
traffic_flows "after a reboot" 8
kill -HUP ${pid_of[bridge]}
expect "the front end comes back" within 10 ready_again 3
traffic_flows "after a reconnect" 8
kill -QUIT ${pid_of[bridge]}
expect "a driver gone mad loses its connection, the next one is served" within 10 ready_again 4
expect "it is said" grep -q "queue pair 1: descriptor loop" $W/log/vm.err
expect "it is audited" within 3 grep -q "the guest broke the rules of its link" "$AUDIT"
traffic_flows "after that" 8
kill -USR2 ${pid_of[bridge]}
traffic_flows "in a storm of kicks" 8
end bridge
end vm
finish
