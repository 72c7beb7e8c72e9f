#!/usr/bin/env python3
"""An idle connection needs no more memory than it did, however many there are: many.py DIRECTORY [--write]

DIRECTORY has the built bench-many and fake-broker. What they are given is held to many.txt; --write puts what is measured there."""
import os
import re
import sys

import counts

FEW, MANY, CHANNELS = 100, 400, 9
AIR = 1.10
TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'many.txt')


def read_table():
    with open(TABLE, encoding='utf-8') as file:
        lines = [line.split() for line in file if line.strip() and not line.startswith('#')]
    return {name: float(number) for name, number in lines}


def write_table(measured):
    with open(TABLE, encoding='utf-8') as file:
        head = [line for line in file if line.startswith('#')]
    with open(TABLE, 'w', encoding='utf-8') as file:
        file.writelines(head)
        for name, number in measured.items():
            file.write(f'{name:<16}{number:>9.0f}\n')


def measure(directory, broker, count):
    program = os.path.join(directory, 'bench-many')
    line = counts.run([program, *map(str, broker.where), str(count), str(CHANNELS), '0.1']).stdout
    print(line, end='', flush=True)
    return {name: float(value) for name, value in re.findall(r'(\w+)=(-?[\d.]+)(?=\s|$)', line)}


def judge(what, number, limit):
    good = number <= limit
    print(f"{what:<32}{number:>8.0f}   limit {limit:.0f}{'' if good else '   EXCEEDED'}")
    return good


def main(directory, writes=False):
    with counts.FakeBroker(os.path.join(directory, 'fake-broker'), '--heartbeat', '60') as broker:
        few, many = (measure(directory, broker, count) for count in (FEW, MANY))
    measured = {'connection': many['alloc_b'], 'channel': many['channel_alloc_b']}
    if writes:
        write_table(measured)
        return 0
    good = True
    for name, limit in read_table().items():
        good &= judge(f'{name}, octets', measured[name], limit * AIR)
    good &= judge(f'connection among {MANY}, not {FEW}', many['alloc_b'], few['alloc_b'])
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1], '--write' in sys.argv[2:]))
