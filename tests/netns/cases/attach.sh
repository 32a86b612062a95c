# cordon attach: a namespace that somebody else made gets a network, keeps its life, and its end is cordon's.
. "$(dirname "$0")/../world.sh"
cat >>$W/policy.yaml <<END
ingress:
  - {name: peers, allow: [10.99.0.0/24, "fd00:99::/64"]}
END
start server server $TRAFFIC server $PORT
start canary host $TRAFFIC canary $PORT
start names server $TRAFFIC dns-server 53 192.0.2.77 2001:db8::77
SOME=$((BYTES / 64))

# Not by ip netns exec: it makes a mount namespace with copies of the named namespaces.
# attach NAME ARGUMENTS...: in the background, until it says that it is ready.
attach() {
  local name=$1
  shift
  : >$W/log/$name.ready
  rm -f $W/log/$name.pid  # left by kill -9
  env --default-signal=INT,QUIT nsenter --net=/run/netns/host "${RUN_AS[@]}" "$CORDON" attach ${CHAT:---quiet} \
    --policy $W/policy.yaml --audit-log "$W/log/$name$UID-${#RUN_AS[@]}.json" --ready-fd 7 --pid-file $W/log/$name.pid "$@" \
    7>$W/log/$name.ready </dev/null >$W/log/$name.out 2>$W/log/$name.err &
  pid_of[$name]=$!
  within 20 test -s $W/log/$name.ready || die "$name did not get ready: $(cat $W/log/$name.err)"
}
# A process in a network namespace of its own, with a user namespace of its own: its pid is in `guest`.
make_guest() {
  "${RUN_AS[@]}" unshare --user --map-root-user --net sleep 600 &
  guest=$!
  own_network() { [ "$(readlink /proc/$guest/ns/net)" != "$(readlink /proc/self/ns/net)" ]; }
  within 5 own_network || die "no namespace"
}
inside() { nsenter --target $guest --user --net -- "$@"; }
end_guest() { kill -9 $guest; wait $guest 2>/dev/null; }
ends() {  # ends NAME STATUS: within a second, and what a machine with other work adds
  local begun=$EPOCHREALTIME took status
  within 5 gone "${pid_of[$1]}" || return 1
  wait "${pid_of[$1]}"
  status=$?
  took=$(((${EPOCHREALTIME/./} - ${begun/./}) / 1000))
  say "status $status after $took ms"
  [ $status = "$2" ] && [ $took -lt 3000 ]
}
complains() {  # complains TEXT -- COMMAND...: fails with 125, or 2 for a usage error, and says TEXT in one line
  local text=$1 status
  shift 2
  timeout 20 nsenter --net=/run/netns/host "${RUN_AS[@]}" "$@" >$W/log/out 2>&1
  status=$?
  cat $W/log/out
  [[ $status = 125 || $status = 2 ]] && grep -qF -- "$text" $W/log/out && [ "$(wc -l <$W/log/out)" = 1 ]
}
refused() { local text=$1; shift; complains "$text" -- $CORDON attach --quiet --policy $W/policy.yaml "$@"; }
no_interface() { ! inside ip link show "${1:-eth0}"; }

whole_network() {  # whole_network IN...: traffic of every kind from inside
  local address
  for address in $SERVER4 $SERVER6; do
    expect "to $address" "$@" $TRAFFIC send $address $PORT $SOME
    expect "from $address" "$@" $TRAFFIC receive $address $PORT $SOME
    expect "datagrams with $address" "$@" $TRAFFIC udp-sizes $address $PORT
  done
  expect "a name" "$@" $TRAFFIC dns 10.0.2.3 53 udp a.example
  expect "a name over IPv6" "$@" $TRAFFIC dns fd00:c0:2d::3 53 tcp a.example
  for address in "${HOST4[@]}" "${HOST6[@]}"; do
    expect "$address is denied" "$@" $TRAFFIC --timeout 2000 denied $address $PORT
  done
}

attach_to_process() {
  make_guest
  attach one $guest
  expect "the pid file names the launcher" grep -qx "$(role attach)" $W/log/one.pid
  expect "everybody may read it" test "$(stat -c %a $W/log/one.pid)" = 644
  expect "ready is one byte" test "$(cat $W/log/one.ready)" = 1
  whole_network inside
  expect "the same interface name again" refused --ifname $guest
  expect "and the first one is not disturbed" inside $TRAFFIC udp-sizes $SERVER4 $PORT
  expect "the same addresses again" refused --address --ifname tap1 $guest
  expect "a second default route" refused "default route" --ifname tap1 --address 10.0.3.15/24 \
    --address fd00:c0:2e::15/64 $guest
  expect "which leaves nothing" no_interface tap1
  translator=$(role translator)
  kill -9 "$translator"
  new_translator() { local now; now=$(role translator) && [ "$now" != "$translator" ]; }
  expect "a killed translator is replaced" within 5 new_translator
  expect "and the network is back" inside $TRAFFIC udp-sizes $SERVER6 $PORT
  end_guest
  expect "the end of the namespace is the end" ends one 0
  expect "nothing is left" within 3 none_left
  expect "the pid file is gone" test ! -e $W/log/one.pid

  make_guest
  for signal in TERM INT QUIT; do
    attach again $guest
    kill -$signal "$(cat $W/log/again.pid)"
    expect "SIG$signal detaches" ends again 0
    expect "the interface is removed" no_interface
  done
  attach third $guest
  kill -9 "$(cat $W/log/third.pid)"
  wait ${pid_of[third]} 2>/dev/null
  expect "kill -9 leaves no process" within 3 none_left
  expect "nor the interface" within 3 no_interface
  attach fourth $guest
  inside ip link del eth0 || die "cannot remove the interface"
  expect "an interface that is removed from inside is the end, too" ends fourth 0
  attach fifth --threads 2 $guest
  expect "with two threads" inside $TRAFFIC send $SERVER6 $PORT $SOME
  kill -9 "$(role broker)"
  expect "without broker it ends and says so" ends fifth 125
  expect "in one line" grep -q "broker.*cordon ends" $W/log/fifth.err
  end_guest
}
expect "an empty word is no namespace" refused "needs a process" --netns ''
attach_to_process

