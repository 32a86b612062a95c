# The clients of passt, played with their own command lines: QEMU's -netdev passt, libvirt, Kata Containers, muvm. Traffic
# flows, not only exit status 0; and each gets the manners it relies on.
BRIDGE=${BRIDGE:-$(dirname "$TRAFFIC")/tap_bridge}
. "$(dirname "$0")/../world.sh"
. "$(dirname "$0")/../passt.sh"
start server server $TRAFFIC server $PORT

both_ways() {  # both_ways [HOST PORT of a published one]
  in_vm $TRAFFIC first $SERVER4 $PORT && in_vm $TRAFFIC first $SERVER6 $PORT && in_vm ping -c 1 -W 3 $SERVER4 &&
    { [ -z "${1:-}" ] || in_server $TRAFFIC first "$1" "$2"; }
}

# QEMU: waits for the exit, reads the pid file, and comes back with the same line the moment its connection ends,
# while the one before may still have the port.
start inside vm $TRAFFIC server 8080
play qemu qemu 3 -t 9090:8080
configure_vm
expect "QEMU: traffic both ways" both_ways 10.99.0.2 9090
first=$(played qemu)
for turn in 2 3; do
  kill -KILL "$(role translator)"  # a fault of ours
  expect "QEMU: restarted, time $turn" within 20 times_ready qemu $turn
  configure_vm
  expect "QEMU: traffic both ways again" both_ways 10.99.0.2 9090
done
expect "QEMU: another process than the first" test "$(played qemu)" != "$first"
pid=$(played qemu)
stop qemu >/dev/null
expect "QEMU: SIGTERM ends it" within 5 none_left
expect "QEMU: nothing failed: $(grep FAILED $W/log/qemu.out)" not grep -q FAILED $W/log/qemu.out

# libvirt: one-off, a socket, a log; restarted by the same line after a disconnect, over the stale or dying socket.
libvirt() {
  passt --one-off --socket $W/log/1-vm-net0.socket --pid $W/log/1-vm-net0-passt.pid --mtu 1500 --interface up0 \
    --log-file $W/log/passt.log --hostname vm --fqdn vm.example --address 10.99.0.2 --netmask 24 \
    --tcp-ports 9091:8080,9095 --udp-ports 9092
}
touch $W/log/passt.log && chmod 666 $W/log/passt.log
expect "libvirt: starts and returns" libvirt
expect "libvirt: the socket is there" test -S $W/log/1-vm-net0.socket
expect "libvirt: the pid is alive" kill -0 "$(cat $W/log/1-vm-net0-passt.pid)"
connect vm $W/log/1-vm-net0.socket
configure_vm
expect "libvirt: traffic both ways" both_ways 10.99.0.2 9091
second() { python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[1]); sys.exit(len(s.recv(1)))' $W/log/1-vm-net0.socket; }
expect "libvirt: a second client is closed" second
expect "libvirt: the name is taken" not passt --quiet -s $W/log/1-vm-net0.socket
disconnect vm
expect "libvirt: it ends with its client, and restarts at once" libvirt
connect vm $W/log/1-vm-net0.socket
configure_vm
expect "libvirt: traffic again" both_ways 10.99.0.2 9091
kill "$(cat $W/log/1-vm-net0-passt.pid)"
expect "libvirt: SIGTERM ends it" within 5 none_left
disconnect vm

# Kata Containers: a pid file and a socket; SIGQUIT.
expect "Kata: starts" passt -P $W/log/kata.pid -s $W/log/kata.socket
connect vm $W/log/kata.socket
configure_vm
expect "Kata: traffic" both_ways
kill -QUIT "$(cat $W/log/kata.pid)"
expect "Kata: SIGQUIT ends it" within 5 none_left
disconnect vm

# muvm: in the foreground, any descriptor, nobody waits.
play muvm muvm 0 -t 10.99.0.2/9093-9093:8080-8080
configure_vm
expect "muvm: traffic both ways" both_ways 10.99.0.2 9093
kill -KILL "$(played muvm 2)"
expect "muvm: it ends with its connection" within 10 grep -q "status 0" $W/log/muvm.out
expect "muvm: nothing is left" within 5 none_left

# Errors: one line, exit status 1, nothing left.
one_line() {  # one_line TEXT ARGUMENTS...: it fails so
  local text=$1 out
  shift
  out=$(passt "$@" 2>&1)
  [ $? = 1 ] && [ "$(wc -l <<<"$out")" = 1 ] && grep -qF -- "$text" <<<"$out" || { echo "$out"; false; }
}
expect "an unknown option" one_line "unrecognized option '--foo'" --foo
expect "a port that is taken" one_line "port 9094" --quiet -s $W/log/x.socket -t 9094 -t 9094
start taken host $TRAFFIC server 9096
expect "a port that somebody has" one_line "in use" --quiet -s $W/log/x.socket -t 9096
expect "a descriptor that is not there" one_line "--fd" --quiet --fd 77
expect "a folder that is not there" one_line "PID file" --quiet -P /nowhere/pid
expect "--version" passt --map-host-loopback none --version
expect "--help" passt --help
finish
