# The largest MTU over QEMU's stream socket: the card announces it, the guest's kernel takes it, and frames of
# that size go both ways.
. "$(dirname "$0")/../vm.sh"
start server server $TRAFFIC server $PORT
CARD=host_mtu=65520
network a --mtu 65520
boot a
expect "DHCP and SLAAC" vm a "ip link set eth0 up; lease4 && slaac"
expect "the guest's MTU" vm a "[ \$(cat /sys/class/net/eth0/mtu) = 65520 ]"
expect "and that of IPv6" vm a "[ \$(cat /proc/sys/net/ipv6/conf/eth0/mtu) = 65520 ]"
MIB=$((100 * 1024 * 1024))
for address in $SERVER4 $SERVER6; do
  expect "$MIB bytes to $address" vm a "traffic send $address $PORT $MIB"
  expect "$MIB bytes from $address" vm a "traffic receive $address $PORT $MIB"
  expect "datagrams of all sizes, $address" vm a "traffic udp-sizes $address $PORT 0 1 1472 9000 60000"
done
large() { vm a "cat /sys/class/net/eth0/statistics/rx_packets"; }
before=$(large)
expect "10 MB come" vm a "traffic receive $SERVER4 $PORT 10000000"
frames=$(($(large) - before))
expect "in large frames: $frames" test $frames -lt 2000
unplug a
close_network a
finish
