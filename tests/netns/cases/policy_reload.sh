# Another policy while the guest runs: by SIGHUP, by the control socket, by a watched ConfigMap; what a bad file does;
# and what time alone changes.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
CLOSED4=198.51.100.10 CLOSED6=2001:db8::53
HEAD='version: 1\nname: world\n'

# file [HEAD] RULE...: what policy.yaml is to be; one rule a line.
file() {
  local head=$1
  shift
  printf "$head"'egress:\n'
  printf '  - %s\n' "$@"
}
ALL='{name: all, allow: [192.0.2.0/24, 198.51.100.0/24, "2001:db8::/32"], ports: [tcp, udp, icmp/echo]}'
CLOSED="{name: closed, deny: [$CLOSED4, \"$CLOSED6\"]}"
# Complete or not at all, as any program that replaces a configuration does.
put() { cat >$W/policy.new && mv -T $W/policy.new $W/policy.yaml; }
put_open() { file "${1:-$HEAD}" "$ALL" | put; }
put_closed() { file "${1:-$HEAD}" "$CLOSED" "$ALL" | put; }

records() { grep -cF "\"event.action\":\"$1\"" "$AUDIT"; }
more() { [ "$(records "$1")" -gt "$2" ]; }
last() { tac "$AUDIT" | grep -m1 -F "\"event.action\":\"$1\"" | sed -n "s/.*\"$2\":\"\\{0,1\\}\\([^\",]*\\).*/\\1/p"; }
revoked() {  # revoked REASON CAUSE ADDRESS TRANSPORT
  within 3 grep -q "\"flow-revoked\",\"event.reason\":\"$1\".*\"network.transport\":\"$4\".*\"destination.ip\":\"$3\"" "$AUDIT" &&
    grep "\"flow-revoked\",\"event.reason\":\"$1\".*\"destination.ip\":\"$3\"" "$AUDIT" | grep -q "\"sandbox.cause\":\"$2\""
}

# One TCP connection and one UDP flow to each of CLOSED4 and CLOSED6, which are to be cut, and others that are not.
cat >$W/flows <<END
#!/bin/bash
cd $W/log
for address in $CLOSED4 $CLOSED6; do
  $TRAFFIC cut \$address $PORT 30 >cut.tcp.\$address 2>&1 & echo \$! >pid.tcp.\$address
  $TRAFFIC udp-cut \$address $PORT 30 >cut.udp.\$address 2>&1 & echo \$! >pid.udp.\$address
done
$TRAFFIC steady $PORT \${1:-3000} $SERVER4 $SERVER6 >steady.out & steady=\$!
until [ "\$(grep -l ready cut.*.$CLOSED4 cut.*.$CLOSED6 | wc -l)" = 4 ]; do sleep 0.02; done
echo ready
status=0
for flow in tcp.$CLOSED4 tcp.$CLOSED6 udp.$CLOSED4 udp.$CLOSED6; do
  wait \$(cat pid.\$flow); echo \$? >status.\$flow
done
for address in $CLOSED4 $CLOSED6; do
  $TRAFFIC --timeout 1000 denied \$address $PORT >new.\$address 2>&1; echo \$? >status.new.\$address
