#!/usr/bin/env python3
"""Load from inside the guest, told when it is through: bulk TCP, UDP echo, and a new connection every few milliseconds.

load.py ADDRESS PORT SECONDS OUT [--stop FILE]: writes OUT, one line per event, "WHAT BEGUN ENDED", in seconds of
CLOCK_MONOTONIC, which is the same outside of the guest. WHAT: new (a connection stood), udp (an answer came), bulk
(a megabyte went).
"""
import os
import select
import socket
import sys
import threading
import time

address, port, seconds, out = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
stop_file = sys.argv[6] if len(sys.argv) > 6 else ""
end = time.monotonic() + seconds
events = []
EVERY = 0.005


def over():
    return time.monotonic() >= end or (stop_file and os.path.exists(stop_file))


def bulk():
    block = bytes(1 << 18)
    while not over():
        try:
            with socket.create_connection((address, port), timeout=1) as link:
                while not over():
                    begun = time.monotonic()
                    for _ in range(4):
                        link.sendall(block)
                    events.append(("bulk", begun, time.monotonic()))
                    time.sleep(0.005)
        except OSError:
            time.sleep(0.01)


def udp():
    while not over():
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.settimeout(0.05)
            try:
                link.connect((address, port))
                for _ in range(50):
                    begun = time.monotonic()
                    link.send(b"x" * 100)
                    link.recv(200)
                    events.append(("udp", begun, time.monotonic()))
                    time.sleep(0.01)
            except OSError:
                time.sleep(0.01)


# Overlapping, so that one whose first packet died with the translator does not hide the next.
def connections():
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    waiting = {}
    poller = select.poll()
    due = time.monotonic()
    while not over():
        now = time.monotonic()
        if now >= due and len(waiting) < 400:
            due = now + EVERY
            link = socket.socket(family, socket.SOCK_STREAM)
            link.setblocking(False)
            link.connect_ex((address, port))
            waiting[link.fileno()] = (link, now)
            poller.register(link, select.POLLOUT)
        for number, what in poller.poll(max(0, (due - time.monotonic()) * 1000)):
            link, begun = waiting.pop(number)
            poller.unregister(number)
            if link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and what & select.POLLOUT and not what & select.POLLHUP:
                events.append(("new", begun, time.monotonic()))
            link.close()
        for number in [n for n, (_, begun) in waiting.items() if now - begun > 2]:
            poller.unregister(number)
            waiting.pop(number)[0].close()


print("ready", flush=True)
threads = [threading.Thread(target=work, daemon=True) for work in (bulk, udp, connections)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(seconds + 10)
with open(out + ".new", "w") as file:
    file.writelines("%s %.6f %.6f\n" % event for event in list(events))
os.rename(out + ".new", out)
