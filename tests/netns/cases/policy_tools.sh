# What `cordon policy explain` says of a flow, live and on a snapshot, is what the broker does with it: verdict,
# reason and rule of the explanation against a real attempt and its audit record.
. "$(dirname "$0")/../world.sh"

# A bridge of containers as Docker makes it, and routes that lead nowhere.
ip -n host link add docker0 type bridge
ip -n host addr add 172.17.0.1/16 dev docker0
ip -n host link set docker0 up
ip netns add box
ip link add box0 netns box type veth peer name box1 netns host
ip -n host link set box1 master docker0 up
ip -n box addr add 172.17.0.2/16 dev box0
ip -n box link set box0 up
ip -n host route add blackhole 203.0.113.0/26
ip -n host route add prohibit 203.0.113.64/26
cat >$W/policy.yaml <<END
version: 1
name: site
egress:
  - {name: no-mail, deny: any, ports: [tcp/25]}
  - {name: documentation, allow: [192.0.2.0/24, 198.51.100.0/24, "2001:db8::/32"], except: [192.0.2.54], log: all}
  - {name: lan, allow: onlink, ports: [tcp/$PORT], log: new}
  - {name: containers, allow: [172.17.0.0/16, 203.0.113.0/24], log: all}
  - {name: over, allow: 192.0.2.54, until: 2020-01-01T00:00:00Z, log: all}
  - {name: names, allow: dns, ports: [udp/53, tcp/53]}
ingress:
  - {name: neighbours, allow: 10.99.0.0/24, ports: [tcp/$PORT]}
END
start server server $TRAFFIC server $PORT
start canary host $TRAFFIC canary $PORT
start box box $TRAFFIC server $PORT

explain() { ip netns exec host "$CORDON" policy explain --policy $W/policy.yaml --json "$@"; }
from_snapshot() { ip netns exec server "$CORDON" policy explain --policy $W/policy.yaml --json --snapshot $W/snapshot "$@"; }
field() { sed -n "s/.*\"$1\":\"\\([^\"]*\\)\".*/\\1/p"; }
# Of the decision, which comes before the steps: "allow LINE", the line of the rule, or "deny REASON".
summary() {
  local text=${1%%\"steps\"*} verdict
  verdict=$(field verdict <<<"$text")
  if [ "$verdict" = allow ]; then
    echo "allow $(field decided_by <<<"$text" | sed 's/.*://')"
  else
    echo "$verdict $(field reason <<<"$text")"
  fi
}
line_of() { grep -n "name: $1," $W/policy.yaml | head -n1 | cut -d: -f1; }
is() { [ "$(summary "$2")" = "$1" ] || { echo "$2"; return 1; }; }  # is SUMMARY EXPLANATION
expect "a snapshot" eval 'ip netns exec host "$CORDON" policy snapshot >$W/snapshot'
expect "an ordinary user may take one, too" eval \
  'ip netns exec host setpriv --reuid=65534 --regid=65534 --clear-groups "$CORDON" policy snapshot >$W/log/theirs && grep -qF 198.51.100.128/25 $W/log/theirs'

# destination, port, what is expected
cat >$W/table <<END
192.0.2.10 $PORT allow documentation
198.51.100.10 $PORT allow documentation
2001:db8::10 $PORT allow documentation
::ffff:192.0.2.10 $PORT allow documentation
10.99.0.1 $PORT allow lan
fd00:99::1 $PORT allow lan
10.99.0.1 25 deny rule-deny
192.0.2.54 $PORT deny no-rule
8.8.8.8 $PORT deny no-rule
10.99.0.2 $PORT deny host-address
192.0.2.131 $PORT deny host-address
192.0.2.132 $PORT deny host-address
192.0.2.133 $PORT deny host-address
198.51.100.200 $PORT deny host-address
2001:db8:1::200 $PORT deny host-address
172.17.0.1 $PORT deny host-address
::ffff:192.0.2.133 $PORT deny host-address
64:ff9b::a63:2 $PORT deny host-address
172.17.0.2 $PORT deny route-blocked
203.0.113.9 $PORT deny route-blocked
203.0.113.70 $PORT deny route-blocked
169.254.169.254 $PORT deny metadata
10.0.2.2 $PORT deny special-address
64:ff9b:1:2::1 $PORT deny embedded-ipv4
END
# The same flows for real, in one guest. A client's own mapped address leaves as IPv4, so it is left to explain.
cat >$W/tries <<END
#!/bin/bash
while read -r to port verdict rest; do
  case \$to in ::ffff:*) continue ;; esac
  if [ \$verdict = allow ]; then
    $TRAFFIC first \$to \$port >/dev/null || echo "not reached: \$to"
  else
    $TRAFFIC --timeout 500 denied \$to \$port >/dev/null || echo "not denied: \$to"
  fi
