# What a policy may say beside yes and no, with real traffic: an audit file that only notes its no, refusals that are
# silent or told, and records of what is allowed with its volumes.
. "$(dirname "$0")/../world.sh"
start server server $TRAFFIC server $PORT
OPEN='{name: open, allow: [192.0.2.0/24, 198.51.100.0/24, "2001:db8::/32"], ports: [tcp, udp, icmp/echo]}'
SHUT='{name: shut, deny: [192.0.2.0/24, "2001:db8::/32"]}'

# ask.py tcp|udp ADDRESS: how a flow of the guest's begins, after how many milliseconds, and the errors by ICMP that came.
cat >$W/ask <<'PYTHON'
import errno, socket, sys, time
kind, address = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
def told():
    v4 = [line.split() for line in open("/proc/net/snmp") if line.startswith("Icmp:")]
    v6 = dict(line.split() for line in open("/proc/net/snmp6"))
    return int(dict(zip(*v4))["InDestUnreachs"]) + int(v6["Icmp6InDestUnreachs"])
before, begun = told(), time.monotonic()
with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as s:
    s.settimeout(1.5)
    try:
        s.connect((address, PORT))
        answer = "connected"
        if kind == "udp":
            s.send(b"hello")
            answer = "answered" if s.recv(100) == b"hello" else "something else"
    except TimeoutError:
        answer = "silence"
    except OSError as error:
        answer = errno.errorcode[error.errno]
print(answer, "icmp:", told() - before, "ms:", int(1000 * (time.monotonic() - begun)))
PYTHON
sed -i "s/PORT))/$PORT))/" $W/ask
# answer TRANSPORT ADDRESS ANSWER ICMP LEAST_MS MOST_MS
answer() {
  local got
  got=$(guest -- python3 $W/ask "$1" "$2") || { say "status $?: $got"; return 1; }
  say "$got"
  [[ $got =~ ^([A-Za-z]+)\ icmp:\ ([0-9]+)\ ms:\ ([0-9]+)$ ]] || return 1
  [ "${BASH_REMATCH[1]}" = "$3" ] && [ "${BASH_REMATCH[2]}" = "$4" ] && [ "${BASH_REMATCH[3]}" -ge "$5" ] &&
    [ "${BASH_REMATCH[3]}" -lt "$6" ]
}

cat >$W/has <<'PYTHON'
# has.py AUDIT FIELD=VALUE...: the records for which all of it is true; exit status 1 when there is none. "+": some number.
import json, sys
wanted = [w.split("=", 1) for w in sys.argv[2:]]
def is_so(record, name, value):
    got = record.get(name)
    if value == "+":
        return isinstance(got, int) and got > 0
    return (",".join(got) if isinstance(got, list) else "null" if got is None else str(got)) == value
found = [r for r in map(json.loads, open(sys.argv[1])) if all(is_so(r, *w) for w in wanted)]
print(len(found), "records")
sys.exit(not found)
PYTHON
record() { python3 $W/has "$AUDIT" "$@"; }
policy() {  # policy FILE HEAD RULE...
  local file=$W/$1 head=$2
  shift 2
  { printf 'version: 1\nname: %s\n%begress:\n' "$(basename "$file" .yaml)" "$head"; printf '  - %s\n' "$@"; } >"$file"
  : >"$AUDIT"
}

say "--- mode: audit"
policy policy.yaml 'mode: audit\n' "$SHUT"
for address in $SERVER4 $SERVER6; do
  expect "TCP to $address passes" guest -- $TRAFFIC send "$address" $PORT 1000000
  expect "UDP to $address passes" guest -- $TRAFFIC udp-sizes "$address" $PORT 100 1000
  for transport in tcp udp; do
    expect "the record says who would not have it: $transport" record event.action=flow-allowed \
      sandbox.verdict=would-deny sandbox.would_deny=policy destination.ip="$address" network.transport=$transport
  done
done
expect "nothing is recorded as denied" not record event.action=flow-denied
expect "the host is none of a file's business" answer tcp 192.0.2.131 ECONNREFUSED 0 0 1000
expect "and its record says denied" record event.action=flow-denied event.reason=host-address sandbox.verdict=deny

say "--- an audit file beside one that decides"
policy policy.yaml '' "$OPEN"
policy trial.yaml 'mode: audit\n' '{name: half, allow: [192.0.2.0/24]}'
both() { guest --policy $W/trial.yaml -- "$@"; }
expect "what both allow passes" both $TRAFFIC send $SERVER4 $PORT 100000
expect "without a record" not record destination.ip=$SERVER4
expect "what only the first allows passes" both $TRAFFIC send $SERVER6 $PORT 100000
expect "with a record" record event.action=flow-allowed sandbox.verdict=would-deny sandbox.would_deny=trial \
  destination.ip=$SERVER6
expect "what the first denies does not" both $TRAFFIC refused 10.99.0.1 $PORT

say "--- refuse: reject, which is the default"
for head in '' 'refuse: reject\n'; do
  policy policy.yaml "$head" "$SHUT"
  for address in $SERVER4 $SERVER6; do
    expect "TCP to $address is reset at once" answer tcp $address ECONNREFUSED 0 0 1000
  done
  expect "UDP over IPv4 is told by ICMP" answer udp $SERVER4 EHOSTUNREACH 1 0 1000
  expect "UDP over IPv6 is told by ICMP" answer udp $SERVER6 EACCES 1 0 1000
done

say "--- refuse: drop"
policy policy.yaml 'refuse: drop\n' "$SHUT"
for address in $SERVER4 $SERVER6; do
  for transport in tcp udp; do
    expect "$transport to $address: silence" answer $transport $address silence 0 1400 5000
    expect "its record says denied" record event.action=flow-denied event.reason=rule-deny sandbox.verdict=deny \
      destination.ip="$address" network.transport=$transport
  done
done

say "--- log: none, new, all"
policy policy.yaml '' '{name: new, allow: [192.0.2.10], log: new}' '{name: all, allow: ["2001:db8::10"], log: all}' \
  '{name: none, allow: [198.51.100.10], log: none}' "$OPEN"
for address in 198.51.100.10 $SERVER4 $SERVER6; do
  # Cordon ends with the command, and what is open then has no record of its end.
  expect "TCP to $address" guest -- sh -c "$TRAFFIC send $address $PORT 1000000 && sleep 1"
  expect "UDP to $address" guest -- $TRAFFIC udp-sizes $address $PORT 1000
done
expect "none: no record" not record destination.ip=198.51.100.10
for transport in tcp udp; do
  for address in $SERVER4 $SERVER6; do
    expect "$transport to $address: its beginning" record event.action=flow-allowed sandbox.verdict=allow \
      destination.ip=$address network.transport=$transport
  done
  expect "new: not its end: $transport" not record event.action=flow-ended destination.ip=$SERVER4
done
expect "all: its end, with volumes" record event.action=flow-ended rule.name=all destination.ip=$SERVER6 \
  network.transport=tcp source.bytes=+ destination.bytes=+ event.duration=+ sandbox.end=fin
volume() {  # all that was sent, and what the program says before it
  local bytes
  bytes=$(grep -F '"event.action":"flow-ended"' "$AUDIT" | grep -F '"network.transport":"tcp"' | number source.bytes)
  say "$bytes bytes"
  [ "$bytes" -ge 1000000 ] && [ "$bytes" -le 1000200 ]
}
expect "all: the volume is what was sent" volume
finish
