# cordon vm by QEMU's stream protocol: addresses, traffic of every kind both ways, at a small and a large MTU.
. "$(dirname "$0")/../vm_world.sh"
start server server $TRAFFIC server $PORT
start canary host $TRAFFIC canary $PORT
start names server $TRAFFIC dns-server 53 192.0.2.77 2001:db8::77
SOME=$((BYTES / 16))

whole_network() {
  local address
  expect "a lease by DHCP" lease
  expect "an address by SLAAC" slaac
  in_box ip -6 addr replace fd00:c0:2d::15/128 dev vm0 nodad
  for address in $SERVER4 $SERVER6; do
    expect "to $address" in_box $TRAFFIC send $address $PORT $SOME
    expect "from $address" in_box $TRAFFIC receive $address $PORT $SOME
    expect "datagrams with $address" in_box $TRAFFIC udp-sizes $address $PORT
    expect "ping $address" in_box ping -n -q -c 3 -i 0.2 -W 2 $address
    expect "both closes, $address" in_box $TRAFFIC half-close-client $address $PORT
    expect "many connections, $address" in_box $TRAFFIC many $address $PORT 200
  done
  expect "a name" in_box $TRAFFIC dns 10.0.2.3 53 udp a.example
  expect "a name over IPv6" in_box $TRAFFIC dns fd00:c0:2d::3 53 tcp a.example
  for address in "${HOST4[@]}" "${HOST6[@]}"; do
    expect "$address is denied" in_box $TRAFFIC --timeout 2000 denied $address $PORT
  done
  start service box $TRAFFIC server 7788
  for address in 10.99.0.2 fd00:99::2; do
    expect "a published port, $address" in_server $TRAFFIC send $address 7788 $SOME
    expect "and back" in_server $TRAFFIC receive $address 7788 $SOME
    expect "and its datagrams" in_server $TRAFFIC udp-sizes $address 7788
  done
  stop service
}

for mtu in 1500 65520; do
  say "--- MTU $mtu"
  vm one --socket $SOCKET --mtu $mtu -t 7788 -u 7788 --control $W/ctl
  bridge qemu --connect $SOCKET --mtu $mtu
  whole_network
  end one
  expect "the monitor sees the end" ends qemu 0
  expect "no process is left" within 3 none_left
done
expect "nothing of this was a spoof" not grep -q source-spoof "$AUDIT"
finish
