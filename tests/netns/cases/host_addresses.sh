# No address of the host is reached, whatever made it one, although the policy opens the prefixes around it.
. "$(dirname "$0")/../world.sh"
start canary host $TRAFFIC canary $PORT
start server server $TRAFFIC server $PORT
cat >$W/tries <<END
#!/bin/bash
status=0
for address in ${HOST4[*]} ${HOST6[*]}; do
  $TRAFFIC --timeout 3000 denied \$address $PORT || status=1
done
for address in ${HOST4[*]}; do
  $TRAFFIC --timeout 3000 denied ::ffff:\$address $PORT || status=1
  $TRAFFIC --timeout 3000 denied 64:ff9b::\$address $PORT || status=1
done
$TRAFFIC first $SERVER4 $PORT >/dev/null || status=1
$TRAFFIC first $SERVER6 $PORT >/dev/null || status=1
exit \$status
END
chmod 755 $W/tries
expect "a guest tries every address" guest -- $W/tries
for address in "${HOST4[@]}" "${HOST6[@]}"; do
  expect "record for $address" audited host-address $address
done

# One that appears while the guest runs.
cat >$W/waits <<END
#!/bin/bash
$TRAFFIC --timeout 500 denied 192.0.2.134 $PORT
echo ready
while ! [ -e $W/log/appeared ]; do sleep 0.02; done
$TRAFFIC --timeout 3000 denied 192.0.2.134 $PORT && $TRAFFIC --timeout 3000 denied 2001:db8::134 $PORT
END
chmod 755 $W/waits
background waits -- $W/waits
ip -n host addr add 192.0.2.134/32 dev br0
ip -n host addr add 2001:db8::134/128 dev br0 nodad
touch $W/log/appeared
expect "an address that appears later" wait ${pid_of[waits]}
expect "record for 192.0.2.134" audited host-address 192.0.2.134
expect "record for 2001:db8::134" audited host-address 2001:db8::134

# What no rule opens.
for address in 127.0.0.1 169.254.169.254 224.0.0.251 255.255.255.255 10.99.9.9 203.0.113.1; do
  expect "$address is denied" guest -- $TRAFFIC --timeout 1500 denied $address $PORT
done
counts=$(stop canary)
expect "the canary saw nothing: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
finish
