# metrics.py TEXT [AUDIT]: TEXT is valid in Prometheus' text format 0.0.4, strictly, and the flows it counts are those of
# the records in AUDIT, which were all written after the text was taken.
import json
import re
import sys
from collections import Counter

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf'({NAME})(?:\{{(.*)\}})? (-?[0-9.e+-]+|NaN|[+-]Inf)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')


def labels_of(text):
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        assert match, f"bad labels: {text}"
        assert match[1] not in labels, f"a label twice: {text}"
        labels[match[1]] = match[2]
        at = match.end()
    return labels


def parse(text):
    assert text.endswith("\n") and "\r" not in text
    families, samples, seen, helped = {}, [], set(), set()
    current = None
    for line in text[:-1].split("\n"):
        if match := re.fullmatch(rf"# HELP ({NAME}) (.+)", line):
            assert match[1] not in helped, f"two HELP: {line}"
            helped.add(match[1])
            current = match[1]
        elif match := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge)", line):
            assert match[1] == current and match[1] not in families, f"TYPE out of place: {line}"
            families[match[1]] = match[2]
        else:
            match = SAMPLE.match(line)
            assert match, f"bad line: {line}"
            assert match[1] == current, f"sample outside of its family: {line}"
            labels = labels_of(match[2]) if match[2] is not None else {}
            key = (match[1], tuple(sorted(labels.items())))
            assert key not in seen, f"the same series twice: {line}"
            seen.add(key)
            samples.append((match[1], labels, float(match[3])))
    for name, kind in families.items():
        assert name.startswith("cordon_"), name
        assert (kind == "counter") == name.endswith("_total"), f"{name} is a {kind}"
    return families, samples


def main():
    families, samples = parse(open(sys.argv[1], encoding="utf-8").read())
    for name in ("cordon_flows_total", "cordon_flows_active", "cordon_policy_generation", "cordon_policy_enforcing",
                 "cordon_policy_load_errors_total", "cordon_host_state_resyncs_total", "cordon_audit_records_total",
                 "cordon_audit_events_lost_total", "cordon_broker_events_total", "cordon_translator_events_total",
                 "cordon_uptime_seconds"):
        assert name in families, f"no {name}"
    counted = Counter()
    for name, labels, value in samples:
        if name == "cordon_flows_total" and labels["verdict"] in ("deny", "revoked"):
            counted[labels["verdict"], labels["reason"]] += int(value)  # a reload may have taken the rule away
    if len(sys.argv) > 2:
        recorded = Counter()
        verdicts = {"flow-denied": "deny", "flow-revoked": "revoked"}
        for line in open(sys.argv[2], encoding="utf-8"):
            record = json.loads(line)
            if record["event.action"] in verdicts and record.get("sandbox.guest") == "one":
                key = verdicts[record["event.action"]], record["event.reason"]
                recorded[key] += record["event.count"]
        assert sum(counted.values()) > 8, counted
        assert counted == recorded, f"counted {counted}, recorded {recorded}"
    print(f"{len(samples)} samples in {len(families)} families")


main()
