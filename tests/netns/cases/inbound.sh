# Published ports: content, endings, many at once and datagrams from another machine and from the host itself; a
# guest without a service turns peers away at once.
. "$(dirname "$0")/../world.sh"
cat >>$W/policy.yaml <<END
ingress:
  - {name: peers, allow: [host, 10.99.0.0/24, "fd00:99::/64", 192.0.2.0/24, "2001:db8::/32"]}
END
LIMIT=280
background guest -t 7777,7999 -u 7777,7999 -- $TRAFFIC server $PORT
for address in 10.99.0.2 fd00:99::2; do
  expect "$BYTES bytes to $address" in_server $TRAFFIC send $address $PORT "$BYTES"
  expect "$BYTES bytes from $address" in_server $TRAFFIC receive $address $PORT "$BYTES"
  for command in half-close-client half-close-server reset-by-server reset-by-client; do
    expect "$command with $address" in_server $TRAFFIC $command $address $PORT
  done
  expect "64 connections at once to $address" in_server $TRAFFIC many $address $PORT 64
  expect "all sizes of datagrams, $address" in_server $TRAFFIC udp-sizes $address $PORT
  expect "no service behind $address port 7999, TCP" in_server $TRAFFIC turned-away tcp $address 7999
  expect "no service behind $address port 7999, UDP" in_server $TRAFFIC turned-away udp $address 7999
done
expect "2,000 connections one after the other" in_server $TRAFFIC crr 10.99.0.2 $PORT 1000 4
for address in 127.0.0.1 ::1 10.99.0.2 fd00:99::2; do
  expect "from the host itself by $address" in_host $TRAFFIC send $address $PORT 10000000
  expect "and back by $address" in_host $TRAFFIC receive $address $PORT 10000000
  expect "datagrams by $address" in_host $TRAFFIC udp-sizes $address $PORT
done
expect "a port that is not published is refused" in_server $TRAFFIC refused 10.99.0.2 7778
expect "nothing was denied" not grep -q '"event.action":"flow-denied"' "$AUDIT"
stop guest >/dev/null

background guest --threads 2 -t $PORT -u $PORT -- $TRAFFIC server $PORT
for address in 10.99.0.2 fd00:99::2; do
  expect "two workers: 64 connections at once to $address" in_server $TRAFFIC many $address $PORT 64
  expect "two workers: $address" in_server $TRAFFIC send $address $PORT 10000000
  expect "two workers: datagrams to $address" in_server $TRAFFIC udp-sizes $address $PORT
done
stop guest >/dev/null
finish
