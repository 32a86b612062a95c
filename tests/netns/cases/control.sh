# The control socket of real instances: what cordon ctl shows agrees with traffic and audit records, what it asks is
# done, and nobody else may.
. "$(dirname "$0")/../world.sh"
command -v python3 >/dev/null || { say "python3 is not installed"; exit 77; }
start server server $TRAFFIC server $PORT

# One guest works off what is written to a pipe.
mkfifo $W/log/work && chmod 666 $W/log/work && exec 9<>$W/log/work
worker="echo ready; while read -r line; do eval \"\$line\"; done <$W/log/work"
begin() { rm -f $W/log/$1.status; echo "($2) >$W/log/$1.out 2>&1; echo \$? >$W/log/$1.status" >&9; }
ended() { within ${2:-20} test -s $W/log/$1.status && return "$(<$W/log/$1.status)"; }
in_guest() { begin asked "$*" && ended asked && cat $W/log/asked.out; }
ctl() { timeout 40 "$CORDON" ctl "$@"; }
says() { local text=$1; shift; "$@" >$W/log/says 2>&1; grep -qF -e "$text" $W/log/says || { cat $W/log/says; false; }; }
status_is() { local wanted=$1; shift; "$@"; [ $? = "$wanted" ]; }
value() { ctl --json status | python3 -c "import json, sys; print(json.load(sys.stdin)$1)"; }

background one --name one -- sh -c "$worker"
SOCKET=/run/cordon/one.sock
expect "the socket is the owner's alone" [ "$(stat -c %a-%F $SOCKET)" = 600-socket ]

# --- status and flows
expect "status tells the policy file" says "policy.yaml (world): enforce" ctl status
expect "status in JSON" [ "$(value '["guest"]')" = one ]
expect "the uplink is known" [ "$(value '["host"]["uplinks"]')" = "['up0']" ]
expect "no flow yet" [ -z "$(ctl --json flows)" ]
begin cut "$TRAFFIC cut $SERVER4 $PORT 30"
expect "the flow is listed with its rule and place" within 5 says "world/documentation  /run/cordon-world/policy.yaml:4" ctl flows
ctl --json flows >$W/log/flows
expect "as JSON" python3 - $W/log/flows <<END
import json, sys
lines = open(sys.argv[1]).read().splitlines()
assert len(lines) == 1, lines
flow = json.loads(lines[0])
assert flow["remote"] == "$SERVER4:$PORT" and flow["protocol"] == "tcp" and flow["direction"] == "out", flow
assert flow["state"] == "live" and flow["rule"] == "documentation" and flow["interface"] == "up0", flow
assert flow["bytes"] > 0 and flow["age_ms"] < 30000 and flow["class"] == "documentation", flow
END

# --- kill
expect "a filter that matches nothing" status_is 1 ctl kill --port 1
expect "the flow is still there" [ "$(value '["flows"]["live"]')" = 1 ]
expect "kill counts" says "killed 1 flow" ctl kill --rule world/documentation
expect "its client sees a reset" ended cut
say "  $(<$W/log/cut.out)"
expect "a reset, not an end" grep -q reset $W/log/cut.out
expect "the record names the operator" within 3 recorded '"event.action":"flow-revoked"' '"sandbox.cause":"operator"'
expect "new flows go on" in_guest "$TRAFFIC send $SERVER6 $PORT 1000000"

# --- reload
cp $W/policy.yaml $W/good.yaml
sed -i 's/^name: world/name: world2/' $W/policy.yaml
expect "a good file comes into force" says "in force: policy generation 2" ctl reload
sed -i 's/^egress:/egres:/' $W/policy.yaml
expect "a bad one does not" status_is 1 ctl reload
expect "and the reason is told" says 'did you mean "egress"?' ctl reload
expect "as data, too" says '"code":"P103"' ctl --json reload
expect "status remembers it" says "REJECTED" ctl status
expect "the one before stays" [ "$(value '["policy"]["generation"]')" = 2 ]
expect "for traffic, too" in_guest "$TRAFFIC send $SERVER4 $PORT 1000000"
cp $W/good.yaml $W/policy.yaml
expect "reload goes back" says "in force: policy generation 3" ctl reload
expect "and the reason is forgotten" [ "$(value '["policy"]["last_error"]')" = None ]

