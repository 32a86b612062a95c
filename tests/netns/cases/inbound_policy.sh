# Policy about published ports: nothing without an ingress rule, every file must allow, records name the source; the
# built-in policy takes the option as permission. Ports that cannot be had are clear errors.
. "$(dirname "$0")/../world.sh"
probe() { ip netns exec $1 $TRAFFIC "${@:2}"; }

background guest -t $PORT -u $PORT -- $TRAFFIC server $PORT
expect "no ingress rules: TCP is turned away" probe server turned-away tcp 10.99.0.2 $PORT
expect "no ingress rules: UDP is not answered" probe server turned-away udp 10.99.0.2 $PORT
expect "the host is turned away, too" probe host turned-away tcp 127.0.0.1 $PORT
source_recorded() { recorded '"source.ip":"10.99.0.1"' '"event.reason":"no-rule"'; }
expect "recorded, with the peer as source" within 3 source_recorded
guest_recorded() { recorded '"destination.ip":"10.0.2.15"' '"source.ip":"10.99.0.1"'; }
expect "and the guest as destination" within 3 guest_recorded
stop guest >/dev/null

cat >>$W/policy.yaml <<END
ingress:
  - {name: lan, allow: 10.99.0.0/24, ports: [tcp/$PORT]}
END
ip -n server route add 192.0.2.128/25 via 10.99.0.2
background guest -t $PORT -u $PORT -- $TRAFFIC server $PORT
expect "an allowed peer" probe server send 10.99.0.2 $PORT 1000000
expect "not by UDP" probe server turned-away udp 10.99.0.2 $PORT
expect "not by IPv6" probe server turned-away tcp fd00:99::2 $PORT
expect "not from another address" probe server --bind 192.0.2.10 turned-away tcp 192.0.2.131 $PORT
expect "not from the host" probe host turned-away tcp 127.0.0.1 $PORT
stop guest >/dev/null

printf 'version: 1\nname: narrow\negress:\n  - {name: all, allow: any}\n' >$W/second.yaml
background guest --policy $W/second.yaml -t $PORT -- $TRAFFIC server $PORT
expect "a second file without ingress denies" probe server turned-away tcp 10.99.0.2 $PORT
stop guest >/dev/null

builtin() {  # as background, with the built-in policy
  : >$W/log/builtin.out
  env --default-signal=INT,QUIT ip netns exec host "$CORDON" run --quiet "$@" </dev/null >$W/log/builtin.out \
    2>$W/log/builtin.err &
  pid_of[builtin]=$!
  within 20 grep -q ready $W/log/builtin.out || die "built-in: $(cat $W/log/builtin.err)"
}
builtin -t $PORT -u $PORT -- $TRAFFIC server $PORT
expect "built-in: the option is the permission" probe server send 10.99.0.2 $PORT 1000000
expect "built-in: for the host, too" probe host send 127.0.0.1 $PORT 1000000
expect "built-in: UDP" probe server udp-sizes fd00:99::2 $PORT

says() { grep -qF -- "$1" $W/log/failed; }
fails() { ! guest "$@" >$W/log/failed 2>&1; }
expect "a busy port stops the start" fails -t $PORT -- true
expect "and is named" says "[::]:$PORT/tcp"
expect "with what to do" says "sport = :$PORT"
expect "a busy UDP port stops the start" fails -u 10.99.0.2/$PORT -- true
expect "and is named" says "10.99.0.2:$PORT/udp"
expect "an address of another machine" fails -t 192.0.2.10/8080 -- true
expect "is named" says "192.0.2.10:8080/tcp"
expect "an interface that is not there" fails -t %nosuch0/8080 -- true
expect "is named" says "no interface nosuch0"
soon_free() {  # the port's holder ends while the next one is starting
  (sleep 0.3; stop builtin >/dev/null) &
  guest -t $PORT -- true
}
expect "a holder that is just ending is waited for" soon_free
stop builtin >/dev/null
finish
