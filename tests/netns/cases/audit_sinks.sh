# The other sinks of records: stderr, journald's native socket and syslog's, with real sockets in their places.
. "$(dirname "$0")/../world.sh"
cat >$W/daemon.py <<'PYTHON'
# Stands for the daemon: one line of JSON for each datagram.
import json, os, socket, sys
os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
daemon.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
print("ready", flush=True)
while True:
    print(json.dumps(daemon.recv(1 << 20).decode()), flush=True)
PYTHON
cat >$W/said.py <<'PYTHON'
# said.py JSON-LINES FORMAT: the denials are there, each once, whole and in the daemon's own words.
import json, sys
texts = [json.loads(line) for line in open(sys.argv[1]) if line != "ready\n"]
denials = [text for text in texts if "198.51.100.7" in text]
transports = set()
for text in denials:
    if sys.argv[2] == "journal":
        fields = dict(line.split("=", 1) for line in text.splitlines())
        record = json.loads(fields["CORDON_RECORD"])
        wanted = fields["SYSLOG_IDENTIFIER"] == "cordon" and "198.51.100.7" in fields["MESSAGE"]
        wanted = wanted and fields["CORDON_REASON"] == "no-rule"
    else:
        # RFC 3164 as /dev/log speaks it: <PRI>; facility authpriv (10), a warning or a notice.
        head, json_part = text[:text.index("{")], text[text.index("{"):]
        priority, record = int(head[1:head.index(">")]), json.loads(json_part)
        wanted = head.startswith("<") and priority // 8 == 10 and priority % 8 in (4, 5) and " cordon" in head
    transports.add(record["network.transport"])
    if not wanted or record["destination.ip"] != "198.51.100.7" or record["event.reason"] != "no-rule":
        sys.exit("not as expected: " + text)
if len(denials) != 3 or transports != {"tcp", "udp"}:
    sys.exit("%d records of %s among %d" % (len(denials), transports, len(texts)))
print(denials[0].replace("\n", " ")[:150])
PYTHON
sed -i 's/\[192.0.2.0\/24, 198.51.100.0\/24/[192.0.2.0\/24/' $W/policy.yaml
deny() { in_host timeout 30 "$CORDON" run --quiet --policy $W/policy.yaml --audit-log "$1" -- "$TRAFFIC" denied 198.51.100.7 80; }

says_not_there() {
  local status
  deny "$1" >$W/log/absent 2>&1
  status=$?
  cat $W/log/absent
  [ $status = 125 ] && grep -qF "$2" $W/log/absent
}

expect "stderr: the guest is refused" eval 'deny stderr 2>$W/log/stderr.out'
expect "stderr: each line is a record" python3 -c '
import json, sys
records = [json.loads(line) for line in open(sys.argv[1])]
denied = [r for r in records if r.get("destination.ip") == "198.51.100.7"]
print(len(records), "records")
sys.exit(len(denied) != 3 or any(r["event.reason"] != "no-rule" for r in denied))' $W/log/stderr.out

expect "journald is not there: an error that says so" says_not_there journald /run/systemd/journal/socket
start journald host python3 $W/daemon.py /run/systemd/journal/socket
expect "journald: the guest is refused" deny journald
expect "journald: a datagram of fields for each" within 3 python3 $W/said.py $W/log/journald.out journal

# A /dev of our own, so that the machine's daemon hears nothing.
if [ "$CORDON_CALLER" = 0 ]; then
  mkdir $W/dev && mount -t tmpfs -o mode=755 none $W/dev && cp -a /dev/{null,zero,full,random,urandom} $W/dev/ || die "/dev"
  mkdir $W/dev/net && touch $W/dev/net/tun && mount --bind /dev/net/tun $W/dev/net/tun && ln -s /proc/self/fd $W/dev/fd || die "/dev"
  mount --move $W/dev /dev || die "/dev"
  expect "syslog is not there: an error that says so" says_not_there syslog /dev/log
  start syslog host python3 $W/daemon.py /dev/log
  expect "syslog: the guest is refused" deny syslog
  expect "syslog: a datagram for each" within 3 python3 $W/said.py $W/log/syslog.out syslog
else
  say "note: a /dev of one's own needs root"
fi
finish
