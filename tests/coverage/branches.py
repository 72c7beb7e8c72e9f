#!/usr/bin/env python3
"""What of each file's branches was taken: branches.py SOURCE_ROOT BUILD_DIR [--missing] [FILE...]

Reads BUILD_DIR/profile with llvm-cov. A condition has two branches, true and false; one in a macro counts where the macro is used, one
in an inline function of a header once, whoever included it. A line that ends in `/* unreachable: why */` says that what is missing of
its branches, or of those of the statement that it begins, cannot be taken; a mark on a line where nothing is missing is a fault."""
import glob
import json
import os
import re
import subprocess
import sys

ROOMS = ('lib', 'adapters')
GOALS = {'lib': 100.0, 'adapters': 90.0}
MOST_UNREACHABLE = 1.0  # percent of lib/: a mark is for the few
MARK = re.compile(r'/\* unreachable: (.+?) \*/')


def programs(build):
    """The programs of the tests that have run last: what others were built from may be older than the sources are."""
    found = set()
    for path in glob.glob(os.path.join(build, 'meson-logs', 'testlog*.json')):
        with open(path, encoding='utf-8', errors='replace') as log:
            found |= {json.loads(line)['command'][0] for line in log}
    return [path for path in found if path.startswith(build + '/')]


def export(build):
    first, *others = sorted(programs(build))
    objects = [f'-object={path}' for path in others]
    command = ['llvm-cov-14', 'export', first, *objects, f'-instr-profile={build}/profile', '-num-threads=2',
               '-ignore-filename-regex=/(tests|samples)/|^/usr/']
    output = subprocess.run(command, capture_output=True, check=True).stdout
    return json.loads(output)['data'][0]['functions']


def is_folded(function, branch):
    """A condition that the compiler knows, as in `do ... while (0)`, has no counters although its surroundings do."""
    line, column, _, _, taken, not_taken, file_id = branch[:7]
    if taken or not_taken:
        return False
    around = None
    for region in function['regions']:
        first, last = (region[0], region[1]), (region[2], region[3])
        if region[5] == file_id and region[7] == 0 and first <= (line, column) < last:
            if around is None or (around[0], around[1]) <= first:
                around = region
    return around is not None and around[4] > 0


def uses(function):
    """For each piece of a macro, by its number, where it is used: (number, line, column)."""
    return {region[6]: (region[5], region[0], region[1]) for region in function['regions'] if region[7] == 1}


def count(functions, root):
    """{file: {where: [line, column, times true, times false]}}"""
    found = {}
    for function in functions:
        names = function['filenames']
        used = uses(function)
        for branch in function['branches']:
            if is_folded(function, branch):
                continue
            place, chain = branch[6], [tuple(branch[:4])]
            while place in used:
                place, line, column = used[place]
                chain.append((line, column))
            path = os.path.relpath(os.path.normpath(names[place]), root)
            if path.split('/')[0] in ROOMS:
                line, column = chain[-1][:2]
                entry = found.setdefault(path, {}).setdefault(tuple(chain), [line, column, 0, 0])
                entry[2] += branch[4]
                entry[3] += branch[5]
    return found


def missing_of(entries):
    """(line, column, which way) of what was not taken."""
    for line, column, taken, not_taken in sorted(entries.values()):
        if not taken:
            yield line, column, 'true'
        if not not_taken:
            yield line, column, 'false'


def judge(root, path, entries):
    """Total, unreachable [(line, why)], missing [(line, column, way, text)], marks that nothing needs."""
    with open(os.path.join(root, path), encoding='utf-8') as file:
        lines = file.read().split('\n')
    marks = {number: match[1] for number, line in enumerate(lines, 1) if (match := MARK.search(line))}
    needed, unreachable, missing = set(), [], []
    for line, column, way in missing_of(entries):
        if line in marks:
            needed.add(line)
            unreachable.append((line, way, marks[line]))
        else:
            missing.append((line, column, way, lines[line - 1].strip()))
    return 2 * len(entries), unreachable, missing, sorted(set(marks) - needed)


def main(root, build, *words):
    wanted = [word for word in words if not word.startswith('--')]
    totals = {room: [0, 0, 0] for room in ROOMS}  # branches, unreachable, missing
    faults, listed = [], []
    for path, entries in sorted(count(export(build), root).items()):
        if wanted and not any(path.startswith(word) for word in wanted):
            continue
        total, unreachable, missing, idle = judge(root, path, entries)
        room = totals[path.split('/')[0]]
        for at, number in enumerate((total, len(unreachable), len(missing))):
            room[at] += number
        rate = 100.0 * (total - len(missing)) / total
        print(f'{rate:6.2f} %  {total:5d}  {len(missing):4d} missing  {path}')
        listed += [f'{path}:{line}: unreachable when {way}: {why}' for line, way, why in unreachable]
        faults += [f'{path}:{line}: this mark is not needed: all is taken' for line in idle]
        if '--missing' in words:
            print(*[f'    {path}:{line}:{column}: never {way}: {text}' for line, column, way, text in missing], sep='\n', end='\n' if missing else '')
    print(*listed, *faults, sep='\n')
    rates = {room: 100.0 * (total - missing) / total if total else 100.0 for room, (total, _, missing) in totals.items()}
    branches, unreachable, _ = totals['lib']
    if 100.0 * unreachable > MOST_UNREACHABLE * branches:
        faults.append('too many marks')
        print(f'{unreachable} of {branches} branches of lib/ are marked unreachable: more than {MOST_UNREACHABLE} %')
    print(f"coverage: lib {int(rates['lib'] * 100) / 100:.2f} % of {branches} branches ({unreachable} unreachable, listed), "
          f"adapters {int(rates['adapters'] * 100) / 100:.2f} % of {totals['adapters'][0]}")
    return 1 if faults or any(rates[room] < GOALS[room] for room in ROOMS) else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
