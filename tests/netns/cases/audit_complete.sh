# Nothing is denied in silence: a guest sends a known number of packets of every kind, each a flow of its own or none;
# what it sent, what the translator and the broker counted, what the records say together, what `cordon ctl metrics` shows
# and what left the machine must agree to the packet.
. "$(dirname "$0")/../world.sh"
[ "$CORDON_CALLER" = 0 ] || { say "skipped: needs root inside the guest"; exit 77; }
cat >$W/policy.yaml <<POLICY
version: 1
name: world
egress:
  - {name: few, allow: [192.0.2.53, "2001:db8::53"], ports: [udp], log: all, limits: {connections: 5}}
  - {name: slow, allow: [192.0.2.54], ports: [udp], limits: {new: 6/min}}
  - name: open
    allow: [192.0.2.0/24, "2001:db8::/64"]
    ports: [tcp, udp, icmp/echo]
    log: all
  - {name: shut, deny: [198.51.100.0/24, "2001:db8:dead::/48"], ports: [udp]}
POLICY

cat >$W/frames <<'PYTHON'
#!/usr/bin/env python3
# Frames of the guest's own making, numbered by their source port so that each is a flow of its own.
import fcntl, json, os, socket, struct, sys, time

device = [line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line and "lo:" not in line][0]
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind((device, 0))
mac = fcntl.ioctl(link, 0x8927, struct.pack("256s", device.encode()))[18:24]
# The gateway's address is that of the answer to any ping of it.
gateway = bytes(int(x, 16) for x in sys.argv[1].split(":"))

def total(data):
    data += b"\0" * (len(data) % 2)
    sum_ = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while sum_ >> 16:
        sum_ = (sum_ & 0xFFFF) + (sum_ >> 16)
    return ~sum_ & 0xFFFF

def packet(to, payload, protocol=17, source="10.0.2.15", first=0x45, kind=0x0800):
    head = struct.pack("!BBHHHBBH4s4s", first, 0, 20 + len(payload), 7, 0, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(to))
    head = head[:10] + struct.pack("!H", total(head)) + head[12:]
    return gateway + mac + struct.pack("!H", kind) + head + payload

def udp(to, port, source=None, number=0):
    return packet(to, struct.pack("!HHHH", 20000 + number, port, 9, 0) + b"x", source=source or "10.0.2.15")

def total6(source, to, protocol, payload):
    return total(source + to + struct.pack("!II", len(payload), protocol) + payload)

def packet6(to, payload, protocol=17, source="fd00:c0:2d::15"):
    source, to = socket.inet_pton(socket.AF_INET6, source), socket.inet_pton(socket.AF_INET6, to)
    payload = payload[:6] + struct.pack("!H", total6(source, to, protocol, payload)) + payload[8:]
    return gateway + mac + struct.pack("!HIHBB", 0x86dd, 6 << 28, len(payload), protocol, 64) + source + to + payload

def udp6(to, port, source="fd00:c0:2d::15", number=0):
    return packet6(to, struct.pack("!HHHH", 20000 + number, port, 9, 0) + b"x", source=source)

def tcp(to, port, flags, number=0):
    head = struct.pack("!HHIIBBHHH", 20000 + number, port, 1000 + (flags == 4), 0, 0x50, flags, 65535, 0, 0)
    sum_ = total(socket.inet_aton("10.0.2.15") + socket.inet_aton(to) + struct.pack("!HH", 6, len(head)) + head)
    return packet(to, head[:16] + struct.pack("!H", sum_) + head[18:], protocol=6)

# Somebody has the ports that answers come to, else the guest's kernel sends errors of its own.
held = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(46)]
for number, holder in enumerate(held):
    holder.bind(("::", 20000 + number))

sent = {}
def send(what, frames):
    sent[what] = 0
    for frame in frames:
        link.send(frame)
        sent[what] += 1
        if sent[what] % 50 == 0:
            time.sleep(0.01)  # the interface's queue is shorter than a scan

