#!/usr/bin/env python3
"""A message costs no more than it did: gates.py DIRECTORY [--write]

DIRECTORY has the built bench-lago and fake-broker. What they need for a message is counted, not timed, and held to gates.txt: the
library's own instructions, heap allocations, system calls. --write puts there what is measured now. Where the compiler is another
one than that of the table, its instructions are held to a looser limit, the goals (goals.txt), with words that say so. Skipped,
with words, where valgrind does not run; system calls are counted only where strace is."""
import os
import re
import shutil
import subprocess
import sys

import counts
import goals

SKIPPED = 77
SIZE = 256
AIR = 1.10
LOOSE = 1.5  # of the goal, which counts libuv and the client as well: another compiler may inline less, but not add a half
NEARLY_NONE = 0.02  # allocations: a buffer for a hundred messages is none for each
CALLS = 0.05  # there are more when the machine is busy and a read finds less
TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'gates.txt')
HEAD = '''# What bench-lago needs for a message of 256 octets in a build of `tests/run` (-O2 -g, assertions): kept true by gates.py, which
# writes this file: tests/bench/gates.py build/tests/tests/bench --write
# Instructions are the library's own, without libuv and libc: 10 % more fails; 10 % less means that this is to be written anew.
#
'''


def compiler():
    """Its name and major version, "gcc 12": what Meson says, else what `tests/run` takes."""
    if 'GATES_COMPILER' in os.environ:
        return os.environ['GATES_COMPILER']
    version = subprocess.run(['gcc', '-dumpversion'], capture_output=True, text=True, check=True).stdout
    return 'gcc ' + version.split('.')[0].strip()


def read_table():
    """The compiler, and instructions by mode."""
    with open(TABLE, encoding='utf-8') as file:
        text = file.read()
    counted = re.findall(r'^([a-z][a-z0-9-]*) +(\d+)$', text, re.MULTILINE)
    return re.search(r'^compiler: (.*)$', text, re.MULTILINE)[1], {mode: int(number) for mode, number in counted}


def write_table(measured):
    with open(TABLE, 'w', encoding='utf-8') as file:
        file.write(f'{HEAD}compiler: {compiler()}\n')
        file.writelines(f'{mode:<18}{instructions:>8.0f}\n' for mode, instructions in measured.items())


def judge(mode, what, number, limit):
    """Print what it is; whether it is good."""
    good = number <= limit
    print(f"{mode:<18}{what:<14}{number:>10.3f}   limit {limit:.3f}{'' if good else '   EXCEEDED'}", flush=True)
    return good


def judge_instructions(mode, profile, known, is_same):
    if not is_same:
        goal = next(goal for job, _, what, goal, _ in goals.read_goals('') if (job, what) == (mode, 'instructions'))
        return judge(mode, 'instructions', profile.total, goals.read_number(goal) * LOOSE)
    if profile.library * AIR < known:
        print(f'{mode:<18}is better than its gate: gates.py --write')
    counted = profile.library * 2 > known or print(f'{mode:<18}{profile.library:.0f}: that cannot be')
    return judge(mode, 'instructions', profile.library, known * AIR) and bool(counted)


def main(directory, writes=False):
    why_not = counts.can_count()
    if why_not:
        print(why_not)
        return SKIPPED
    program, has_strace = os.path.join(directory, 'bench-lago'), bool(shutil.which('strace'))
    whose, table = read_table()
    is_same = whose == compiler()
    if not is_same and not writes:
        print(f'the gates are those of {whose}; this is {compiler()}: instructions are held to {LOOSE} x the goals')
    measured, good = {}, True
    with counts.FakeBroker(os.path.join(directory, 'fake-broker')) as broker:
        for mode, known in table.items():
            profile = counts.per_message(program, mode, broker.where, SIZE)
            measured[mode] = profile.library
            if writes:
                print(f'{mode:<18}{profile.library:>8.0f} instructions of {profile.total:.0f} in all', flush=True)
                continue
            good &= judge_instructions(mode, profile, known, is_same)
            good &= judge(mode, 'allocations', profile.allocations, NEARLY_NONE)
            if has_strace:
                good &= judge(mode, 'system calls', counts.system_calls(program, mode, broker.where, SIZE), CALLS)
    if writes:
        write_table(measured)
    elif not has_strace:
        print('no strace here: system calls were not counted')
    return 0 if good else 1


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1], sys.argv[2:] == ['--write']))
    except counts.Broken as broken:
        sys.exit(str(broken))
