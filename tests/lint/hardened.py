#!/usr/bin/env python3
"""The shared library is linked as hardened libraries are: all symbols bound when it is loaded, relocations sealed, no code on the stack.

    hardened.py LIBRARY"""
import re
import subprocess
import sys

import tree


def main(library):
    text = subprocess.run(['readelf', '--dynamic', '--program-headers', '--wide', library],
                          capture_output=True, text=True, check=True).stdout
    stack = re.search(r'^ *GNU_STACK .* (\S+) +\S+$', text, re.M)
    found = {
        'symbols are bound late (-z now)': bool(re.search(r'\((FLAGS|BIND_NOW)\).*BIND_NOW|FLAGS_1\).*NOW', text)),
        'relocations stay writable (-z relro)': 'GNU_RELRO' in text,
        'code may lie on the stack': bool(stack) and 'E' not in stack[1],
    }
    return tree.report([problem for problem, good in found.items() if not good], len(found))


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
