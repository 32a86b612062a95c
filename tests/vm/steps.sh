# What a guest goes through, whatever its link; the case has chosen LINK and QUEUES and has called `world` first.
MIB=$((100 * 1024 * 1024))

world() {
  start canary server $TRAFFIC canary 7778
  start server server $TRAFFIC server $PORT
  start names server $TRAFFIC dns-server 53 192.0.2.77 2001:db8::77
  printf '%s\n' 'ingress:' '  - {name: peers, allow: [10.99.0.0/24, "fd00:99::/64"]}' >>$W/policy.yaml
}

# configures NAME MTU
configures() {
  expect "DHCP" vm $1 "ip link set eth0 up; lease4"
  expect "the lease is what it should be" vm $1 "ip -4 addr show dev eth0 | grep -q 'inet 10.0.2.15/24' && ip route | grep -q 'default via 10.0.2.2'"
  expect "SLAAC" vm $1 slaac
  expect "DHCPv6" vm $1 lease6
  expect "its address is the leased one" vm $1 "ip -6 addr show dev eth0 | grep -q 'inet6 fd00:c0:2d::15/128'"
  expect "the MTU is $2" vm $1 "[ \$(cat /sys/class/net/eth0/mtu) = $2 ] && [ \$(cat /proc/sys/net/ipv6/conf/eth0/mtu) = $2 ]"
}

# reaches NAME BYTES UDP_SIZES
reaches() {
  local address
  for address in $SERVER4 $SERVER6; do
    expect "ping $address" vm $1 "ping -c 2 -i 0.2 -W 5 $address"
    expect "$2 bytes to $address" vm $1 "traffic send $address $PORT $2"
    expect "$2 bytes from $address" vm $1 "traffic receive $address $PORT $2"
    expect "datagrams of $3 bytes, $address" vm $1 "traffic udp-sizes $address $PORT $3"
    expect "half close by either side, $address" vm $1 "traffic half-close-client $address $PORT && traffic half-close-server $address $PORT"
  done
}

asks_for_names() {
  expect "names over UDP" vm $1 "traffic dns 10.0.2.3 53 udp a.example"
  expect "names over TCP and IPv6" vm $1 "traffic dns fd00:c0:2d::3 53 tcp a.example aaaa"
  expect "the libc's way" vm $1 "nslookup host.example | grep -q 192.0.2.77"
}

# serves NAME: by published ports, to others than the guest.
serves() {
  local address
  expect "a server in the guest" vm $1 "traffic server $PORT >/tmp/server 2>&1 & within 30 grep -q ready /tmp/server"
  for address in 10.99.0.2 fd00:99::2; do
    expect "from outside to the guest by $address" in_server $TRAFFIC send $address $PORT 10000000
    expect "and back by $address" in_server $TRAFFIC receive $address $PORT 10000000
    expect "datagrams by $address" in_server $TRAFFIC udp-sizes $address $PORT 0 1 1472 9000
  done
}

# works NAME: in a few moments, so that it can be asked again and again.
works() { vm $1 "traffic --timeout 3000 send $SERVER4 $PORT 1000000 && traffic --timeout 3000 send $SERVER6 $PORT 1000000"; }

# in_large_frames NAME DIRECTION: 10 MB go through the card in frames of more than 10 kB.
in_large_frames() {
  local counter=rx_packets command=receive count
  [ $2 = to ] && counter=tx_packets command=send
  count="cat /sys/class/net/eth0/statistics/$counter"
  vm $1 "before=\$($count); traffic $command $SERVER4 $PORT 10000000 >/dev/null && echo \$((\$($count) - before)) frames && [ \$((\$($count) - before)) -lt 1000 ]"
}

# restarts NAME MTU: the guest's kernel, and nothing else.
restarts() {
  local before
  before=$(role translator)
  reboot_vm $1
  configures $1 $2
  expect "the back-end is the one of before" test "$before" = "$(role translator)"
}

# pauses NAME: a stopped guest costs nothing, and loses nothing that was on its way.
ticks() { awk '{ print $14 + $15 }' "/proc/$(role translator)/stat"; }
busier() { [ "$(ticks)" -gt $(($1 + 5)) ]; }
quiet() {
  local before
  before=$(ticks)
  sleep 0.5
  [ "$(ticks)" = "$before" ]
}
pauses() {
  local before spent
  before=$(ticks)
  ask $1 "traffic receive $SERVER4 $PORT 50000000"
  within 30 busier "$before"
  kill -STOP ${pid_of[vm-$1]}
  expect "a stopped guest comes to rest" within 10 quiet
  before=$(ticks)
  sleep 2
  spent=$(($(ticks) - before))
  expect "and costs nothing: $spent ticks in 2 s" test $spent -le 2
  kill -CONT ${pid_of[vm-$1]}
  expect "and loses nothing" answer $1
}

# cheats NAME: with an IP or a MAC address that is not its own it is not heard, and the audit log says so; with its own
# again it works.
spoofed() { within 10 recorded '"event.reason":"source-spoof"' "$1"; }
cheats() {
  local mac="ip link set eth0 down; ip link set eth0 address" counts
  expect "no spoof so far" not grep -q source-spoof "$AUDIT"
  # Its neighbour is known, so that the packets themselves leave.
  vm $1 "ip addr add 10.9.9.9/32 dev eth0; ip -6 addr add fd00:bad::9/128 dev eth0" >/dev/null
  expect "from foreign addresses" vm $1 "traffic --bind 10.9.9.9 --timeout 1500 denied $SERVER4 7778 & traffic --bind fd00:bad::9 --timeout 1500 denied $SERVER6 7778 && wait \$!"
  expect "record for 10.9.9.9" spoofed '"source.ip":"10.9.9.9"'
  expect "record for fd00:bad::9" spoofed '"source.ip":"fd00:bad::9"'
  expect "its own address still works" vm $1 "traffic --bind 10.0.2.15 first $SERVER4 $PORT"

  vm $1 "sed -n 's/^10.0.2.2 .*\\(..:..:..:..:..:..\\).*/\\1/p' /proc/net/arp >/tmp/gateway" >/dev/null
  expect "another MAC address" vm $1 "$mac 02:66:66:66:66:66; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0 2>/dev/null; ip route replace default via 10.0.2.2; arp -s 10.0.2.2 \$(cat /tmp/gateway); traffic --timeout 1500 denied $SERVER4 7778"
  expect "record for the MAC address" spoofed 02-66-66-66-66-66
  expect "its own again" vm $1 "$mac ${mac_of[$1]}; ip addr flush dev eth0; ip link set eth0 up; lease4 && slaac && traffic first $SERVER4 $PORT"
  counts=$(stop canary)
  expect "nothing arrived: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
}

ends() {
  local status
  unplug $1
  kill -TERM ${pid_of[net-$1]}
  wait ${pid_of[net-$1]}
  status=$?
  expect "cordon ends on SIGTERM, with status $status" test $status = 0 -o $status = 143
}
