#!/usr/bin/env python3
"""Plays a program that starts passt and gives it a descriptor: passt_client.py qemu|qemu-vhost|muvm LIMIT NETNS BRIDGE -- PASST ARGUMENTS...

qemu does what QEMU's -netdev passt does: an empty pid file, a socket pair whose end is descriptor 3, a wait for the
exit without which it would not go on, the pid out of the file; when the connection ends, SIGTERM to that pid and the
same line again at once, LIMIT times at most. qemu-vhost does so with vhost-user=on, where no end leads to a new start. muvm starts it in the foreground, with another number, and waits for
nothing. The machine is BRIDGE in NETNS: tap_bridge, or vhost_bridge. Says "ready PID MACHINE'S-PID" for each start; ends, and sends SIGTERM as QEMU does,
when it is told to by SIGTERM.
"""
import glob
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

kind, limit, netns, bridge = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
vhost = ["--vhost-user"] if kind == "qemu-vhost" else []
line = sys.argv[6:]


def fail(why):
    print("FAILED:", why, flush=True)
    sys.exit(1)


def holders(inode):
    """Command lines of the processes that have the socket."""
    found = []
    for path in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(path) == f"socket:[{inode}]":
                with open(f"/proc/{path.split('/')[2]}/cmdline", "rb") as file:
                    found.append(file.read().replace(b"\0", b" ").decode())
        except OSError:
            pass
    return found


def with_descriptor(number, end):
    """In the child: `end` is `number` and nothing else is open, as GSubprocess leaves it."""
    def prepare():
        copy = os.dup2(end, 250)
        os.dup2(copy, number)
        os.closerange(3, number)
        os.closerange(number + 1, 1024)
        os.set_inheritable(number, True)
    return prepare


def start_qemus(pid_file):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    inode = os.fstat(theirs.fileno()).st_ino
    begun = time.monotonic()
    child = subprocess.Popen(line[:1] + vhost + ["--quiet"] + line[1:] + ["--pid", pid_file, "--fd", "3"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             close_fds=False, preexec_fn=with_descriptor(3, theirs.fileno()))
    theirs.close()
    try:  # until both pipes end: nobody may keep them
        out, err = child.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        fail("it does not go to the background, or a process keeps its standard descriptors")
    if child.returncode != 0:
        fail(f"exit status {child.returncode}: {err.decode()}")
    if out or err:
        fail(f"it is to be quiet: {out!r} {err!r}")
    with open(pid_file, encoding="ascii") as file:
        text = file.read()
    if not re.fullmatch(r"[1-9][0-9]*\n", text):
        fail(f"the pid file holds {text!r}")
    pid = int(text)
    os.kill(pid, 0)
    if os.getsid(pid) != pid:
        fail("it has no session of its own")
    for number in (0, 1, 2):
        if "pipe" in os.readlink(f"/proc/{pid}/fd/{number}") and number == 0:
            fail("standard input is not /dev/null")
    end = time.monotonic() + 3
    while True:
        who = holders(inode)
        if len(who) == 1 and "--role=translator" in who[0]:
            break
        if time.monotonic() > end:
            fail(f"the connection is held by {who}")
        time.sleep(0.02)
    print(f"started in {time.monotonic() - begun:.2f} s", flush=True)
    return ours, pid


def start_muvms():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    number = 117
    child = subprocess.Popen(line[:1] + ["-q", "-f", "--fd", str(number)] + line[1:], stdin=subprocess.DEVNULL,
                             close_fds=False, preexec_fn=with_descriptor(number, theirs.fileno()))
    theirs.close()
    return ours, child


def start_bridge(ours):
    ours.set_inheritable(True)
    card = ["vm0"] if vhost else ["--tap", "vm0", "--mtu", "65520"]
    child = subprocess.Popen(["ip", "netns", "exec", netns, bridge, "--fd", str(ours.fileno())] + card,
                             stdout=subprocess.PIPE, close_fds=True, pass_fds=[ours.fileno()])
    ours.close()
    while True:
        said = child.stdout.readline()
        if b"connected" in said or b"ready" in said:
            return child
        if not said:
            fail("the bridge ended")


stop = False


def on_term(*_):
    global stop
    stop = True


signal.signal(signal.SIGTERM, on_term)
handle, pid_file = tempfile.mkstemp(prefix="passt-", suffix=".pid")
os.close(handle)
for turn in range(limit + 1):
    if kind != "muvm":
        ours, pid = start_qemus(pid_file)
    else:
        ours, child = start_muvms()
        pid = child.pid
    machine = start_bridge(ours)
    print(f"ready {pid} {machine.pid}", flush=True)
    while machine.poll() is None and not stop:
        time.sleep(0.01)
    if stop:
        if kind != "muvm":
            os.kill(pid, signal.SIGTERM)
        machine.terminate()
        machine.wait()
        break
    if kind == "muvm" or vhost:
        break
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
if kind == "muvm":
    try:
        print("status", child.wait(timeout=10), flush=True)
    except subprocess.TimeoutExpired:
        fail("it does not end with its connection")
os.unlink(pid_file)