ip netns add box
in_box() { ip netns exec box "$@"; }
attach named --netns box
whole_network in_box
ip netns del box
expect "the end of the name is the end" ends named 0
ip netns add box
nsenter --net=/run/netns/box sleep 600 & holder=$!
attach path --ifname net0 --no-ipv6 --netns /run/netns/box
expect "by path" in_box $TRAFFIC send $SERVER4 $PORT $SOME
ip netns del box
expect "also with a process still inside" ends path 0
kill $holder
ip netns add box
mkdir $W/spaces && touch $W/spaces/box && mount --bind /run/netns/box $W/spaces/box
attach mounted --netns $W/spaces/box
ip netns del box
expect "the other name still leads to it" nsenter --net=$W/spaces/box $TRAFFIC udp-sizes $SERVER4 $PORT
umount $W/spaces/box
expect "an unmounted path is the end" ends mounted 0

make_guest
attach publishing -t 7788 -u 7788 $guest
nsenter --target $guest --user --net -- $TRAFFIC server 7788 >$W/log/service & pid_of[service]=$!
within 5 grep -q ready $W/log/service || die "no service"
for address in 10.99.0.2 fd00:99::2; do
  expect "a published port, $address" in_server $TRAFFIC send $address 7788 $SOME
  expect "and its datagrams" in_server $TRAFFIC udp-sizes $address 7788
done
kill -9 ${pid_of[service]}
end_guest
expect "a service does not keep it" ends publishing 0

make_guest
attach by_path --netns /proc/$guest/ns/net --userns /proc/$guest/ns/user
expect "by the paths of a process" inside $TRAFFIC udp-sizes $SERVER6 $PORT
end_guest
expect "which ends with it" ends by_path 0
make_guest
other=$guest
make_guest
expect "a user namespace that does not own it" refused "join the user namespace that owns it" \
  --netns /proc/$guest/ns/net --userns /proc/$other/ns/user
expect "a user namespace that is none" refused "not a user namespace" --userns /proc/$guest/ns/net $guest
end_guest
kill -9 $other
# Podman's way: cordon and the guest in one user namespace, which is cordon's own.
cat >$W/one_user_namespace <<END
#!/bin/bash
unshare --net sleep 600 & guest=\$!
exec 7> >(read -n 1 ready; nsenter --target \$guest --net -- $TRAFFIC first $SERVER4 $PORT; echo \$? >$W/log/within.status; kill \$guest)
while [ "\$(readlink /proc/\$guest/ns/net)" = "\$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
$CORDON attach --quiet --policy $W/policy.yaml --ready-fd 7 \$guest 7>&7 || exit
cat $W/log/within.status
END
within_one() {
  local said
  said=$(timeout 20 nsenter --net=/run/netns/host "${RUN_AS[@]}" unshare --user --map-root-user bash $W/one_user_namespace)
  say "$said"
  [ "${said##*$'\n'}" = 0 ]
}
expect "in cordon's own user namespace" within_one

expect "its own namespace is refused" refused "own network namespace" --netns host
expect "a namespace that is not there" refused "no namespace of this name" --netns nosuch
expect "a file that is no namespace" refused "not a network namespace" --netns $W/empty
expect "another kind of namespace" refused "not a network namespace" --netns /proc/self/ns/mnt
expect "a process that is not there" refused "there is none" 999999
make_guest
expect "a descriptor that is not open" refused "no such descriptor" --ready-fd 9 $guest
read_only() { refused "not open for writing" --ready-fd 9 "$@" 9</dev/null; }
expect "a descriptor that cannot be written" read_only $guest
expect "a pid file that cannot be written" refused /proc/no/such --pid-file /proc/no/such $guest
expect "a pid file that is a folder" refused "$W/log" --pid-file $W/log $guest
expect "nothing was made" no_interface
end_guest

if [ "$CORDON_CALLER" = 0 ]; then
  ip netns add machines
  make_guest
  as_user
  expect "a namespace of the machine's" refused "run cordon as root" --netns machines
  expect "a process of root's" refused "as root" $guest
  end_guest
  attach_to_process
fi
counts=$(stop canary)
expect "the canary saw nothing: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
finish
