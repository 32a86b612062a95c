# Hop limits, path MTU, DSCP and ECN through real routers:
#   guest --cordon-- host --veth-- server --veth-- middle --veth, MTU 1300-- far
. "$(dirname "$0")/../world.sh"
FAR4=192.0.2.77 FAR6=2001:db8::77

build_routers() {
  local ns
  for ns in middle far; do
    ip netns add $ns || die "ip netns add"
    ip netns exec $ns sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
    ip -n $ns link set lo up
  done
  in_middle() { ip netns exec middle "$@"; }
  in_middle sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  # No router holds its errors back.
  for ns in server middle far; do
    ip netns exec $ns sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0 2>/dev/null
  done
  ip link add to-middle netns server type veth peer name to-server netns middle || die "veth"
  ip link add to-far netns middle type veth peer name to-middle netns far || die "veth"
  ip -n server addr add 10.98.0.1/24 dev to-middle
  ip -n server addr add fd00:98::1/64 dev to-middle nodad
  ip -n middle addr add 10.98.0.2/24 dev to-server
  ip -n middle addr add fd00:98::2/64 dev to-server nodad
  ip -n middle addr add 10.97.0.1/24 dev to-far
  ip -n middle addr add fd00:97::1/64 dev to-far nodad
  ip -n far addr add 10.97.0.2/24 dev to-middle
  ip -n far addr add fd00:97::2/64 dev to-middle nodad
  ip -n middle link set to-far mtu 1300
  ip -n far link set to-middle mtu 1300
  ip -n server link set to-middle up
  ip -n middle link set to-server up
  ip -n middle link set to-far up
  ip -n far link set to-middle up
  ip -n far addr add $FAR4/32 dev lo
  ip -n far addr add $FAR6/128 dev lo nodad
  ip -n server route add $FAR4/32 via 10.98.0.2
  ip -n server route add $FAR6/128 via fd00:98::2
  ip -n middle route add $FAR4/32 via 10.97.0.2
  ip -n middle route add $FAR6/128 via fd00:97::2
  ip -n middle route add default via 10.98.0.1
  ip -n middle route add default via fd00:98::1
  ip -n far route add default via 10.97.0.1
  ip -n far route add default via fd00:97::1
}
# hops ADDRESS [traceroute options]: the addresses of the answers, in order, in one line
hops() {
  local address=$1
  shift
  guest -- traceroute -n -q 2 -w 2 -m 8 "$@" $address 2>$W/log/traceroute.err |
    sed -n 's/^ *[0-9]*  \([0-9a-f.:]*\) .*/\1/p' | tr '\n' ' '
}
are() { [ "$1" = "$2" ] || { say "hops: $1"; cat $W/log/traceroute.err; return 1; }; }
PATH4="10.0.2.2 10.99.0.1 10.98.0.2 $FAR4 "
PATH6="fd00:c0:2d::2 fd00:99::1 fd00:98::2 $FAR6 "
forget() { ip -n host route flush cache; ip -n host -6 route flush cache; }
# says PATTERN COMMAND...: its output does, whatever its status
says() {
  local pattern=$1
  shift
  { "$@" || true; } | grep -i -- "$pattern"
}
told() { says "$3" guest -- ping -n -c 3 -i 0.2 -W 1 -M "do" -s "$1" "$2"; }

build_routers
start server far $TRAFFIC server $PORT
for options in "" "-I" "-N 1" "-U" "-U -p $PORT -f 3"; do
  # shellcheck disable=SC2086  # options are words
  case "$options" in
    *-f*) expect "traceroute $options $FAR4" are "$(hops $FAR4 $options)" "10.98.0.2 $FAR4 " ;;
    *) expect "traceroute $options $FAR4" are "$(hops $FAR4 $options)" "$PATH4"
       expect "traceroute $options $FAR6" are "$(hops $FAR6 $options)" "$PATH6" ;;
  esac
done
expect "ping -t 3 hears from the third hop" \
  says "From 10.98.0.2 .*Time to live exceeded" guest -- ping -n -c 1 -W 2 -t 3 $FAR4
expect "ping -t 4 arrives" guest -- ping -n -c 1 -W 2 -t 4 $FAR4
expect "the reply's TTL is the far end's, less the hops" \
  says "ttl=61 " guest -- ping -n -c 1 -W 2 $FAR4

# The path is narrower behind the second router.
for round in "the router's word" "the host's memory"; do
  [ "$round" = "the host's memory" ] || forget
  expect "IPv4 path MTU, $round" told 1400 $FAR4 "mtu.*1300"
  expect "IPv6 path MTU, $round" told 1400 $FAR6 "mtu.*1300"
done
expect "1,272 bytes fit" guest -- ping -n -c 1 -W 2 -M "do" -s 1272 $FAR4
expect "1,252 bytes fit" guest -- ping -n -c 1 -W 2 -M "do" -s 1252 $FAR6
for address in $FAR4 $FAR6; do
  forget
  expect "datagrams to $address learn the path MTU" guest -- $TRAFFIC udp-path-mtu $address $PORT 1300
  expect "and again, when the host knows it" guest -- $TRAFFIC udp-path-mtu $address $PORT 1300
  expect "$address is reached by long datagrams" guest --mtu 1500 -- ping -n -c 5 -i 0.2 -W 2 -s 60000 $address
  expect "a stream to $address" guest -- $TRAFFIC send $address $PORT 1000000
  expect "a stream from $address" guest -- $TRAFFIC receive $address $PORT 1000000
  expect "DSCP and ECN to $address and back" guest -- $TRAFFIC udp-marks $address $PORT
done
# What has no single destination stays here.
expect "the subnet's broadcast address is not reached" not guest -- ping -n -b -c 1 -W 1 10.0.2.255
expect "an unknown protocol is unreachable" \
  says "10.0.2.2 .*!P" guest -- traceroute -n -q 1 -w 2 -m 3 -P 132 $FAR4
finish
