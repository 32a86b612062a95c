#!/usr/bin/env python3
"""far_end.py PORT ADDRESS...: the far end of load.py: swallows TCP, echoes UDP at these addresses, says "ready"."""
import selectors
import socket
import sys

port = int(sys.argv[1])
poller = selectors.DefaultSelector()
listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("::", port))
listener.listen(512)
listener.setblocking(False)
echoes = []
for address in sys.argv[2:]:
    echoes.append(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM))
    echoes[-1].bind((address, port))
    echoes[-1].setblocking(False)
    poller.register(echoes[-1], selectors.EVENT_READ)
poller.register(listener, selectors.EVENT_READ)
print("ready", flush=True)
buffer = bytearray(1 << 20)
while True:
    for key, _ in poller.select():
        try:
            if key.fileobj is listener:
                link, _ = listener.accept()
                link.setblocking(False)
                poller.register(link, selectors.EVENT_READ)
            elif key.fileobj in echoes:
                data, peer = key.fileobj.recvfrom(2048)
                key.fileobj.sendto(data, peer)
            elif key.fileobj.recv_into(buffer) == 0:
                raise ConnectionResetError
        except BlockingIOError:
            pass
        except OSError:
            if key.fileobj is not listener and key.fileobj not in echoes:
                poller.unregister(key.fileobj)
                key.fileobj.close()