send("rule-deny", (udp("198.51.100.10", port) for port in range(1, 3001)))
send("no-rule", (udp("203.0.113.%d" % i, 80, number=i) for i in range(1, 41)))
send("host-address", (udp("192.0.2.131", 7777, number=i) for i in range(30)))
send("metadata", (udp("169.254.169.254", 80, number=i) for i in range(20)))
send("floor", (udp("240.0.0.1", 9, number=i) for i in range(25)))
send("groups", (udp("239.255.255.250", 1900, number=i) for i in range(35)))
send("source-spoof", (udp("192.0.2.10", 7777, source="10.9.9.%d" % (i % 7 + 1), number=i) for i in range(300)))
send("malformed", (packet("192.0.2.10", b"", first=0x42) for i in range(60)))
send("cut short", (packet("192.0.2.10", b"\1\2", protocol=6) for i in range(15)))
send("unsupported-protocol", (packet("192.0.2.10", bytes(12), protocol=132) for i in range(70)))
send("foreign frames", (packet("192.0.2.10", b"", kind=0x88b5) for i in range(10)))
send("allowed", (udp("192.0.2.10", 7777, number=i) for i in range(45)))
send("rule-deny 6", (udp6("2001:db8:dead::10", port) for port in range(1, 201)))
send("no-rule 6", (udp6("2600::%x" % i, 80, number=i) for i in range(1, 31)))
send("host-address 6", (udp6("2001:db8::131", 7777, number=i) for i in range(22)))
send("metadata 6", (udp6("fd00:ec2::254", 80, number=i) for i in range(18)))
send("floor 6", (udp6("100::1", 9, number=i) for i in range(16)))
send("groups 6", (udp6("ff0e::1234", 1900, number=i) for i in range(14)))
send("source-spoof 6", (udp6("2001:db8::10", 7777, source="2001:db8:9::%x" % (i % 5 + 1), number=i) for i in range(110)))
send("allowed 6", (udp6("2001:db8::10", 7777, number=i) for i in range(33)))
send("over connections", (udp("192.0.2.53", 7777, number=i) for i in range(15)))
send("over connections 6", (udp6("2001:db8::53", 7777, number=i) for i in range(12)))
send("over new", (udp("192.0.2.54", 7777, number=i) for i in range(19)))
send("refused by the server", (tcp("192.0.2.10", 9, 2, number=i) for i in range(8)))
send("given up", (tcp("192.0.2.77", 80, 2, number=i) for i in range(11)))
time.sleep(0.5)
send("that is, reset", (tcp("192.0.2.77", 80, 4, number=i) for i in range(11)))
dropped = [int(line.split(":")[1].split()[11]) for line in open("/proc/net/dev") if device in line][0]
json.dump(sent | {"dropped by the interface": dropped}, open(sys.argv[2] + ".new", "w"))
os.rename(sys.argv[2] + ".new", sys.argv[2])
for _ in range(1000):
    if os.path.exists(sys.argv[3]):
        break
    time.sleep(0.01)
PYTHON
chmod 755 $W/frames
cat >$W/speaks <<SH
#!/bin/bash
ping -n -c 1 -W 2 10.0.2.2 >/dev/null
gateway=\$(ip neigh show 10.0.2.2 | sed -n 's/.*lladdr \([0-9a-f:]*\).*/\1/p')
$TRAFFIC many $SERVER4 $PORT 20 || exit 3
exec $W/frames "\$gateway" $W/log/sent.json $W/log/metrics.done
SH
chmod 755 $W/speaks

cat >$W/compare <<'PYTHON'
import json, re, sys
sent = json.load(open(sys.argv[1]))
records = [json.loads(line) for line in open(sys.argv[2])]
counters = dict((k, int(v)) for k, v in re.findall(r"(\w+)=(\d+)", re.search(r"counters:(.*)", open(sys.argv[3]).read())[1]))
metrics = [(dict(re.findall(r'(\w+)="([^"]*)"', labels)), int(value)) for labels, value in
           re.findall(r"^cordon_flows_total\{(.*)\} (\d+)$", open(sys.argv[4]).read(), re.M)]
packets = dict((reason, int(value)) for reason, value in
               re.findall(r'^cordon_packets_denied_total\{reason="([^"]*)"\} (\d+)$', open(sys.argv[4]).read(), re.M))
def shown(**want):
    return sum(value for labels, value in metrics if all(labels[key] == text for key, text in want.items()))
def both(kind):
    return sent[kind] + sent[kind + " 6"]
get = lambda name: counters.get(name, 0)
def told(action, reason=None):
    return sum(r["event.count"] for r in records if r["event.action"] == action and r["event.reason"] == reason)
bad = 0
def same(what, **values):
    global bad
    agree = len(set(values.values())) == 1
    bad += not agree
    print("ok" if agree else "DIFFERENT", what, values)
same("nothing was lost on the way into the interface", dropped=sent["dropped by the interface"], none=0)
for reason in ("rule-deny", "no-rule", "host-address", "metadata"):
    same(reason, sent=both(reason), records=told("flow-denied", reason), metrics=shown(verdict="deny", reason=reason))
same("the floor", sent=both("floor"), records=told("flow-denied", "special-address"),
     metrics=shown(verdict="deny", reason="special-address", layer="floor"))
same("over connections", sent=sent["over connections"] + sent["over connections 6"] - 5,
     records=told("flow-denied", "limit-connections"), metrics=shown(verdict="deny", reason="limit-connections", rule="few"))
same("over new", sent=sent["over new"] - 6, records=told("flow-denied", "limit-new"),
     metrics=shown(verdict="deny", reason="limit-new", rule="slow"))
same("groups", sent=both("groups"), records=told("packet-denied", "special-address"),
     counted=get("drop_multicast") + get("drop_broadcast"), metrics=packets.get("special-address"))