# --- under the built-in policy an operator's file may appear later
made=no
mkdir /etc/cordon 2>/dev/null && made=yes
if [ -d /etc/cordon ] && [ ! -e /etc/cordon/policy.yaml ] && mount -t tmpfs none /etc/cordon; then
  : >$W/log/builtin.out
  timeout 60 ip netns exec host "$CORDON" run --quiet --control $W/builtin.sock -- sh -c 'echo ready; sleep 50' >$W/log/builtin.out 2>&1 &
  builtin=$!
  within 20 grep -q ready $W/log/builtin.out || die "built-in: $(cat $W/log/builtin.out)"
  expect "without any file there is nothing to reload" says "there is no policy file" ctl --socket $W/builtin.sock reload
  cp $W/good.yaml /etc/cordon/policy.yaml
  expect "a file that came since comes into force" says "in force: policy generation 2" ctl --socket $W/builtin.sock reload
  kill $builtin && wait $builtin
  umount /etc/cordon
else
  say "note: /etc/cordon cannot be had: no check of a file that appears"
fi
[ $made = no ] || rmdir /etc/cordon

# --- clients who do nothing, and too much
python3 - $SOCKET <<END 9<&- &
import socket, sys, time
held = []
for i in range(15):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.send(b"{")
    held.append(s)
open("$W/log/held", "w").close()
time.sleep(120)
END
silent=$!
within 10 test -e $W/log/held || die "no silent clients"
expect "with 15 silent clients status answers" says "guest" ctl status
expect "and traffic flows" in_guest "$TRAFFIC receive $SERVER4 $PORT $((BYTES / 16))"
expect "and so do new flows" in_guest "$TRAFFIC many $SERVER4 $PORT 200"
kill $silent
expect "nonsense is answered and harms nobody" python3 - $SOCKET <<END
import json, os, socket, sys
for line in (b"{]", b"[]", b"null", b'{"jsonrpc":"2.0","method":"x","id":1}', b"[" * 60000, b"\xff\xfe"):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.settimeout(10)
    s.sendall(line + b"\n")
    answer = json.loads(s.makefile().readline())
    assert answer["jsonrpc"] == "2.0" and answer["error"]["code"] < 0, answer
for i in range(20):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.setblocking(False)
    try: s.send(os.urandom(300000))
    except BrokenPipeError: pass
END
expect "status still answers" says "guest" ctl status
head_of() { "$CORDON" ctl "$@" 2>$W/log/pipe.err | head -n1 >/dev/null; [ "${PIPESTATUS[0]}" = 0 ] && [ ! -s $W/log/pipe.err ]; }
expect "a reader that leaves is no error" head_of metrics

# --- metrics: strictly parsed, and the same counts as in the records
in_guest "for i in 1 2 3 4 5 6 7; do $TRAFFIC denied ${HOST4[0]} $PORT; done" >/dev/null
in_guest "$TRAFFIC denied 203.0.113.7 $PORT; $TRAFFIC denied fd00:dead::1 $PORT" >/dev/null
ctl metrics >$W/log/metrics
expect "the text is what Prometheus reads" python3 "$(dirname "$0")/../metrics.py" $W/log/metrics
other() { setpriv --reuid=65534 --regid=65534 --clear-groups "$CORDON" ctl --socket $SOCKET status; }
if [ "$CORDON_CALLER" = 0 ]; then
  expect "another user is not permitted" status_is 2 other
  chmod 755 /run/cordon && chmod 666 $SOCKET
  expect "not even where the file's mode would let him" says "another user" other
  chmod 700 /run/cordon && chmod 600 $SOCKET
else
  say "note: another user needs root to try"
fi
expect "the guest is not" status_is 2 in_guest "$CORDON ctl --socket $SOCKET status"

# --- several instances
background two --name two -- sh -c "echo ready; sleep 60"
expect "with two, one must be named" says "choose one by --name: one, two" ctl status
expect "by name" says "two" ctl --name two status
expect "list shows both" says "two   " ctl list
kill -TERM ${pid_of[two]}
expect "the second ends" within 10 gone ${pid_of[two]}
expect "and is not listed any more" [ "$(ctl list | wc -l)" = 2 ]

# --- the end
echo exit >&9
expect "the first ends" within 10 gone ${pid_of[one]}
expect "records and metrics agree" python3 "$(dirname "$0")/../metrics.py" $W/log/metrics "$AUDIT"
expect "its socket is gone" [ ! -e $SOCKET ]
expect "and nobody answers" status_is 2 ctl status
finish
