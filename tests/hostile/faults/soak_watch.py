#!/usr/bin/env python3
"""soak_watch.py SECONDS OUT CORDON SOCKET NAME=PID...: what each process holds, sampled: "NAME WHEN RSS_KIB DESCRIPTORS FLOWS"."""
import os
import re
import subprocess
import sys
import time

seconds, out = float(sys.argv[1]), open(sys.argv[2], "w")
pids = dict(pair.split("=") for pair in sys.argv[5:])
begun = time.monotonic()
while time.monotonic() - begun < seconds:
    metrics = subprocess.run([sys.argv[3], "ctl", "--socket", sys.argv[4], "metrics"], capture_output=True, text=True).stdout
    flows = sum(int(value) for value in re.findall(r"^cordon_flows_active(?:\{.*\})? (\d+)$", metrics, re.M))
    for name, pid in pids.items():
        try:
            rss = next(int(line.split()[1]) for line in open("/proc/%s/status" % pid) if line.startswith("VmRSS"))
            print(name, "%.1f" % (time.monotonic() - begun), rss, len(os.listdir("/proc/%s/fd" % pid)), flows, file=out, flush=True)
        except (OSError, StopIteration):
            sys.exit("%s, %s, is gone" % (name, pid))
    time.sleep(max(0.25, seconds / 400))
