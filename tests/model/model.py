#!/usr/bin/env python3
"""Verify lago.pml exhaustively, or hold the changes of state that lives have shown against it.

    model.py verify [--quick | --full] [--control]
                                           spin and a C compiler; 77 if there is no spin. --quick: the smallest world only, seconds;
                                           --full: larger ones as well, some minutes
    model.py edges FILE [--all]            FILE: of `simulator --edges`; --all: each edge of the model must have been seen
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'lago.pml')

# Worlds that are small enough to be walked through to the end: what each has.
BRIEF = {
    'handshake': {'CHANNELS': 0, 'ATTEMPTS': 2},
    'publishes': {'CHANNELS': 1, 'ATTEMPTS': 1, 'PUBLISHES': 3},
    'consumer': {'CHANNELS': 2, 'ATTEMPTS': 1, 'PUBLISHES': 1},
}
QUICK = {'handshake': BRIEF['handshake']}
FULL = {  # both channels in one world (CHANNELS 3) take more than a gigabyte: what they share is in the two worlds of one each
    **BRIEF,
    'publishes and attempts': {'CHANNELS': 1, 'ATTEMPTS': 2, 'PUBLISHES': 3},
    'consumer and attempts': {'CHANNELS': 2, 'ATTEMPTS': 2, 'PUBLISHES': 1},
}

# A change that makes the model wrong, and must be found: what stands there, and what instead.
CONTROLS = {
    'not sent is a lie': ('outcome[n] = (n < written -> 2 : 3);', 'outcome[n] = (n + 1 < written -> 2 : 3);'),
    'a second close': ('put(CLOSE, 0, 0); close_said = true; session_go(OPEN, CLOSING)',
                       'put(CLOSE, 0, 0); out!CLOSE(0, 0); close_said = true; session_go(OPEN, CLOSING)'),
    'a frame behind channel.close': ('put(CLOSE_CH, c, 0); channel_go(c, CH_OPEN, CH_CLOSING)',
                                     'put(CLOSE_CH, c, 0); out!ACK(SUB, 1); channel_go(c, CH_OPEN, CH_CLOSING)'),
    'cancel before consume-ok is lost': (':: cancelled -> put(CANCEL, SUB, 0); cancel_said = true /* it waited', ':: cancelled /* it waited'),
    'a channel end is not told': ('        may_tell;\n        ch_told_end[c] = true', '        may_tell;\n        ch_told_end[c] = false'),
    'two ends': (':: !freed && !told_open -> assert', ':: !freed -> assert'),
}

# Where a control shows.
CONTROL_WORLD = {'a frame behind channel.close': 'consumer', 'cancel before consume-ok is lost': 'consumer',
                 'two ends': 'handshake', 'a second close': 'handshake'}


def build(folder, world, safety, text):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, 'lago.pml'), 'w', encoding='utf-8') as file:
        file.write(text)
    defines = [f'-D{name}={value}' for name, value in world.items()]
    subprocess.run(['spin', *defines, '-a', 'lago.pml'], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    mode = ['-DSAFETY', '-DNOCLAIM'] if safety else ['-DNFAIR=3']
    # -O0: a compiler that tries harder takes longer than the walk (30 s instead of 2, for 1.5 s of 3)
    subprocess.run(['cc', '-O0', '-w', '-DCOLLAPSE', '-DVECTORSZ=2048', *mode, '-o', 'pan', 'pan.c'], cwd=folder, check=True)


def walk(folder, options):
    """All states: (errors, states). A search that was cut short is an error."""
    said = subprocess.run(['./pan', '-m400000', '-w22', *options], cwd=folder, capture_output=True, text=True, check=False).stdout
    errors = re.search(r'errors: (\d+)', said)
    states = re.search(r'^\s*([\d.e+]+) states, stored', said, re.MULTILINE)
    if not errors or not states or 'max search depth too small' in said or 'out of memory' in said:
        return 1, 0, said
    return int(errors[1]), int(float(states[1])), said


def fails(text, world):
    """Whether the model breaks in this world."""
    with tempfile.TemporaryDirectory() as folder:
        build(folder, world, True, text)
        if walk(folder, [])[0]:
            return True
        build(folder, world, False, text)
        return any(walk(folder, ['-a', '-f', '-N', name])[0] for name in properties(text))


def properties(text):
    return re.findall(r'^ltl (\w+)', text, re.MULTILINE)


def verify(worlds, control):
    if not shutil.which('spin'):
        print('there is no spin here (tests/install ci)')
        return 77
    with open(MODEL, encoding='utf-8') as file:
        text = file.read()
    total = broken = 0
    asserted = 2  # what is asserted, and no deadlock
    for name, world in worlds.items():
        with tempfile.TemporaryDirectory() as folder:
            build(folder, world, True, text)
            errors, states, said = walk(folder, [])
            build(folder, world, False, text)
            for claim in properties(text):
                more, count, words = walk(folder, ['-a', '-f', '-N', claim])
                states += count
                errors += more
                said = words if more else said
        print(f'{name}: {states:,} states, {errors} errors', *([said] if errors else []), sep='\n' if errors else '', flush=True)
        total += states
        broken += errors
    blind = 0
    for name, (old, new) in CONTROLS.items() if control else ():
        if text.count(old) != 1:
            sys.exit(f'control "{name}": its place is gone')
        seen = fails(text.replace(old, new), BRIEF[CONTROL_WORLD.get(name, 'publishes')])
        blind += not seen
        print(f'control: {name}: {"found" if seen else "NOT FOUND"}', flush=True)
    print(f'model: {len(properties(text)) + asserted} properties, {total:,} states, {broken} errors')
    return 1 if broken or blind else 0


# ---------------------------------------------------------------- edges

MACHINES = {'session': ('session_go', 0), 'channel': ('channel_go', 1), 'stage': ('stage_go', 0)}


# Edges of the model that the simulator does not lead the library through, and why not.
RARE = 'one life in a hundred thousand or more: the peer breaks a rule, or says goodbye, in the few octets of a handshake'
NOT_LIVED = {'WAIT_START -> LEAVING': RARE, 'FAILED -> IDLE': RARE, 'LEAVING -> IDLE': RARE}


def model_edges(text):
    numbers = {name: int(value) for name, value in re.findall(r'^#define (\w+) +(\d+)', text, re.MULTILINE)}
    edges = {}
    for machine, (macro, skip) in MACHINES.items():
        for words in re.findall(macro + r'\(([^)]*)\)', text):
            names = [word.strip() for word in words.split(',')][skip:]
            if names[0] in numbers:
                edges[machine, numbers[names[0]], numbers[names[1]]] = f'{names[0]} -> {names[1]}'
    edges['channel', 0, 0] = 'made'
    leaving = numbers['CH_LEAVING']
    edges['channel', leaving, leaving] = 'the close that is owed found no memory once more' # which the model always has
    return edges


def compare(path, every):
    with open(MODEL, encoding='utf-8') as file:
        known = model_edges(file.read())
    seen = {}
    with open(path, encoding='utf-8') as file:
        for line in file:
            machine, before, after, count = line.split()
            seen[machine, int(before), int(after)] = int(count)
    strange = sorted(set(seen) - set(known))
    missing = [edge for edge in sorted(set(known) - set(seen)) if every and known[edge] not in NOT_LIVED]
    excused = sum(known[edge] in NOT_LIVED for edge in set(known) - set(seen))
    for edge in strange:
        print('not an edge of the model:', *edge, f'({seen[edge]} times)')
    for edge in missing:
        print('an edge of the model that no life took:', edge[0], known[edge])
    print(f'model: {len(set(seen) & set(known))} of {len(known)} edges seen, {excused} excused, {len(strange)} strange ones,'
          f' {sum(seen.values()):,} changes of state')
    return 1 if strange or missing or not seen else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=['verify', 'edges'])
    parser.add_argument('file', nargs='?')
    parser.add_argument('--quick', dest='worlds', action='store_const', const=QUICK, default=BRIEF)
    parser.add_argument('--full', dest='worlds', action='store_const', const=FULL)
    parser.add_argument('--control', action='store_true')
    parser.add_argument('--all', action='store_true')
    given = parser.parse_args()
    if given.what == 'verify':
        return verify(given.worlds, given.control)
    return compare(given.file, given.all)


if __name__ == '__main__':
    sys.exit(main())
