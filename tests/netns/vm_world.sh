# The world of the cases about virtual machines; they source it instead of world.sh.
#
#   [netns box: tap vm0]--tap_bridge--UNIX socket--cordon vm--[netns host]--veth--[netns server]
#
# The kernel of `box` plays the guest, and tap_bridge its monitor, with QEMU's stream protocol.
export BRIDGE="${BRIDGE:-$(dirname "$TRAFFIC")/tap_bridge}"
. "$(dirname "${BASH_SOURCE[0]}")/world.sh"
[ "$CORDON_CALLER" = 0 ] || { say "skipped: needs root inside the guest"; exit 77; }
cp "$BRIDGE" $W/bin/tap_bridge && chmod 755 $W/bin/tap_bridge || die "cannot copy the bridge"
BRIDGE=$W/bin/tap_bridge
SOCKET=$W/vm.sock
cat >>$W/policy.yaml <<END
ingress:
  - {name: peers, allow: [10.99.0.0/24, "fd00:99::/64"]}
END
cat >$W/lease <<END
#!/bin/sh
case "\$1" in
  bound | renew)
    ip addr replace \$ip/\$mask dev \$interface
    ip route replace default via \$router dev \$interface ;;
  deconfig) ip -4 addr flush dev \$interface ;;
esac
END
chmod 755 $W/lease
ip netns add box || die "ip netns add box"
ip netns exec box sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
  net.ipv4.ping_group_range="0 2147483647"
ip -n box link set lo up
in_box() { ip netns exec box "$@"; }

# vm NAME OPTIONS...: cordon vm in the background, until it says that it is ready.
vm() {
  local name=$1
  shift
  : >$W/log/$name.ready
  env --default-signal=INT,QUIT nsenter --net=/run/netns/host "$CORDON" vm ${CHAT:---quiet} --policy $W/policy.yaml \
    --audit-log "$AUDIT" --ready-fd 7 "$@" 7>$W/log/$name.ready </dev/null >$W/log/$name.out 2>$W/log/$name.err &
  pid_of[$name]=$!
  within 20 test -s $W/log/$name.ready || die "$name did not get ready: $(cat $W/log/$name.err)"
}
# bridge NAME OPTIONS...: the guest's monitor in the background, until it is connected.
bridge() {
  local name=$1
  shift
  : >$W/log/$name.out
  nsenter --net=/run/netns/box $BRIDGE "$@" </dev/null >$W/log/$name.out 2>$W/log/$name.err &
  pid_of[$name]=$!
  within 10 grep -q connected $W/log/$name.out || die "$name is not connected: $(cat $W/log/$name.err)"
}
end() {  # end NAME [SIGNAL]
  kill -${2:-TERM} "${pid_of[$1]}" 2>/dev/null
  wait "${pid_of[$1]}" 2>/dev/null
}
ends() {  # ends NAME STATUS: it does by itself
  within 5 gone "${pid_of[$1]}" || return 1
  wait "${pid_of[$1]}"
  local status=$?
  say "status $status"
  [ $status = "$2" ]
}
lease() { in_box udhcpc -i vm0 -f -n -q -t 10 -T 1 -s $W/lease; }
has_global() { in_box ip -6 -o addr show dev vm0 scope global | grep -v tentative | grep -q fd00:c0:2d:; }
has_router() { in_box ip -6 route show default | grep -q fe80; }
slaac() { within 10 has_global && within 10 has_router; }
# Addresses by the book, for cases that are not about them.
configure() {
  in_box ip addr replace 10.0.2.15/24 dev vm0
  in_box ip route replace default via 10.0.2.2 dev vm0
  in_box ip -6 addr replace fd00:c0:2d::15/64 dev vm0 nodad
  in_box ip -6 route replace default via fd00:c0:2d::2 dev vm0
}
works() { in_box $TRAFFIC --timeout 10000 udp-sizes $SERVER4 $PORT 100 && in_box $TRAFFIC --timeout 10000 first $SERVER6 $PORT; }
connected() { [ "$(nsenter --net=/run/netns/host $CORDON ctl --socket $W/ctl status | sed -n 's/^machine *//p')" = "$1" ]; }
