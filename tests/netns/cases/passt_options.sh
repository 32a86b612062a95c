# passt's options that change what traffic does: mappings, name servers, what is left out, policy files, captures, logs.
BRIDGE=${BRIDGE:-$(dirname "$TRAFFIC")/tap_bridge}
. "$(dirname "$0")/../world.sh"
. "$(dirname "$0")/../passt.sh"
start server server $TRAFFIC server $PORT
start names server $TRAFFIC dns-server 53 192.0.2.77 2001:db8::77
start elsewhere server $TRAFFIC server 7780  # what only the next router has, not this host
S=$W/log/passt.socket

# with ARGUMENTS...: passt with them, and the machine at its socket; without: the end of both.
with() {
  passt -s $S -P $W/log/pid --audit-log $AUDIT "$@" >$W/log/passt.out 2>&1 || die "passt $*: $(cat $W/log/passt.out)"
  connect vm $S
  configure_vm
}
without() {
  kill "$(cat $W/log/pid)"
  within 5 none_left || die "it does not end"
  disconnect vm
}
reached() { in_vm $TRAFFIC --timeout 3000 first "$@" >/dev/null; }
refused() { in_vm $TRAFFIC --timeout 2000 denied "$@"; }

with --no-map-gw
expect "--no-map-gw: the gateway is the gateway" reached $GATEWAY4 7780
without

start service host $TRAFFIC server 7781
with --map-host-loopback 10.99.0.77 --map-guest-addr 10.99.0.78
expect "--map-host-loopback: loopback is where it was put" reached 10.99.0.77 7781
expect "--map-guest-addr: the shared address is the host's" reached 10.99.0.78 7781
expect "the gateway is the gateway then" reached $GATEWAY4 7780
without

with --dns-forward 10.99.0.53 --dns-host 192.0.2.53 -q
for transport in udp tcp; do
  expect "--dns-forward, $transport" in_vm $TRAFFIC dns 10.99.0.53 53 $transport a.example
done
expect "the host's name server is asked directly, too" in_vm $TRAFFIC dns 192.0.2.53 53 udp a.example
without

with --no-udp
expect "--no-udp: TCP passes" reached $SERVER4 $PORT
expect "--no-udp: names do not" not in_vm $TRAFFIC --timeout 1500 dns 192.0.2.53 53 udp a.example
without
with --no-tcp
expect "--no-tcp" not reached $SERVER4 7780
expect "--no-tcp: names by UDP pass" in_vm $TRAFFIC dns 192.0.2.53 53 udp a.example
without

# A policy file binds as anywhere; below it --no-map-host holds, though the file opens the host.
cat >$W/open.yaml <<END
version: 1
name: open
egress:
  - {name: all, allow: [any, host, 192.0.2.0/24], ports: [tcp]}
END
with --policy $W/open.yaml
expect "--policy: what it allows" reached $SERVER4 $PORT
expect "--policy: the host, which it opens" reached 192.0.2.132 7781
expect "--policy: nothing else" refused 198.51.100.10 $PORT
without
with --policy $W/open.yaml --no-map-host
expect "--policy with --no-map-host: what both allow" reached $SERVER4 $PORT
expect "--policy with --no-map-host: not the host" refused 192.0.2.132 7781
expect "a record of it" audited rule-deny 192.0.2.132
kill -HUP "$(cat $W/log/pid)"
within 5 grep -q '"event.action":"policy' $AUDIT
expect "nor after a reload" refused 192.0.2.132 7781
without

# A capture, and a log that is bounded; as root both are opened before it becomes nobody.
with --pcap $W/log/frames.pcap --debug --log-file $W/log/passt.log --log-size 64K
expect "--pcap: traffic passes" reached $SERVER4 $PORT
captured() {
  [ "$(head -c 4 $W/log/frames.pcap | od -An -tx4 | tr -d ' ')" = a1b2c3d4 ] && [ "$(stat -c %s $W/log/frames.pcap)" -gt 200 ]
}
expect "--pcap: the file has frames" within 3 captured
expect "--log-file: it says what happens" within 3 grep -q "guest is connected" $W/log/passt.log
without

# -o: the address that the world sees.
start who server $TRAFFIC who-server 7790
ip -n server route add 192.0.2.131/32 via 10.99.0.2
with -o 192.0.2.131
seen() { in_vm $TRAFFIC who tcp $SERVER4 7790 | grep -qF 192.0.2.131; }
expect "--outbound" seen
without

# A host without any address.
ip netns add bare
expect "local mode" timeout 20 ip netns exec bare $PASST --quiet -s $S -P $W/log/pid
kill "$(cat $W/log/pid)"
finish
