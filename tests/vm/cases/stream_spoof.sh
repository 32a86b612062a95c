# A guest that takes another MAC or IP address than its own is not heard, and the audit log says so; with its own
# again it works.
. "$(dirname "$0")/../vm.sh"
start canary server $TRAFFIC canary 7778
start server server $TRAFFIC server $PORT
network a
boot a
configure="ip link set eth0 up; lease4 && slaac"
expect "a well-behaved guest" vm a "$configure && traffic first $SERVER4 $PORT && traffic first $SERVER6 $PORT"
expect "no spoof so far" not grep -q source-spoof "$AUDIT"

# Its neighbour is known, so that the packets themselves leave.
vm a "ip addr add 10.9.9.9/32 dev eth0; ip -6 addr add fd00:bad::9/128 dev eth0" >/dev/null
expect "from a foreign IPv4 address" vm a "traffic --bind 10.9.9.9 --timeout 1500 denied $SERVER4 7778"
expect "from a foreign IPv6 address" vm a "traffic --bind fd00:bad::9 --timeout 1500 denied $SERVER6 7778"
spoofed() { within 3 recorded '"event.reason":"source-spoof"' "$1"; }
expect "record for 10.9.9.9" spoofed '"source.ip":"10.9.9.9"'
expect "record for fd00:bad::9" spoofed '"source.ip":"fd00:bad::9"'
expect "its own address still works" vm a "traffic --bind 10.0.2.15 first $SERVER4 $PORT"

mac="ip link set eth0 down; ip link set eth0 address"
vm a "cat /proc/net/arp | sed -n 's/^10.0.2.2 .*\\(..:..:..:..:..:..\\).*/\\1/p' >/tmp/gateway" >/dev/null
expect "another MAC address" vm a "$mac 02:66:66:66:66:66; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0 2>/dev/null; ip route replace default via 10.0.2.2; arp -s 10.0.2.2 \$(cat /tmp/gateway); traffic --timeout 1500 denied $SERVER4 7778"
expect "record for the MAC address" spoofed 02-66-66-66-66-66
expect "its own again" vm a "$mac ${mac_of[a]}; ip addr flush dev eth0; $configure && traffic first $SERVER4 $PORT"
counts=$(stop canary)
expect "nothing arrived: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
unplug a
close_network a
finish
