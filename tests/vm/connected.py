"""connected.py PATH FD COMMAND...: becomes COMMAND, which has a connection to the UNIX stream socket PATH as descriptor FD."""
import os
import socket
import sys

path, number, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
connection.connect(path)
os.dup2(connection.fileno(), number)
os.execvp(command[0], command)
