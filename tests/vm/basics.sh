# basics [cordon options]: a guest with MTU 1500 configures itself by DHCP, SLAAC and DHCPv6, and all that an ordinary
# machine does works; after a restart of its kernel, too. The case has chosen the link.
basics() {
  start server server $TRAFFIC server $PORT
  start names server $TRAFFIC dns-server 53 192.0.2.77 2001:db8::77
  local MIB=$((100 * 1024 * 1024))
  printf '%s\n' 'ingress:' '  - {name: peers, allow: [10.99.0.0/24, "fd00:99::/64"]}' >>$W/policy.yaml
  network a --mtu 1500 -t $PORT -u $PORT "$@"
  boot a

  expect "DHCP" vm a "ip link set eth0 up; lease4"
  expect "the lease is what it should be" vm a "ip -4 addr show dev eth0 | grep -q 'inet 10.0.2.15/24' && ip route | grep -q 'default via 10.0.2.2'"
  expect "SLAAC" vm a slaac
  expect "DHCPv6" vm a lease6
  expect "its address is the leased one" vm a "ip -6 addr show dev eth0 | grep -q 'inet6 fd00:c0:2d::15/128'"
  for address in $SERVER4 $SERVER6; do
    expect "ping $address" vm a "ping -c 2 -W 5 $address"
    expect "$MIB bytes to $address" vm a "traffic send $address $PORT $MIB"
    expect "$MIB bytes from $address" vm a "traffic receive $address $PORT $MIB"
    expect "datagrams of all sizes, $address" vm a "traffic udp-sizes $address $PORT 0 1 1000 1472 4000 30000"
    expect "half close by the guest, $address" vm a "traffic half-close-client $address $PORT"
    expect "half close by $address" vm a "traffic half-close-server $address $PORT"
  done
  expect "names over UDP" vm a "traffic dns 10.0.2.3 53 udp a.example"
  expect "names over TCP and IPv6" vm a "traffic dns fd00:c0:2d::3 53 tcp a.example aaaa"
  expect "the libc's way" vm a "nslookup host.example | grep -q 192.0.2.77"

  expect "a server in the guest" vm a "traffic server $PORT >/tmp/server 2>&1 & within 10 grep -q ready /tmp/server"
  for address in 10.99.0.2 fd00:99::2; do
    expect "from outside to the guest by $address" in_server $TRAFFIC send $address $PORT 20000000
    expect "and back by $address" in_server $TRAFFIC receive $address $PORT 20000000
    expect "datagrams by $address" in_server $TRAFFIC udp-sizes $address $PORT 0 1 1472 9000
  done

  local address before
  before=$(role translator)
  reboot_vm a
  expect "after a restart of the guest: DHCP and SLAAC" vm a "ip link set eth0 up; lease4 && slaac"
  for address in $SERVER4 $SERVER6; do
    expect "after a restart of the guest: $address" vm a "traffic send $address $PORT 10000000"
  done
  expect "the back-end is the same one" test "$before" = "$(role translator)"
  unplug a
  expect "nothing of this was a spoof" not grep -q source-spoof "$AUDIT"
  kill -TERM ${pid_of[net-a]}
  wait ${pid_of[net-a]}
  local status=$?
  expect "cordon ends on SIGTERM, with status $status" test $status = 0 -o $status = 143
}
