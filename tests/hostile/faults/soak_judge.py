#!/usr/bin/env python3
"""soak_judge.py USAGE LATENCIES AUDIT METRICS SLACK_KIB: prints the figures of a soak, fails when something grows.

Growth is the difference of the last quarter to the second one: the first has caches, pools and tables fill. A leak of one
page in a hundred requests, or a descriptor in ten thousand, is above the tolerance after an hour; a busy machine is not.
"""
import json
import re
import sys

bad = 0


def check(what, ok):
    global bad
    bad += not ok
    print("ok" if ok else "GROWS", what)


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else 0.0


usage = {}
for line in open(sys.argv[1]):
    name, when, rss, fds, flows = line.split()
    usage.setdefault(name, []).append((float(when), int(rss), int(fds), int(flows)))
end = max(rows[-1][0] for rows in usage.values())
for name, rows in usage.items():
    second = [row for row in rows if end / 4 <= row[0] < end / 2]
    last = [row for row in rows if row[0] >= end * 3 / 4]
    rss = [quantile([row[1] for row in part], 0.5) for part in (second, last)]
    # A flow has a descriptor in each of broker and translator, for as long as it lives.
    own = 0 if name == "launcher" else 1
    fds = [quantile([row[2] - own * row[3] for row in part], 0.5) for part in (second, last)]
    check("%s: RSS KiB %d at first, %d second quarter, %d last; descriptors %d .. %d, without flows %d then %d" %
          (name, rows[0][1], rss[0], rss[1], min(r[2] for r in rows), max(r[2] for r in rows), fds[0], fds[1]),
          rss[1] <= rss[0] * 1.05 + int(sys.argv[5]) and fds[1] <= fds[0] + 16)

latencies = {}
for line in open(sys.argv[2]):
    kind, when, took = line.split()
    latencies.setdefault(kind, []).append((float(when), float(took)))
def quarters(rows):
    end = rows[-1][0]
    return [took * 1000 for when, took in rows if when < end / 4], [took * 1000 for when, took in rows if when >= end * 3 / 4]


# What the machine's other work does to a connection that never leaves the guest, it does to all.
busier = max(1.0, *(quantile(last, q) / max(quantile(first, q), 0.05) for first, last in [quarters(latencies["own"])] for q in (0.5, 0.9)))
print("the machine: own connections take %.1f times as long at the end" % busier)
for kind, rows in latencies.items():
    end = rows[-1][0]
    first, last = quarters(rows)
    pair = [quantile(part, 0.5) for part in (first, last)]
    # Ten times: of a machine that does other things in one of the quarters.
    check("%s: %d, ms p50 %.2f then %.2f, p99 %.2f then %.2f" %
          (kind, len(rows), pair[0], pair[1], quantile(first, 0.99), quantile(last, 0.99)),
          pair[1] <= max(pair[0] * (3 if end > 300 else 10), pair[0] + 20) * busier)

records = [json.loads(line) for line in open(sys.argv[3])]
told = lambda action: sum(r["event.count"] for r in records if r["event.action"] == action)
logged = lambda action: sum(r["event.count"] for r in records if r["event.action"] == action and r.get("network.direction"))
metrics = {}
for labels, value in re.findall(r"^cordon_flows_total\{(.*)\} (\d+)$", open(sys.argv[4]).read(), re.M):
    labels = dict(re.findall(r'(\w+)="([^"]*)"', labels))
    metrics[labels["verdict"]] = metrics.get(labels["verdict"], 0) + int(value)
numbers = [r["event.sequence"] for r in records]
print("records %d, allowed %d, ended %d, revoked %d, denied %d, policies %d" %
      (len(records), told("flow-allowed"), told("flow-ended"), told("flow-revoked"), told("flow-denied"), told("policy-loaded")))
check("no record is lost or out of order", numbers == list(range(1, len(numbers) + 1)) and told("audit-dropped") == 0)
check("each flow that was allowed has ended: %d, %d" % (told("flow-allowed"), told("flow-ended")),
      told("flow-allowed") == told("flow-ended"))
check("records and metrics agree about denials: at most %d, %d" % (told("flow-denied"), metrics.get("deny", 0)),
      0 <= told("flow-denied") - metrics.get("deny", 0) <= 50)
rejected = told("policy-rejected")  # a loader has 8 s; a machine that does not run it so long loses that reload
check("reloads came into force: %d, rejected %d" % (told("policy-loaded"), rejected),
      told("policy-loaded") >= end / 4 and rejected <= 1 + told("policy-loaded") // 100)
sys.exit(bad != 0)
