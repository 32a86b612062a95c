# Ends and new beginnings on both sides of the socket: the back-end is killed and started again, the translator
# alone is killed, QEMU is restarted, the guest is stopped. Debian 12's QEMU 7.2 cannot reconnect by itself
# (reconnect= came with 8.0), but it listens again; relay.py stands for the newer one's timer.
. "$(dirname "$0")/../vm.sh"
start server server $TRAFFIC server $PORT
network a
LINK=listen
plug a
python3 "$(dirname "$0")/../relay.py" $W/a.qemu "$(socket_of a)" >$W/log/relay 2>&1 &
pid_of[relay]=$!
booted a
expect "the guest configures itself" vm a "ip link set eth0 up; lease4 && slaac"
works() { vm a "traffic --timeout 3000 send $SERVER4 $PORT 1000000 && traffic --timeout 3000 send $SERVER6 $PORT 1000000"; }
expect "it works" works

kill -KILL ${pid_of[net-a]}
expect "the back-end is killed, nothing of it is left" within 5 none_left
network a
expect "the guest goes on with a new one, without configuring anything" within 20 works

kill -KILL "$(role translator)"
expect "the guest goes on with a new translator" within 20 works
expect "the same launcher" kill -0 ${pid_of[net-a]}

# A stopped guest: what is sent to it waits, and costs nothing.
vm a "traffic server $PORT >/tmp/server 2>&1 &" >/dev/null
ticks() { awk '{ print $14 + $15 }' "/proc/$(role translator)/stat"; }
ask a "traffic receive $SERVER4 $PORT 50000000"
sleep 0.5
kill -STOP ${pid_of[vm-a]}
sleep 1
before=$(ticks)
sleep 3
spent=$(($(ticks) - before))
expect "a stopped guest costs nothing: $spent ticks in 3 s" test $spent -le 3
kill -CONT ${pid_of[vm-a]}
expect "and loses nothing" answer a

kill -TERM ${pid_of[relay]}
unplug a
LINK=stream
boot a
expect "another QEMU, by itself" vm a "ip link set eth0 up; lease4 && slaac && traffic first $SERVER4 $PORT"
unplug a
boot a
expect "and once more" vm a "ip link set eth0 up; lease4 && slaac && traffic first $SERVER6 $PORT"
unplug a
close_network a
finish