same("spoofs", sent=both("source-spoof"), records=told("packet-denied", "source-spoof"), counted=get("drop_spoofed"),
     metrics=packets.get("source-spoof"))
same("malformed", sent=sent["malformed"] + sent["cut short"], records=told("packet-denied", "malformed"),
     counted=sum(get(n) for n in ("drop_malformed", "drop_offload", "drop_fragment", "drop_lan_broken")),
     metrics=packets.get("malformed"))
same("protocols", sent=sent["unsupported-protocol"] + sent["foreign frames"],
     records=told("packet-denied", "unsupported-protocol"), counted=get("drop_protocol") + get("drop_ether_type"),
     metrics=packets.get("unsupported-protocol"))
no_connection = sent["refused by the server"] + sent["given up"]
logged = both("allowed") + 20 + 5 + no_connection  # the rule `slow` has no log
same("flows that were allowed", records=told("flow-allowed"), sent=logged, metrics=shown(verdict="allow") - 6)
same("flows that were granted", counted=get("flows_granted"), sent=logged - no_connection + 6)
same("allowed without a record", metrics=shown(verdict="allow", rule="slow"), sent=6)
same("flows that ended", records=sum(r["event.count"] for r in records if r["event.action"] == "flow-ended"),
     allowed=told("flow-allowed"))
same("flows that were asked for", counted=get("flows_requested"),
     records=sum(r["event.count"] for r in records if r["event.action"] in ("flow-denied", "flow-allowed")) + 6,
     metrics=shown())
same("denied for any reason", records=sum(r["event.count"] for r in records if r["event.action"] == "flow-denied"),
     sent=sum(both(r) for r in ("rule-deny", "no-rule", "host-address", "metadata", "floor", "over connections")) - 5 +
     sent["over new"] - 6, metrics=shown(verdict="deny"))
same("records lost", numbers=records[-1]["event.sequence"] - len(records), none=0)
same("audit-dropped", records=sum(r["event.action"] == "audit-dropped" for r in records), none=0)
same("the first record says what runs", action=records[0]["event.action"], want="policy-loaded")
print("lines:", len(records))
sys.exit(bad != 0)
PYTHON

# What leaves the machine, by where it was going.
ip netns exec server nft -f - <<NFT || die "nft"
table inet seen {
  counter denied {}
  counter allowed {}
  chain input {
    type filter hook prerouting priority -300;
    iifname dn0 ip daddr { 198.51.100.0/24, 203.0.113.0/24, 169.254.0.0/16, 240.0.0.0/4, 224.0.0.0/4 } counter name denied
    iifname dn0 ip protocol { 132 } counter name denied
    iifname dn0 ip6 daddr { 2001:db8:dead::/48, 2600::/16, fd00:ec2::/32, 100::/64, ff0e::/16 } counter name denied
    ip daddr 192.0.2.77 drop
    iifname dn0 ip daddr $SERVER4 counter name allowed
  }
}
NFT
seen() { ip netns exec server nft list counter inet seen "$1" | sed -n 's/.*packets \([0-9]*\).*/\1/p'; }
start server server $TRAFFIC server $PORT
start canary host $TRAFFIC canary $PORT
# The guest is faster than the broker of a busy machine: its command must not end before all is judged and counted.
cat >$W/judged.py <<'PYTHON'
import json, re, sys
sent = json.load(open(sys.argv[1]))
values = [int(value) for value in re.findall(r"^cordon_(?:flows|packets_denied)_total\{.*\} (\d+)$", open(sys.argv[2]).read(), re.M)]
frames = sum(n for what, n in sent.items() if what not in ("dropped by the interface", "that is, reset"))
sys.exit(sum(values) < frames + 20)
PYTHON
judged() {
  in_host "$CORDON" ctl --socket $W/control.sock metrics >$W/log/metrics && python3 $W/judged.py $W/log/sent.json $W/log/metrics
}
speak() {
  CHAT=--verbose guest --control $W/control.sock -- $W/speaks 2>$W/log/verbose.err &
  local pid=$!
  within 30 test -s $W/log/sent.json && within 30 judged
  touch $W/log/metrics.done
  wait $pid
}
expect "the guest sends packets of every kind" speak
[ -s $W/log/sent.json ] || cat $W/log/verbose.err
compare() { python3 $W/compare $W/log/sent.json "$AUDIT" $W/log/verbose.err $W/log/metrics; }
compare >$W/log/compared
compared=$?
cat $W/log/compared
expect "packets, counters and records agree" test $compared = 0
expect "nothing that was denied left the machine" test "$(seen denied)" = 0
expect "what was allowed did: $(seen allowed) packets" test "$(seen allowed)" -ge 45
counts=$(stop canary)
expect "nothing reached the host: $counts" test "$counts" = '{"accepted": 0, "bytes": 0, "datagrams": 0}'
finish
