#!/usr/bin/env python3
"""soak_load.py ADDRESS4 ADDRESS6 PORT SERVICE OUT STOP: the guest's side of soak.sh. OUT: "KIND WHEN SECONDS" per request.

Paced, so that a machine with other work can keep up: what is looked for is growth, not speed.
"""
import os
import random
import socket
import subprocess
import sys
import threading
import time

four, six, port, service, out, stop = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5], sys.argv[6]
lock = threading.Lock()
file = open(out, "w", buffering=1 << 16)
begun = time.monotonic()
failures = {}


def over():
    return os.path.exists(stop)


def timed(kind, work, pause):
    while not over():
        start = time.monotonic()
        try:
            work()
            with lock:
                file.write("%s %.3f %.6f\n" % (kind, start - begun, time.monotonic() - start))
        except OSError as error:
            with lock:
                failures[kind] = failures.get(kind, 0) + 1
                if failures[kind] < 4:
                    print(kind, error, file=sys.stderr)
        time.sleep(pause * random.uniform(0.5, 1.5))


def connection():
    with socket.create_connection((random.choice((four, six)), port), timeout=5) as link:
        link.sendall(b"x" * random.randrange(1, 5000))


# Through no process of Cordon: how busy the machine is.
def own():
    with socket.create_connection(("127.0.0.1", 7788), timeout=5) as link:
        link.sendall(b"x")
        link.recv(1)


echo = {}


def request():
    """A datagram there and back on a flow that is kept for a while."""
    address = random.choice((four, six))
    link = echo.get(address)
    if link is None or random.random() < 0.02:
        if link:
            link.close()
        link = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        link.settimeout(2)
        link.connect((address, port))
        echo[address] = link
    link.send(b"y" * random.randrange(1, 1200))
    link.recv(2000)


def name():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(2)
        link.connect(("10.0.2.3", 53))
        link.send(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x07example\x00\x00\x01\x00\x01")
        link.recv(2000)


def ping():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as link:
        link.settimeout(2)
        link.connect((four, 0))
        link.send(b"\x08\x00\x00\x00\x00\x00\x00\x01soak")
        link.recv(2000)


def denied():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as link:
        link.settimeout(5)
        if link.connect_ex(("203.0.113.7", 80)) == 0:
            os._exit(3)


bulk_link = []


def bulk():
    if not bulk_link or random.random() < 0.01:
        for link in bulk_link:
            link.close()
        bulk_link[:] = [socket.create_connection((four, port), timeout=5)]
    bulk_link[0].sendall(bytes(1 << 20))


# A published port leads here.
def serve():
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", 7788))
    listener.listen(64)
    while True:
        link, _ = listener.accept()
        threading.Thread(target=answer, args=(link,), daemon=True).start()


def answer(link):
    with link:
        link.settimeout(5)
        try:
            while data := link.recv(65536):
                link.sendall(data)
        except OSError:
            pass


threading.Thread(target=serve, daemon=True).start()
kinds = [("connection", connection, 0.01), ("request", request, 0.01), ("name", name, 0.05), ("ping", ping, 0.05),
         ("denied", denied, 0.1), ("bulk", bulk, 0.05), ("own", own, 0.05)]
threads = [threading.Thread(target=timed, args=kind) for kind in kinds]
for thread in threads:
    thread.start()
print("ready", flush=True)
for thread in threads:
    thread.join()
file.close()
if failures:
    print("failures", failures, file=sys.stderr)
# A request that was lost on a busy machine is no failure of the network; many are.
total = sum(1 for _ in open(out))
sys.exit(sum(failures.values()) > 5 + total // 500)