done
wait \$steady; echo \$? >status.steady
END
chmod 755 $W/flows
flows() {
  rm -f $W/log/cut.* $W/log/status.* $W/log/pid.*
  : >"$AUDIT"
  background guest "$@" -- $W/flows "${STEADY_MS:-3000}"
}
status_of() { [ "$(cat $W/log/status.$1)" = 0 ] || { cat $W/log/cut.$1 $W/log/new.${1#new.} $W/log/steady.out 2>/dev/null | tail -n 6; return 1; }; }
ended() { [ -z "$(in_server ss -Htn state established src "[$1]")" ]; }
gone_quietly() { kill -0 "${pid_of[guest]}" 2>/dev/null || return 0; return 1; }
all_cut() {  # all_cut REASON CAUSE
  within 20 gone_quietly || say "FAILED: the guest goes on"
  local address transport
  for address in $CLOSED4 $CLOSED6; do
    for transport in tcp udp; do
      expect "  $transport to $address is cut, and told so" status_of $transport.$address
      expect "  and recorded: $1, $2" revoked "$1" "$2" $address $transport
    done
    expect "  a new one to $address is denied" status_of new.$address
    expect "  its peer saw the end" within 2 ended $address
    expect "  by a reset" grep -q 'Connection reset by peer' $W/log/cut.tcp.$address
  done
}
others_unharmed() { expect "  what is still allowed goes on, byte by byte" status_of steady; }

say "--- SIGHUP"
put_open
flows
generation=$(last policy-loaded sandbox.policy.generation)
expect "the first policy is recorded" test -n "$generation"
put_closed
kill -HUP "$(role launcher)"
all_cut rule-deny policy-changed
others_unharmed
expect "a new generation" test "$(last policy-loaded sandbox.policy.generation)" -gt "$generation"
expect "its cause is the signal" test "$(last policy-loaded sandbox.cause)" = signal

say "--- cordon ctl reload"
put_open
flows --control $W/control.sock
put_closed
expect "it says so" in_host "$CORDON" ctl --socket $W/control.sock reload
all_cut rule-deny policy-changed
others_unharmed
expect "its cause is the control socket" test "$(last policy-loaded sandbox.cause)" = control

say "--- a watched ConfigMap: the whole directory is swapped by one rename"
mkdir -p $W/cm/..one $W/cm/..two
file "$HEAD" "$ALL" >$W/cm/..one/policy.yaml
file "$HEAD" "$CLOSED" "$ALL" >$W/cm/..two/policy.yaml
ln -sT ..one $W/cm/..data
ln -s ..data/policy.yaml $W/cm/policy.yaml
ln -sf cm/policy.yaml $W/policy.yaml
flows --watch-policy
ln -sT ..two $W/cm/..data_tmp
mv -T $W/cm/..data_tmp $W/cm/..data
all_cut rule-deny policy-changed
others_unharmed
expect "its cause is the watch" test "$(last policy-loaded sandbox.cause)" = watch

say "--- a watched file that an editor replaces, truncates, and writes"
rm $W/policy.yaml
put_open
flows --watch-policy
put_closed
all_cut rule-deny policy-changed
others_unharmed
put_open
flows --watch-policy
file "$HEAD" "$CLOSED" "$ALL" >$W/policy.yaml
all_cut rule-deny policy-changed
others_unharmed

say "--- bad files: the policy before stays"
put_open
rm -f $W/log/done
cat >$W/asks <<END
#!/bin/bash
echo ready
while ! [ -e $W/log/done ]; do
  if [ -e $W/log/ask ]; then
    $TRAFFIC --timeout 2000 first $CLOSED4 $PORT >/dev/null 2>&1; echo \$? >$W/log/answer.new
    rm $W/log/ask; mv $W/log/answer.new $W/log/answer
  fi
  sleep 0.02
done
END
chmod 755 $W/asks
: >"$AUDIT"
CHAT=--verbose background asks --control $W/control.sock -- $W/asks
launcher=$(role launcher)
hash=$(last policy-loaded sandbox.policy.hash)
works() {  # in the guest, now
  rm -f $W/log/answer
  touch $W/log/ask
  within 5 test -e $W/log/answer && [ "$(cat $W/log/answer)" = 0 ]
}
bad() {  # bad WHAT: policy.yaml is what it is
  local before told
  before=$(records policy-rejected) told=$(grep -c 'policy: rejected' $W/log/asks.err)
  kill -HUP "$launcher"
  expect "$1: refused" within 5 more policy-rejected "$before"
  more_told() { [ "$(grep -c 'policy: rejected' $W/log/asks.err)" -gt "$told" ]; }
  expect "  told on stderr" within 2 more_told
  expect "  the policy before is in force" test "$(last policy-loaded sandbox.policy.hash)" = "$hash"
  expect "  and serves" works
}
printf 'version: 2\n' | put; bad "another version"
printf 'version: 1\nname: world\negres: []\n' | put; bad "a key that does not exist"
printf '\tversion: 1\n' | put; bad "not YAML"
printf '' | put; bad "an empty file"
{ file "$HEAD" "$ALL"; printf 'tests:\n  - {to: %s, port: tcp/80, expect: deny}\n' $CLOSED4; } | put; bad "a test of its own that fails"
{ file "$HEAD" "$ALL"; head -c 300000 /dev/zero | tr '\0' '#'; } | put; bad "more than 256 KiB"
{ printf "$HEAD"'egress: '; head -c 5000 /dev/zero | tr '\0' '['; } | put; bad "nested without end"
head -c 4096 /dev/urandom | put; bad "noise"
rm $W/policy.yaml; bad "no file"
ln -s nowhere $W/policy.yaml; bad "a link that leads nowhere"
rm $W/policy.yaml; mkdir $W/policy.yaml; bad "a directory"
rmdir $W/policy.yaml; mkfifo $W/policy.yaml; bad "a pipe that nobody writes"
rm $W/policy.yaml

metric() { in_host "$CORDON" ctl --socket $W/control.sock metrics | sed -n "s/^$1 //p"; }
expect "each is counted" test "$(metric cordon_policy_load_errors_total)" = "$(records policy-rejected)"
expect "cordon ctl reload fails" not in_host "$CORDON" ctl --socket $W/control.sock reload

put_closed
loaded=$(records policy-loaded)
kill -HUP "$launcher"
expect "a good one is taken again" within 5 more policy-loaded "$loaded"
expect "and holds" not works
loads=$(records policy-loaded)
for i in $(seq 1 60); do
  if [ $((i % 2)) = 0 ]; then put_open; else put_closed; fi
  kill -HUP "$launcher"
done
put_open "$HEAD"'description: the last one\n'
kill -HUP "$launcher"
expect "sixty reloads in a row: the last one is in force" within 10 works
say "  $(($(records policy-loaded) - loads)) loads for 61 signals"
expect "the same broker" test -n "$(role broker)"
touch $W/log/done
wait "${pid_of[asks]}"

say "--- on_reload_error: deny"
put_open "$HEAD"'on_reload_error: deny\n'
flows
printf 'nonsense\n' | put
kill -HUP "$(role launcher)"
within 20 gone_quietly
for address in $CLOSED4 $CLOSED6; do
  expect "  TCP to $address is cut" revoked policy-changed policy-changed $address tcp
  expect "  UDP, too" revoked policy-changed policy-changed $address udp
done

say "--- reload: drain"
put_open "$HEAD"'reload: drain 2s\n'
STEADY_MS=5000 flows
put_closed "$HEAD"'reload: drain 2s\n'
loaded=$(records policy-loaded)
kill -HUP "$(role launcher)"
within 5 more policy-loaded "$loaded"
sleep 1
expect "  after 1 s they live" test "$(records flow-revoked)" = 0
sleep 2
expect "  after 3 s they do not" test "$(records flow-revoked)" = 4
all_cut rule-deny policy-changed
others_unharmed

say "--- until and expires: time alone"
soon() { date -u -d "+$1 seconds" +%Y-%m-%dT%H:%M:%SZ; }
file "$HEAD" "{name: brief, allow: [$CLOSED4, \"$CLOSED6\"], until: $(soon 4)}" "$CLOSED" "$ALL" | put
STEADY_MS=7000 flows
all_cut rule-deny expired
others_unharmed
put_open "$HEAD""expires: $(soon 4)"'\n'
flows
within 20 gone_quietly
for address in $CLOSED4 $CLOSED6; do
  expect "  TCP to $address is cut when the file expires" revoked expired expired $address tcp
  expect "  UDP, too" revoked expired expired $address udp
done
finish
