# Packets from an address the guest was not given are dropped, counted and audited.
. "$(dirname "$0")/../world.sh"
[ "$CORDON_CALLER" = 0 ] || { say "skipped: needs root inside the guest"; exit 77; }
start canary server $TRAFFIC canary $PORT
cat >$W/spoofs <<END
#!/bin/bash
device=\$(ip -o link | sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p' | grep -v '^lo$' | head -n1)
# So that the neighbour is known and the packet itself leaves, not a question about the neighbour.
ping -n -c 1 -W 2 $SERVER4 >/dev/null && ping -n -c 1 -W 2 $SERVER6 >/dev/null || exit 4
ip addr add 10.9.9.9/32 dev \$device && ip addr add fd00:bad::9/128 dev \$device nodad || exit 3
$TRAFFIC --bind 10.9.9.9 --timeout 1500 denied $SERVER4 $PORT || exit 1
$TRAFFIC --bind fd00:bad::9 --timeout 1500 denied $SERVER6 $PORT || exit 1
END
chmod 755 $W/spoofs
expect "a guest sends from other addresses" guest -- $W/spoofs
spoofed() { within 3 recorded '"event.reason":"source-spoof"' "\"source.ip\":\"$1\""; }
expect "record for 10.9.9.9" spoofed 10.9.9.9
expect "record for fd00:bad::9" spoofed fd00:bad::9
counts=$(stop canary)
expect "nothing arrived: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
finish
