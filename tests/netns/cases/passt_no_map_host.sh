# passt --no-map-host: a machine on this host reaches everything passt allows but the host's own addresses, whichever
# they are, whatever listens there, now or later.
BRIDGE=${BRIDGE:-$(dirname "$TRAFFIC")/tap_bridge}
. "$(dirname "$0")/../world.sh"
. "$(dirname "$0")/../passt.sh"
start server server $TRAFFIC server $PORT
start canary host $TRAFFIC canary $PORT  # on the wildcard address
S=$W/log/passt.socket

# What it is about: without the option the host's services answer, by any of its addresses.
stop canary >/dev/null
start service host $TRAFFIC server $PORT
expect "passt starts" passt --quiet -s $S -P $W/log/pid --audit-log $AUDIT
connect vm $S
configure_vm
expect "the server is reached" in_vm $TRAFFIC first $SERVER4 $PORT
expect "the server is reached by IPv6" in_vm $TRAFFIC first $SERVER6 $PORT
for address in "${HOST4[@]:1}" "${HOST6[@]:1}"; do
  expect "as passt, $address of the host is reached" in_vm $TRAFFIC first $address $PORT
done
expect "the gateway leads to loopback" in_vm $TRAFFIC first $GATEWAY4 $PORT
expect "the gateway leads to loopback by IPv6" in_vm $TRAFFIC first $GATEWAY6 $PORT
disconnect vm
kill -QUIT "$(cat $W/log/pid)"
expect "SIGQUIT ends it" within 5 none_left
stop service >/dev/null
start canary host $TRAFFIC canary $PORT

refused() {  # refused ADDRESS [PORT]
  in_vm $TRAFFIC --timeout 3000 denied $1 ${2:-$PORT}
}
# Another guest, with a port that is published on the wildcard address.
expect "another guest" passt --quiet -s $W/log/other.socket -P $W/log/other.pid -a 10.66.0.2 -n 24 -g 10.66.0.1 -t 9001:$PORT
expect "its port is open to others" in_host grep -q ":2329 0*:0000 0A" /proc/net/tcp /proc/net/tcp6

# audited_both REASON ADDRESS: a record of the connection, and one of the datagrams.
audited_both() {
  local transport
  for transport in tcp udp; do within 3 has_record "$1" "$2" $transport || { say "no record: $*, $transport"; return 1; }; done
}
has_record() { grep -F "\"event.reason\":\"$1\"" "$AUDIT" | grep -F "\"destination.ip\":\"$2\"" | grep -qF "\"network.transport\":\"$3\""; }

# By itself: the machine has the host's own address, and the gateway's leads to loopback.
AUDIT=$W/log/audit-alone.jsonl
expect "passt --no-map-host starts" passt --quiet -s $S -P $W/log/pid --no-map-host --audit-log $AUDIT
connect vm $S
configure_vm
expect "the server is reached" in_vm $TRAFFIC first $SERVER4 $PORT
expect "the server is reached by IPv6" in_vm $TRAFFIC first $SERVER6 $PORT
for address in "${HOST4[@]:1}" "${HOST6[@]:1}" $GATEWAY4 $GATEWAY6; do
  expect "$address is refused" refused $address
  expect "records for $address" audited_both host-address $address
done
disconnect vm
kill "$(cat $W/log/pid)"

# With an address of its own, so that all of the host's are somebody else's; by both kinds of link.
for link in stream vhost; do
  S=$W/log/$link.socket AUDIT=$W/log/audit-$link.jsonl
  say "--- $link"
  options=(); [ $link = stream ] || options=(--vhost-user)
  expect "passt --no-map-host starts" passt --quiet "${options[@]}" -s $S -P $W/log/pid -a 10.77.0.2/24 -g 10.77.0.1 \
    -a fd77::2 -g fd77::1 --no-map-host --audit-log $AUDIT
  [ $link = stream ] && connect vm $S || connect_vhost vm $S
  configure_vm 10.77.0.2/24 10.77.0.1 fd77::2/64 fd77::1
  expect "the server is reached" in_vm $TRAFFIC first $SERVER4 $PORT
  expect "the server is reached by IPv6" in_vm $TRAFFIC first $SERVER6 $PORT
  expect "the server is reached by UDP" in_vm $TRAFFIC udp-sizes $SERVER4 $PORT 100
  expect "the next router is reached, beyond the host" in_vm $TRAFFIC first 10.99.0.1 $PORT
  expect "echo requests to the server are answered" in_vm ping -c 1 -W 3 $SERVER4
  for address in "${HOST4[@]}" "${HOST6[@]}"; do
    expect "$address is refused" refused $address
    expect "records for $address" audited_both host-address $address
    expect "echo requests to $address are refused" not in_vm ping -c 1 -W 1 $address
  done
  for address in "${HOST4[@]}"; do
    expect "::ffff:$address is refused" refused ::ffff:$address
    expect "64:ff9b::$address is refused" refused 64:ff9b::$address
    expect "2002:... of $address is refused" refused $(printf '2002:%02x%02x:%02x%02x::1' ${address//./ })
  done
  expect "loopback by the gateway is refused" refused 10.77.0.1
  expect "records for the gateway" audited_both host-address 10.77.0.1
  expect "loopback by the IPv6 gateway is refused" refused fd77::1
  expect "records for the IPv6 gateway" audited_both host-address fd77::1
  expect "another guest's port by the host's address is refused" refused 10.99.0.2 9001
  expect "by another one" refused 192.0.2.132 9001
  expect "by an IPv6 one" refused 2001:db8::131 9001

  # One that appears while the machine runs, and one that stops being somebody else's.
  expect "nobody has 192.0.2.134 yet" refused 192.0.2.134
  ip -n host addr add 192.0.2.134/32 dev br0
  ip -n host addr add 2001:db8::134/128 dev br0 nodad
  expect "192.0.2.134, new, is refused" refused 192.0.2.134
  expect "records for 192.0.2.134" audited_both host-address 192.0.2.134
  expect "2001:db8::134, new, is refused" refused 2001:db8::134
  expect "records for 2001:db8::134" audited_both host-address 2001:db8::134
  ip -n host addr add $SERVER4/32 dev br0
  expect "the server's address, now the host's, is refused" refused $SERVER4
  expect "records for it" audited_both host-address $SERVER4
  ip -n host addr del $SERVER4/32 dev br0
  expect "and reached again, when it is not" within 5 in_vm $TRAFFIC first $SERVER4 $PORT
  ip -n host addr del 192.0.2.134/32 dev br0
  ip -n host addr del 2001:db8::134/128 dev br0
  disconnect vm
  kill "$(cat $W/log/pid)"
done
kill "$(cat $W/log/other.pid)"
counts=$(stop canary)
expect "the canary saw nothing: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
finish