done <$W/table
END
chmod 755 $W/tries
attempts() { guest -- $W/tries >$W/log/tries 2>&1 && [ ! -s $W/log/tries ] || { cat $W/log/tries; return 1; }; }
expect "every flow of the table fares as written" attempts

plain() { sed -e 's/^::ffff://' <<<"$1"; }
one_record() {  # ADDRESS PORT FIELD VALUE
  grep -F "\"destination.ip\":\"$(plain $1)\"" "$AUDIT" | grep -F "\"destination.port\":$2" | grep -qF "\"$3\":\"$4\""
}
agrees() {  # ADDRESS PORT VERDICT WHY: explain says so, with its exit status, live and on the snapshot
  local status=0 live stored
  live=$(explain $1 tcp/$2) || status=$?
  [ "$3$status" = allow0 ] || [ "$3$status" = deny1 ] || { echo "exit status $status"; return 1; }
  stored=$(from_snapshot $1 tcp/$2)
  [ "${live%%\"host\"*}" = "${stored%%\"host\"*}" ] || { echo "live: $live"; echo "snapshot: $stored"; return 1; }
  if [ $3 = allow ]; then is "allow $(line_of $4)" "$live"; else is "deny $4" "$live"; fi
}
while read -r to port verdict why <&3; do
  expect "explain $to $port" agrees $to $port $verdict $why
  key=rule.name; [ $verdict = allow ] || key=event.reason
  expect "record of $to $port" within 3 one_record $to $port $key $why
done 3<$W/table
counts=$(stop canary)
expect "the canary saw nothing: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'

# What the guest's own kernel does not let out.
for address in 127.0.0.1 224.0.0.251 255.255.255.255 ::1 ff02::1; do
  expect "explain $address" agrees $address 80 deny special-address
done

# The name server, another source, the past.
expect "the name server" is "allow $(line_of names)" "$(explain dns)"
expect "a name server that nobody has" is "deny no-resolver" "$(: >$W/resolv.conf; explain dns)"
expect "a source that the guest was not given" is "deny source-spoof" "$(explain --from 10.0.2.99 192.0.2.10 1)"
expect "a rule before its end" is "allow $(line_of over)" "$(explain --at 2019-12-31T23:59:59Z 192.0.2.54 1)"

# From outside.
ip -n server route add 192.0.2.128/25 via 10.99.0.2
background published -t 8080:$PORT -- $TRAFFIC server $PORT
expect "an allowed peer reaches the port" ip netns exec server $TRAFFIC send 10.99.0.2 8080 100000
expect "another peer is turned away" ip netns exec server $TRAFFIC --bind 192.0.2.10 turned-away tcp 192.0.2.131 8080
stop published >/dev/null
expect "explain --in allows the one" is "allow $(line_of neighbours)" "$(explain --in 10.99.0.1 $PORT)"
expect "and not the other" is "deny no-rule" "$(explain --in 192.0.2.10 $PORT)"

# What changes on the host changes the live answer, and not the snapshot's.
ip -n host addr add 192.0.2.140/32 dev docker0
expect "an address that is new" is "deny host-address" "$(explain 192.0.2.140 1)"
expect "the snapshot does not know" is "allow $(line_of documentation)" "$(from_snapshot 192.0.2.140 1)"
ip -n host route del default
expect "no route" is "deny route-blocked" "$(explain 192.0.2.10 1)"
ip -n host rule add to 192.0.2.0/24 lookup 100
ip netns exec host "$CORDON" policy snapshot >$W/snapshot
warns() { from_snapshot 192.0.2.10 1 2>$W/log/warning; grep -F "policy routing rules" $W/log/warning; }
expect "policy routing is told" warns
finish
