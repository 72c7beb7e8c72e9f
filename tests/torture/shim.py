#!/usr/bin/env python3
"""The adapters' objects with their fallible calls renamed, so that they come to shim.c.

    shim.py make OUTPUT SHIM.c OBJECT...          one object, in which each call of the table is shim_<call>
    shim.py check SHIM.c ALLOWED.txt LIBRARY...   every symbol that the objects need from outside is in the table, or allowed with a reason
"""
import glob
import re
import subprocess
import sys

# names that the objects have for a call of the table: 64-bit variants of libc, and callbacks that fail beside their call
ALIASES = {'fcntl64': 'fcntl', 'open64': 'open', 'stat64': 'stat'}
ALSO = ['uv_pipe_connect', 'uv_close', 'SSL_get_error']
FORTIFIED = re.compile(r'^__(\w+)_chk$')
NOT_CALLS = re.compile(r'_(answer|short)$')


def table(path):
    source = open(path).read()
    names = re.findall(r'^    X\((\w+), ', source, re.M)
    return [name for name in names if not NOT_CALLS.search(name)] + ALSO


def objects_of(paths):
    """Objects, or those of a static library of Meson's, beside it."""
    found = [path for path in paths if path.endswith('.o')]
    for path in paths:
        if path.endswith('.a'):
            found += glob.glob(path + '.p/*.o')
    return found


def make(output, shim, paths):
    needed = undefined(paths)
    renames = [(name, 'shim_' + name) for name in table(shim) if name in needed]
    renames += [(alias, 'shim_' + name) for alias, name in ALIASES.items() if alias in needed]
    subprocess.run(['ld', '-r', '-o', output] + objects_of(paths), check=True)
    subprocess.run(['objcopy'] + [f'--redefine-sym={old}={new}' for old, new in renames] + [output], check=True)


def undefined(paths):
    needed, defined = set(), set()
    for line in subprocess.run(['nm', '-P'] + objects_of(paths), check=True, capture_output=True, text=True).stdout.splitlines():
        words = line.split()
        if len(words) >= 2:
            (needed if words[1] in 'Uw' else defined).add(words[0])
    return needed - defined


def allowed(path):
    rules = []
    for number, line in enumerate(open(path), 1):
        line = line.strip()
        if not line or line.startswith('#'):
            continue
        names, _, reason = line.partition(':')
        if not reason.strip():
            sys.exit(f'{path}:{number}: no reason')
        rules += names.split()
    return rules


def check(shim, allow, paths):
    names, rules = set(table(shim)), allowed(allow)
    unknown, used = [], set()
    for symbol in sorted(undefined(paths)):
        name = ALIASES.get(symbol, symbol)
        if name in names:
            used.add(name)
            continue
        name = FORTIFIED.sub(r'\1', symbol)  # has one argument more: shim.c could not stand in for it, so it has to be allowed
        hits = [rule for rule in rules if name not in names and re.fullmatch(rule.rstrip('?').replace('*', '.*'), name)]
        used.update(hits)
        if not hits:
            unknown.append(symbol)
    stale = sorted(rule for rule in rules if rule not in used and not rule.endswith('?')) + sorted(names - used - set(ALSO))
    for symbol in unknown:
        print(f'{symbol}: neither fails in {shim} nor is allowed by {allow}')
    for name in stale:
        print(f'{name}: nobody calls it any more')
    print(f'shim: {len(names)} calls fail, {len(unknown)} unknown, {len(stale)} stale')
    return 1 if unknown or stale else 0


if __name__ == '__main__':
    if sys.argv[1] == 'make':
        make(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        sys.exit(check(sys.argv[2], sys.argv[3], sys.argv[4:]))
