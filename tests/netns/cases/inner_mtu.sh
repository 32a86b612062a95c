# The guest routes for a network of its own with a narrower link: what is too long for that arrives all the same.
#   [inner, MTU 1300] --veth-- guest (masquerades) --cordon, MTU 1500-- host --veth-- server
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
cat >$W/inner.sh <<'END'
set -e
unshare --net sleep 60 &
pid=$!
until [ "$(readlink /proc/$pid/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
inner() { nsenter --net=/proc/$pid/ns/net "$@"; }
ip link add out0 type veth peer name in0 netns $pid
ip addr add 10.77.0.1/24 dev out0
ip -6 addr add fd77::1/64 dev out0 nodad
ip link set out0 up mtu 1300
inner ip addr add 10.77.0.2/24 dev in0
inner ip -6 addr add fd77::2/64 dev in0 nodad
inner ip link set in0 up mtu 1300
# The far end is told nothing of the narrow link.
inner ip route add default via 10.77.0.1 advmss 1460
inner ip -6 route add default via fd77::1 advmss 1440
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
nft -f - <<NFT
table inet inner {
  chain out { type nat hook postrouting priority srcnat; oifname != "out0" masquerade; }
}
NFT
status=0
inner "$@" || status=$?
kill $pid
exit $status
END
expect "a guest by itself" guest --mtu 1500 -- true
if ! command -v nft >/dev/null; then
  say "note: nft is not installed, nothing to see"
  finish
fi
expect "a network inside of the guest" guest --mtu 1500 -- bash $W/inner.sh true
for address in $SERVER4 $SERVER6; do
  expect "a stream from $address" guest --mtu 1500 -- bash $W/inner.sh $TRAFFIC receive $address $PORT 3000000
  expect "a stream to $address" guest --mtu 1500 -- bash $W/inner.sh $TRAFFIC send $address $PORT 3000000
  expect "datagrams of 1,400 bytes from $address" guest --mtu 1500 -- bash $W/inner.sh $TRAFFIC udp-sizes $address $PORT 1400 1400 1252
done
finish
