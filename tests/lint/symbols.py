#!/usr/bin/env python3
"""What the shared library exports is what symbols.txt says: symbols.py NM LIBRARY [--write]

--write writes the list anew: to be done with care, for it is the ABI."""
import difflib
import os
import re
import subprocess
import sys

LIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'symbols.txt')
SANITIZERS = re.compile(r'^_*(odr_)?(asan|ubsan|sancov)')


def exported(nm, library):
    output = subprocess.run([nm, '-D', '--defined-only', '--format=posix', library], capture_output=True, text=True, check=True).stdout
    names = {line.split()[0] for line in output.splitlines()}
    return sorted(name for name in names if not SANITIZERS.match(name))


def main(nm, library, write=None):
    names = exported(nm, library)
    if write == '--write':
        with open(LIST, 'w', encoding='utf-8') as file:
            file.writelines(name + '\n' for name in names)
        return 0
    with open(LIST, encoding='utf-8') as file:
        known = file.read().splitlines()
    changes = list(difflib.unified_diff(known, names, 'symbols.txt', os.path.basename(library), lineterm='', n=0))
    print(*changes, f'{len(names)} symbols', sep='\n')
    return 1 if changes or not names else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
