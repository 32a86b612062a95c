# The clients of passt that speak vhost-user, played with their own command lines: QEMU's -netdev passt,vhost-user=on,
# libvirt, KubeVirt. Traffic flows, and a capture has all of it.
BRIDGE=${BRIDGE:-$(dirname "$TRAFFIC")/tap_bridge}
. "$(dirname "$0")/../world.sh"
. "$(dirname "$0")/../passt.sh"
start server server $TRAFFIC server $PORT
start inside vm $TRAFFIC server 8080
start web vm $TRAFFIC server 80

both_ways() {  # both_ways [HOST PORT of a published one]
  in_vm $TRAFFIC first $SERVER4 $PORT && in_vm $TRAFFIC first $SERVER6 $PORT && in_vm ping -c 1 -W 3 $SERVER4 &&
    in_vm $TRAFFIC udp-sizes $SERVER4 $PORT 100 &&
    { [ -z "${1:-}" ] || in_server $TRAFFIC first "$1" "$2"; }
}
bulk() { in_vm $TRAFFIC send $SERVER4 $PORT $((32 << 20)) && in_vm $TRAFFIC receive $SERVER6 $PORT $((32 << 20)); }

# QEMU: as with its stream, but there is one connection, and its end is the end.
play qemu qemu-vhost 0 -t 9090:8080
configure_vm
expect "QEMU: traffic both ways" both_ways 10.99.0.2 9090
expect "QEMU: much of it" bulk
stop qemu >/dev/null
expect "QEMU: SIGTERM ends it" within 5 none_left
play qemu qemu-vhost 0
configure_vm
expect "QEMU: traffic" both_ways
kill -KILL "$(role translator)"  # a fault of ours
expect "QEMU: without its connection it ends" within 10 none_left
expect "QEMU: nothing failed: $(grep FAILED $W/log/qemu.out)" not grep -q FAILED $W/log/qemu.out
stop qemu >/dev/null

# libvirt: by its socket, once; a client that comes back finds what the same line has started anew.
S=$W/log/1-vm-net0.socket PID=$W/log/1-vm-net0-passt.pid LOG=$W/log/passt.log
touch $LOG && chmod 666 $LOG
libvirt() {
  passt --vhost-user --one-off --socket $S --pid $PID --mtu 1500 --interface up0 --log-file $LOG --hostname vm \
    --fqdn vm.example --address 10.99.0.2 --netmask 24 --tcp-ports 9091:8080,9095 --udp-ports 10.99.0.2%up0/9092
}
expect "libvirt: starts and returns" libvirt
expect "libvirt: the socket is there" test -S $S
connect_vhost vm $S
configure_vm
expect "libvirt: traffic both ways" both_ways 10.99.0.2 9091
second() { python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[1]); sys.exit(len(s.recv(1)))' $S; }
expect "libvirt: a second client is closed" second
disconnect vm
expect "libvirt: it ends with its client, and restarts at once" libvirt
connect_vhost vm $S
configure_vm
expect "libvirt: traffic again" both_ways 10.99.0.2 9091
kill "$(cat $PID)"
expect "libvirt: SIGTERM ends it" within 5 none_left
disconnect vm

# Several queue pairs, served by as many workers, and a capture, which has the frames of every one.
S=$W/log/many.socket
expect "two queue pairs" passt --vhost-user --quiet -s $S -P $PID --threads 2 --pcap $W/log/frames.pcap
for turn in 1 2; do  # it stays for the next client
  connect_vhost vm $S --queues 2
  configure_vm
  expect "two queue pairs: traffic, time $turn" both_ways
  expect "two queue pairs: much of it, time $turn" bulk
  [ $turn = 2 ] || disconnect vm
done
many() { for n in {1..20}; do in_vm $TRAFFIC first $SERVER4 $PORT >/dev/null || return 1; done; }
expect "twenty connections" many
disconnect vm
kill "$(cat $PID)"
expect "SIGTERM ends it" within 5 none_left
# Ports that both ends of a connection have used, of each direction.
captured() { python3 - $W/log/frames.pcap <<END
import socket, struct, sys
data = open(sys.argv[1], "rb").read()
assert struct.unpack_from("=IHH", data) == (0xa1b2c3d4, 2, 4)
server, at, ports = socket.inet_aton("$SERVER4"), 24, (set(), set())
while at < len(data):
    kept, length = struct.unpack_from("=II", data, at + 8)
    frame, at = data[at + 16:at + 16 + kept], at + 16 + kept
    assert len(frame) == kept <= length
    if frame[12:14] == b"\x08\x00" and frame[23] == 6:
        source, destination = struct.unpack_from("!HH", frame, 34)
        if frame[30:34] == server: ports[0].add(source)
        if frame[26:30] == server: ports[1].add(destination)
print(len(ports[0]), len(ports[1]))
assert ports[0] == ports[1] and len(ports[0]) >= 22
END
}
expect "the capture has all of them, both ways" captured
# KubeVirt: libvirt's line in a pod, where a user without any capability may have low ports and echo sockets.
kubevirt() {  # kubevirt PORT-OPTIONS...
  timeout --foreground 30 ip netns exec host setpriv --reuid=107 --regid=107 --clear-groups --inh-caps=-all \
    --bounding-set=-all "$PASST" --vhost-user --one-off --socket $S --pid $W/log/pod/vm.pid --interface up0 \
    --log-file $W/log/pod/passt.log "$@"
}
pod() { kill "$(cat $W/log/pod/vm.pid)"; within 10 none_left; }
if [ "$CORDON_CALLER" = 0 ]; then
  S=$W/log/pod/vm.socket
  mkdir -p $W/log/pod && chown 107:107 $W/log/pod
  in_host sysctl -qw net.ipv4.ip_unprivileged_port_start=0 net.ipv4.ping_group_range="107 107"
  expect "KubeVirt: starts" kubevirt --tcp-ports 80 --udp-ports 8080
  connect_vhost vm $S
  configure_vm
  expect "KubeVirt: traffic both ways" both_ways 10.99.0.2 80
  expect "KubeVirt: its log" test -s $W/log/pod/passt.log
  expect "KubeVirt: SIGTERM ends it" pod
  disconnect vm
  # All ports but those of a sidecar; `all` itself would need 74,606 open files.
  expect "KubeVirt: all ports but some" kubevirt --tcp-ports '~82-8000,~8100-61000' --udp-ports '~1-60000'
  connect_vhost vm $S
  configure_vm
  expect "KubeVirt: traffic both ways by any port" both_ways 10.99.0.2 8080
  expect "KubeVirt: a low one, too" both_ways 10.99.0.2 80
  expect "KubeVirt: SIGTERM ends it" pod
  disconnect vm
fi

finish
