# Reload cuts every kind of flow: echo of both families, and connections and UDP flows that began outside; whoever is at
# the other end of a connection sees a reset, not an end.
. "$(dirname "$0")/../world.sh"
CLOSED4=198.51.100.10 CLOSED6=2001:db8::53
policy() {  # policy OPEN|SHUT
  {
    printf 'version: 1\nname: world\negress:\n'
    [ "$1" = OPEN ] || printf '  - {name: closed, deny: [%s, "%s"], ports: [icmp/echo]}\n' $CLOSED4 $CLOSED6
    printf '  - {name: all, allow: [192.0.2.0/24, 198.51.100.0/24, "2001:db8::/32"], ports: [icmp/echo]}\n'
    printf 'ingress:\n'
    [ "$1" = OPEN ] || printf '  - {name: shut, deny: 10.99.0.0/24}\n'
    printf '  - {name: lan, allow: [10.99.0.0/24, "fd00:99::/64"], ports: [tcp/%s, udp/%s]}\n' $PORT $PORT
  } >$W/policy.new
  mv $W/policy.new $W/policy.yaml
}
cat >$W/guest.sh <<END
$TRAFFIC server $PORT >/dev/null & server=\$!
for address in $CLOSED4 $CLOSED6 $SERVER4 $SERVER6; do
  ping -n -i 0.2 -w 60 \$address >$W/log/ping.\$address 2>&1 & pings="\$pings \$!"
done
until [ "\$(grep -l 'icmp_seq=2 ' $W/log/ping.* | wc -l)" = 4 ]; do sleep 0.05; done
echo ready
until [ -e $W/log/over ]; do sleep 0.05; done
kill \$server \$pings
END
chmod 644 $W/guest.sh
policy OPEN
CHAT=--verbose background guest -t $PORT -u $PORT -- sh $W/guest.sh
outside() {  # outside NAME COMMAND ADDRESS
  ip netns exec server $TRAFFIC "$2" "$3" $PORT 30 >$W/log/$1 2>&1 &
  pid_of[$1]=$!
  within 10 grep -q ready $W/log/$1 || die "$1: $(cat $W/log/$1)"
}
outside tcp cut 10.99.0.2
outside udp udp-cut 10.99.0.2
outside tcp6 cut fd00:99::2
policy SHUT
kill -HUP "$(role launcher)"

ended() { within 15 gone "${pid_of[$1]}" && wait "${pid_of[$1]}"; }
revoked() {  # revoked TRANSPORT FIELD ADDRESS RULE
  local line
  line=$(grep -F '"event.action":"flow-revoked"' "$AUDIT" | grep -F "\"network.transport\":\"$1\"" | grep -F "\"$2\":\"$3\"") &&
    [ "$(wc -l <<<"$line")" = 1 ] && grep -F '"event.reason":"rule-deny"' <<<"$line" | grep -F '"sandbox.cause":"policy-changed"' |
    grep -qF "\"rule.name\":\"$4\""
}
expect "from outside, TCP: cut" ended tcp
expect "its peer sees a reset" grep -q 'Connection reset by peer' $W/log/tcp
expect "recorded once, with the rule" within 3 revoked tcp source.ip 10.99.0.1 shut
expect "from outside, UDP: recorded once, with the rule" within 3 revoked udp source.ip 10.99.0.1 shut
expect "from outside, what is still allowed goes on" kill -0 "${pid_of[tcp6]}"
for address in $CLOSED4 $CLOSED6; do
  case $address in *:*) transport=ipv6-icmp ;; *) transport=icmp ;; esac
  expect "echo to $address: recorded once, with the rule" within 3 revoked "$transport" destination.ip $address closed
done
count() { grep -c 'icmp_seq=.*time=' "$W/log/ping.$1"; }
denied4() { grep -qiE 'filtered|prohibited' $W/log/ping.$CLOSED4; }
denied6() { grep -qiE 'prohibited' $W/log/ping.$CLOSED6; }
expect "the guest is told so" within 5 denied4
expect "by IPv6, too" within 5 denied6
before4=$(count $CLOSED4) before6=$(count $CLOSED6) steady=$(count $SERVER4)
goes_on() { [ "$(count $SERVER4)" -gt $((steady + 5)) ]; }
expect "echo to others goes on" within 5 goes_on
expect "and none to those: $before4, $before6 answers" test "$before4 $before6" = "$(count $CLOSED4) $(count $CLOSED6)"
touch $W/log/over
kill "${pid_of[tcp6]}" "${pid_of[udp]}" 2>/dev/null
wait "${pid_of[guest]}"
finish
