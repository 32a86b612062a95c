# flood_sums.py METRICS AUDIT SENT STEADY RSS_BEFORE RSS_AFTER: what a flood has left behind adds up. Prints the figures.
import json
import re
import sys

metrics, audit, sent_file, steady_file = sys.argv[1:5]
before, after = int(sys.argv[5]), int(sys.argv[6])
events = dict((name, int(value)) for name, value in re.findall(
    r'^cordon_translator_events_total\{event="([a-z_0-9]+)"\} (\d+)$', open(metrics).read(), re.M))
flows = [(dict(re.findall(r'(\w+)="([^"]*)"', labels)), int(value)) for labels, value in
         re.findall(r"^cordon_flows_total\{(.*)\} (\d+)$", open(metrics).read(), re.M)]
outcomes = ("to_tcp_flow to_udp_flow to_icmp_flow guest_errors answered_locally new_flow stray_segment drop_malformed "
            "drop_offload drop_ether_type drop_protocol fragment_held drop_fragment drop_spoofed drop_multicast "
            "drop_broadcast ignored_groups drop_hop_limit drop_table_full drop_pending_full drop_socket_full drop_too_big "
            "drop_shaped drop_flow_closing drop_lan_broken drop_lan_relayed drop_lan_rate drop_local").split()
sent = json.loads(open(sent_file).read().splitlines()[0])
steady = [json.loads(line) for line in open(steady_file) if line.startswith("{")]
records = [json.loads(line) for line in open(audit)]
table = events["drop_table_full"] + events["flows_evicted"] + events["flows_refused"] + events["drop_lan_rate"]
print(f"   {events['flows_requested']} flows asked for, {events['flows_granted']} granted, {events['flows_refused']} refused, "
      f"{events['drop_table_full']} frames found the table full, {events['flows_evicted']} idle flows made room, "
      f"{events['drop_lan_rate']} questions over the rate")
bad = 0


def check(what, good):
    global bad
    bad += not good
    print("ok" if good else "WRONG", what)


total = sum(events[name] for name in outcomes)
check(f"frames in {events['frames_from_guest']} = sum of outcomes {total}", events["frames_from_guest"] == total)
check(f"the flood arrived: {sent['sent']} sent, {sent['a_second']} a second, {sent['dropped']} lost in the device's queue",
      events["frames_from_guest"] >= (sent["sent"] - sent["dropped"]) and sent["sent"] > sent["dropped"])
denied_shown = sum(value for labels, value in flows if labels["verdict"] == "deny")
denied_told = sum(r["event.count"] for r in records if r["event.action"] == "flow-denied")
check(f"flows denied: {denied_shown} counted, {denied_told} in {len(records)} records", denied_shown == denied_told)
spoofs_told = sum(r["event.count"] for r in records if r["event.reason"] == "source-spoof")
check(f"forged sources: {events['drop_spoofed']} counted, {spoofs_told} told", events["drop_spoofed"] == spoofs_told)
size = sum(len(line) for line in open(audit))
check(f"the log has {size} bytes", size < 4_000_000)
for flow in steady:
    check(f"a steady flow beside it: {flow['flow']}, {flow['bytes']} bytes, {flow.get('exchanges')} exchanges, longest "
          f"pause {flow.get('longest_ms', flow.get('longest_pause_ms'))} ms", not flow.get("error") and not flow.get("wrong"))
check("something was limited", table > 0 or events["drop_spoofed"] > 0)
check(f"{len(steady)} steady flows", len(steady) > 0)
check(f"all processes together: {before} -> {after} KiB", after - before < 256 * 1024)
sys.exit(bad != 0)
