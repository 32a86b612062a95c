# An address that comes and goes on the host about every millisecond while the guest connects to it. No TCP payload
# byte may reach the host's service; datagrams that do must not be more than the audited exposure.
. "$(dirname "$0")/../world.sh"
RACE_MS=${CORDON_TEST_RACE_MS:-8000}
start canary host $TRAFFIC canary $PORT
flip() {  # flip DEVICE: one `ip -batch` process, so that the rate is not that of starting programs
  while ! [ -e $W/enough ]; do
    printf 'addr add 192.0.2.140/32 dev %s\naddr add 2001:db8::140/128 dev %s nodad\n' "$1" "$1"
    # Half of the time it is gone again at once.
    [ $((RANDOM % 2)) = 0 ] || sleep 0.001
    printf 'addr del 192.0.2.140/32 dev %s\naddr del 2001:db8::140/128 dev %s\n' "$1" "$1"
    sleep 0.001
  done | ip -n host -batch - 2>/dev/null
}
for device in lo br0 up0; do
  rm -f $W/enough
  flip $device & flipper=$!
  LIMIT=60
  expect "guest blasts while the address flips on $device" \
    guest -- sh -c "for i in 1 2 3 4; do $TRAFFIC blast $PORT $RACE_MS both 192.0.2.140 2001:db8::140 & done; wait"
  touch $W/enough
  wait $flipper
  ip -n host addr del 192.0.2.140/32 dev $device 2>/dev/null
  ip -n host addr del 2001:db8::140/128 dev $device 2>/dev/null
done
counts=$(stop canary)
say "canary: $counts"
# event.count of these records: datagrams that may have met the address in the instant of its change.
exposed=$(grep '"event.action":"host-exposure"' "$AUDIT" | grep -o '"event.count":[0-9]*' |
  awk -F: '{sum += $2} END {print sum + 0}')
expect "TCP payload bytes at the host's service: 0" test "$(number bytes <<<"$counts")" = 0
expect "datagrams there: no more than the audited exposure ($exposed)" \
  test "$(number datagrams <<<"$counts")" -le "$exposed"
expect "refusals were recorded" grep -q '"event.reason":"host-' "$AUDIT"
finish
