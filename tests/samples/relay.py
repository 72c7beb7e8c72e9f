#!/usr/bin/env python3
"""A tunnel for existing_stream, as `ssh -W` is one: standard input and output to a port. relay.py HOST PORT"""
import os
import socket
import sys
import threading


def copy(source, sink, end):
    try:
        while data := os.read(source, 65536):
            while data:
                data = data[os.write(sink, data):]
        end()
    except OSError:
        pass  # one of the two has gone, and so do we


with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as far:
    threading.Thread(target=copy, args=(0, far.fileno(), lambda: far.shutdown(socket.SHUT_WR)), daemon=True).start()
    copy(far.fileno(), 1, lambda: None)
