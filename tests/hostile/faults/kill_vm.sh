# kill -9 of a virtual machine's translator at random moments under traffic: the connection is closed at once, and the next
# one works. Of its monitor: the translator goes. Of the broker and the launcher: nothing is left. KILLS=200: the long form.
. "$(dirname "$0")/../../netns/vm_world.sh"
KILLS=${KILLS:-3}
start server server $TRAFFIC server $PORT
vm one --socket $SOCKET --pid-file $W/one.pid
bad=0
for round in $(seq "$KILLS"); do
  bridge qemu --connect $SOCKET
  configure
  in_box $TRAFFIC --timeout 3000 send $SERVER4 $PORT 100000000 >/dev/null 2>&1 &
  sleep 0.0$((RANDOM % 90 + 10))
  within 3 role translator >/dev/null && kill -9 "$(role translator)"
  ends qemu 0 >/dev/null || { say "round $round: the connection is not closed"; bad=$((bad + 1)); }
done
expect "killed $KILLS times: each time the connection is closed at once" test $bad = 0
lost() { [ "$(grep -c "the guest's connection is closed: killed by signal 9" "$AUDIT")" = "$KILLS" ]; }
expect "which is on record" within 3 lost
bridge qemu --connect $SOCKET
configure
expect "the next connection works" in_box $TRAFFIC --timeout 5000 first $SERVER4 $PORT
kill -9 "$(role broker)"
expect "the broker killed: the connection is closed" ends qemu 0
expect "cordon ends" within 5 none_left
expect "its files go with it" test ! -e $SOCKET -a ! -e $W/one.pid
vm two --socket $SOCKET
bridge qemu --connect $SOCKET
configure
kill -9 "$(role vm)"
expect "the launcher killed: the connection is closed" ends qemu 0
expect "all are gone" within 5 none_left
vm three --socket $SOCKET
bridge qemu --connect $SOCKET
configure
expect "the next start takes the socket's name" in_box $TRAFFIC --timeout 5000 first $SERVER4 $PORT
kill -TERM "$(role vm)"
finish
