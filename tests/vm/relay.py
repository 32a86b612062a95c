"""Joins two listening UNIX sockets, and again whenever one of them ends: relay.py PATH PATH."""
import selectors
import socket
import sys
import time


def connect(path):
    while True:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            end.connect(path)
            return end
        except OSError:
            end.close()
            time.sleep(0.1)


def carry(one, other):
    watch = selectors.DefaultSelector()
    watch.register(one, selectors.EVENT_READ, other)
    watch.register(other, selectors.EVENT_READ, one)
    while True:
        for key, _ in watch.select():
            data = key.fileobj.recv(1 << 18)
            if not data:
                return
            key.data.sendall(data)


while True:
    with connect(sys.argv[2]) as network, connect(sys.argv[1]) as card:
        print("joined", flush=True)
        try:
            carry(card, network)
        except OSError:
            pass
