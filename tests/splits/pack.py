#!/usr/bin/env python3
"""Make captures small: of each pcapng file what either side said, in the order in which the client saw it.

    pack.py DIRECTORY-OF-CAPTURES DIRECTORY-OF-SESSIONS

A session is a row of records: 'C' (the client said) or 'S' (the server), four octets of size, high octet first, and so many bytes.
Neighbours of one side are one record. Secrets are asterisks, as in the capture. Sessions of more than SIZE_MAX bytes are left out:
what is large enough to need several reads is in them already.
"""
import os
import struct
import sys

SIZE_MAX = 26000
PACKET = 6
PORT = 5672


def packets(data):
    at = 0
    while at + 12 <= len(data):
        kind, size = struct.unpack_from('=II', data, at)
        if kind == PACKET:
            captured, = struct.unpack_from('=I', data, at + 20)
            yield data[at + 28:at + 28 + captured]
        at += size


def records(data):
    merged = []
    for packet in packets(data):
        tcp = 20
        payload = packet[tcp + (packet[tcp + 12] >> 4) * 4:]
        side = b'C' if struct.unpack_from('>H', packet, tcp + 2)[0] == PORT else b'S'
        if not payload:
            continue
        if merged and merged[-1][0] == side:
            merged[-1][1] += payload
        else:
            merged.append([side, bytearray(payload)])
    return merged


def main():
    source, target = sys.argv[1:]
    os.makedirs(target, exist_ok=True)
    total = count = left_out = 0
    for name in sorted(os.listdir(source)):
        with open(os.path.join(source, name), 'rb') as file:
            packed = b''.join(side + struct.pack('>I', len(said)) + said for side, said in records(file.read()))
        if not packed or len(packed) > SIZE_MAX:
            left_out += 1
            continue
        with open(os.path.join(target, name.split('.')[0] + '.session'), 'wb') as file:
            file.write(packed)
        total += len(packed)
        count += 1
    print(f'{count} sessions, {total} bytes, {left_out} left out')


if __name__ == '__main__':
    main()
