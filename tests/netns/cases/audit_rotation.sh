# The log under people's hands: renamed and replaced while records come, a full disk, a size limit, a FIFO nobody reads.
# No line is torn, none is in two files, and what is lost is told.
. "$(dirname "$0")/../world.sh"
cat >$W/policy.yaml <<POLICY
version: 1
name: world
egress:
  - {name: shut, deny: any}
POLICY
# One refusal for each port, some a second.
cat >$W/knocks <<SH
#!/bin/bash
for port in \$(seq 1 \$1); do
  echo x 2>/dev/null >/dev/udp/198.51.100.10/\$port
  [ \$((port % 10)) != 0 ] || sleep 0.05
done
sleep \${2:-0}
SH
chmod 755 $W/knocks
cat >$W/read <<'PYTHON'
# read.py WHAT FILE...: every line is a record, and their numbers go on from file to file.
import json, sys
records = []
for name in sys.argv[2:]:
    for line in open(name):
        records.append(json.loads(line))
refused = [r for r in records if r["event.action"] == "flow-denied"]
ports = {r["destination.port"] for r in refused}
lost = sum(r["event.count"] for r in records if r["event.action"] == "audit-dropped") + \
    sum(r.get("sandbox.audit.dropped", 0) for r in records)
numbers = [r["event.sequence"] for r in records if r["event.action"] != "engine-failed"]
print("records", len(records), "refused", len(refused), "ports", len(ports), "lost", lost, "files", len(sys.argv) - 2)
if sys.argv[1] == "whole":
    sys.exit(not (numbers == list(range(1, len(numbers) + 1)) and len(ports) == 400 and lost == 0))
sys.exit(not (len(ports) + lost == 400 and lost > 0 and numbers == sorted(set(numbers))))
PYTHON

# Renamed as logrotate does, with the new file made by the renamer, by us, or deleted; and by signal.
guest -- $W/knocks 400 2 & running=$!
for i in 1 2 3 4 5; do
  within 10 test -s "$AUDIT"
  sleep 0.2
  mv "$AUDIT" "$AUDIT.$i"
  case $i in
    1) : >"$AUDIT" ;;
    2) kill -USR1 "$(role launcher)" ;;
    3) install -m 600 /dev/null "$AUDIT.new" && mv "$AUDIT.new" "$AUDIT" ;;
  esac
done
wait $running
expect "no record is lost or torn by rotation" python3 $W/read whole "$AUDIT".[1-5] "$AUDIT"

mkdir $W/small && mount -t tmpfs -o size=8k none $W/small && chmod 777 $W/small || die "tmpfs"
AUDIT=$W/small/audit.jsonl
fill_and_free() {
  guest -- $W/knocks 400 12 &
  running=$!
  sleep 6
  mount -o remount,size=4m $W/small
  wait $running
}
expect "a full disk stops nothing" fill_and_free
expect "and what was lost is told when there is room again" python3 $W/read lossy "$AUDIT"

AUDIT=$W/log/limited.jsonl
limited() { (ulimit -f 4; guest -- $W/knocks 50); }
expect "nor does a limit on the file's size" limited
expect "which the file keeps" test "$(stat -c %s "$AUDIT")" -le 8192

AUDIT=$W/log/fifo
mkfifo "$AUDIT"
fifo() { LIMIT=40 guest -- $W/knocks 400; }
expect "nor a FIFO that nobody reads" fifo

AUDIT=journald
nobody() { guest -- true 2>$W/log/nobody; [ $? = 125 ] && grep -q "^cordon: --audit-log journald " $W/log/nobody; }
expect "without journald the start says so" nobody
finish
