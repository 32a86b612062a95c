# A flow that was allowed is cut when its destination becomes an address of the host.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
for pair in "$SERVER4 32" "$SERVER6 128"; do
  read -r address length <<<"$pair"
  background cut -- $TRAFFIC cut $address $PORT 5
  ip -n host addr add $address/$length dev lo
  expect "the connection to $address is cut" wait ${pid_of[cut]}
  say "  $(tail -n1 $W/log/cut.out)$(cat $W/log/cut.err)"
  expect "record for $address" within 3 recorded '"event.action":"flow-revoked"' "\"destination.ip\":\"$address\""
  ip -n host addr del $address/$length dev lo
  expect "and after it has gone, a new one works" \
    within 40 guest -- $TRAFFIC --timeout 1000 first $address $PORT
done
finish
