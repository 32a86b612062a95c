# For the cases that start cordon as passt: a namespace `vm` whose kernel plays the machine, joined by tap_bridge, or by
# vhost_bridge. To be sourced after world.sh; the case sets BRIDGE before, while TRAFFIC is still where it was built.
GATEWAY4=10.99.0.1 GATEWAY6=fd00:99::1
PASST=$W/bin/passt
ln -s cordon $PASST
cp "$BRIDGE" "$(dirname "$BRIDGE")/vhost_bridge" $W/bin/ || die "no bridges"
BRIDGE=$W/bin/tap_bridge VHOST_BRIDGE=$W/bin/vhost_bridge
cp "$(dirname "$0")/../passt_client.py" $W/bin/ && chmod 755 $W/bin/passt_client.py
ip netns add vm
ip netns exec vm sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
  net.ipv4.ping_group_range="0 2147483647" 2>/dev/null || ip netns exec vm sysctl -qw net.ipv4.ping_group_range="0 0"
ip -n vm link set lo up
in_vm() { ip netns exec vm "$@"; }

# As a machine configures itself by what it was told: address and gateway of this host, or others.
configure_vm() {  # configure_vm [ADDRESS4/LENGTH GATEWAY4 ADDRESS6/LENGTH GATEWAY6]
  within 5 ip -n vm link show vm0 >/dev/null 2>&1 || die "the bridge has no tap"
  ip -n vm link set vm0 mtu 65520 up
  ip -n vm addr replace ${1:-10.99.0.2/24} dev vm0
  ip -n vm addr replace ${3:-fd00:99::2/64} dev vm0 nodad
  ip -n vm route replace default via ${2:-$GATEWAY4}
  ip -n vm route replace default via ${4:-$GATEWAY6}
}

# In the host's namespace; the launcher is nobody's where the world's root is the machine's.
passt() { timeout --foreground 20 ip netns exec host "$PASST" "$@"; }
# connect NAME SOCKET: a machine, as QEMU's -netdev stream with reconnect-ms.
connect() {
  : >$W/log/$1.out
  ip netns exec vm $BRIDGE --tap vm0 --mtu 65520 --reconnect-ms 100 --connect "$2" >$W/log/$1.out 2>$W/log/$1.err &
  pid_of[$1]=$!
  within 10 grep -q connected $W/log/$1.out || die "the machine does not connect: $(cat $W/log/$1.err)"
}
# connect_vhost NAME SOCKET [OPTIONS]: as -netdev vhost-user does.
connect_vhost() {
  : >$W/log/$1.out
  ip netns exec vm $VHOST_BRIDGE "${@:2}" vm0 >$W/log/$1.out 2>$W/log/$1.err &
  pid_of[$1]=$!
  within 10 grep -q ready $W/log/$1.out || die "the machine does not connect: $(cat $W/log/$1.err)"
}
disconnect() {  # disconnect NAME
  kill -TERM "${pid_of[$1]}" 2>/dev/null
  within 5 gone "${pid_of[$1]}"
}
# play NAME KIND LIMIT ARGUMENTS...: passt_client.py with them; waits until it is ready.
play() {
  local name=$1 kind=$2 limit=$3 card=$BRIDGE
  shift 3
  [ $kind != qemu-vhost ] || card=$VHOST_BRIDGE
  : >$W/log/$name.out
  ip netns exec host $W/bin/passt_client.py $kind $limit vm $card -- $PASST "$@" >$W/log/$name.out 2>$W/log/$name.err &
  pid_of[$name]=$!
  within 20 grep -qE "ready|FAILED" $W/log/$name.out
  grep -q ready $W/log/$name.out || die "$name: $(cat $W/log/$name.out $W/log/$name.err)"
}
played() { sed -n 's/^ready //p' $W/log/$1.out | tail -n1 | cut -d' ' -f${2:-1}; }  # played NAME [2]: pid of its passt, or machine
times_ready() { [ "$(grep -c ^ready $W/log/$1.out)" -ge $2 ]; }
# Also by the name passt.
cordon_processes() {
  local directory
  for directory in /proc/[0-9]*; do
    case "$(tr '\0' ' ' 2>/dev/null <"$directory/cmdline")" in
      *cordon\ --role=* | $PASST\ *) echo "${directory#/proc/}" ;;
    esac
  done
}
