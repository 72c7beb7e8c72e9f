#!/usr/bin/env python3
"""Inputs for fuzz_session and fuzz_frames from recorded sessions with real brokers (tests/support/sessions).

    seeds.py SESSIONS DIRECTORY        writes DIRECTORY/session/*, DIRECTORY/frames/*

What the client said becomes acts of the kind (see act() in fuzz_session.c); of fuzz_frames' input only what the broker said after
connection.open-ok. What they look like: items.h, the top of fuzz_frames.c.
"""
import hashlib
import os
import struct
import sys

SAYS, ACTS = 0, 3
FRAME_METHOD, FRAME_HEADER, FRAME_BODY = 1, 2, 3
OPEN_OK = (10, 41)
NOTHING = 21  # an act that is none
ACT_OPEN = 12
# of the client's methods: ack, publish, channel.close, connection.close, and the row of requests
ACT_OF = {(60, 80): 0, (60, 120): 0, (60, 40): 6, (20, 40): 10, (10, 50): 15, (50, 10): 22, (60, 20): 23, (85, 10): 24, (60, 70): 25,
          (60, 10): 26, (50, 20): 27, (60, 30): 28, (40, 10): 29, (90, 10): 30, (50, 40): 31}
UNASKED = [(60, 60), (60, 50), (20, 40), (20, 20), (60, 80), (60, 120), (60, 30), (10, 60), (10, 61), (10, 50)]
HEADS = [bytes(4), bytes([1, 0, 0, 1]), bytes([2 | 4, 7, 0, 1])]  # whole; handed out; cut and read straight into the body
# the row of methods of fuzz_frames.c
METHODS = [(60, 60), (60, 50), (60, 71), (20, 40), (20, 41), (20, 20), (60, 80), (60, 120), (60, 30), (60, 21), (50, 11), (10, 60),
           (10, 50), (10, 61), (20, 11), (10, 30)]


def records(data):
    at = 0
    while at < len(data):
        size, = struct.unpack_from('>I', data, at + 1)
        yield data[at:at + 1], data[at + 5:at + 5 + size]
        at += 5 + size


def frames(data):
    at = 8 if data[:4] == b'AMQP' else 0
    while at + 8 <= len(data):
        kind, channel, size = struct.unpack_from('>BHI', data, at)
        yield kind, channel, data[at + 7:at + 7 + size]
        at += size + 8


def item(kind, data):
    return struct.pack('>BH', kind, len(data)) + data


def acts_of(said):
    acts = []
    for kind, channel, payload in frames(said):
        method = struct.unpack_from('>HH', payload) if kind == FRAME_METHOD and len(payload) >= 4 else None
        if method == (20, 10) and channel > 2:
            acts.append(ACT_OPEN)
        elif method in ACT_OF:
            acts.append(ACT_OF[method] | (max(channel, 1) - 1 & 3) << 5)
    return acts[:32]


def session(data, head):
    out = head + bytes([NOTHING] * 12)
    for side, said in records(data):
        if side == b'S':
            for at in range(0, len(said), 60000):
                out += item(SAYS, said[at:at + 60000])
        elif acts_of(said):
            out += item(ACTS, bytes(acts_of(said)))
    return out


def short(kind, channel, payload):
    """A frame as fuzz_frames reads it."""
    where = (channel & 3) << 3
    if kind == FRAME_METHOD and struct.unpack_from('>HH', payload) not in UNASKED:
        return b''
    if kind == FRAME_METHOD and len(payload) - 4 < 256:
        return bytes([0 | where, METHODS.index(struct.unpack_from('>HH', payload)), len(payload) - 4]) + payload[4:]
    if kind == FRAME_HEADER and len(payload) - 12 < 256:
        size, = struct.unpack_from('>Q', payload, 4)
        return bytes([1 | where]) + struct.pack('>HB', min(size, 65535), len(payload) - 12) + payload[12:]
    if kind == FRAME_BODY:
        return bytes([2 | where, len(payload)]) if len(payload) < 256 else bytes([4 | where, min(255, len(payload) // 32)])
    return bytes([6 | where, kind, min(len(payload), 255)]) + payload[:255]


def row(data):
    said = b''.join(said for side, said in records(data) if side == b'S')
    out, opened = b'', False
    for kind, channel, payload in frames(said):
        if opened:
            out += short(kind, channel, payload)
        opened = opened or (kind == FRAME_METHOD and struct.unpack_from('>HH', payload) == OPEN_OK)
    return out


def put(directory, data):
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, hashlib.sha1(data).hexdigest()), 'wb') as file:
        file.write(data)


def main():
    source, target = sys.argv[1:]
    for folder, _, names in os.walk(source):
        for name in names:
            if not name.endswith('.session'):
                continue
            data = open(os.path.join(folder, name), 'rb').read()
            for number, head in enumerate(HEADS):
                put(os.path.join(target, 'session'), session(data, head))
                if row(data):
                    put(os.path.join(target, 'frames'), bytes([number | 2 if number < 2 else 12, 7]) + row(data))


if __name__ == '__main__':
    main()
