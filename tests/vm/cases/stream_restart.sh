# Ends and new beginnings on both sides of the stream socket: the back-end is killed and started again, the
# translator alone is killed, the guest is stopped, QEMU is another one. Debian 12's QEMU 7.2 cannot reconnect by
# itself (reconnect= came with 8.0), but it listens again; relay.py stands for the newer one's timer. The second
# QEMU has the largest MTU: its card announces it, the guest's kernel takes it, and frames of that size go both ways.
. "$(dirname "$0")/../vm.sh"
. "$(dirname "$0")/../steps.sh"
world
network a --mtu 1500
LINK=listen
plug a
python3 "$(dirname "$0")/../relay.py" $W/a.qemu "$(socket_of a)" >$W/log/relay 2>&1 &
pid_of[relay]=$!
booted a
configures a 1500
expect "it works" works a
pauses a

kill -KILL "$(role translator)"
expect "the guest goes on with a new translator" within 60 works a
expect "of the same launcher" kill -0 ${pid_of[net-a]}
kill_network a
expect "the back-end is killed, nothing of it is left" within 10 none_left
network a --mtu 65520
expect "the guest goes on with a new one, without configuring anything" within 60 works a
kill -TERM ${pid_of[relay]}
unplug a

LINK=stream CARD=host_mtu=65520
boot a
configures a 65520
reaches a $MIB "0 1 1472 9000 60000"
expect "large frames to the guest" in_large_frames a from
expect "and from it" in_large_frames a to
ends a
finish
