#!/usr/bin/env python3
"""The probes that lib/base/probes.h documents are the probes of the library, with as many arguments: probes.py HEADER LIBRARY

77: the library was built without probes."""
import re
import subprocess
import sys

LINE = re.compile(r'^ \*   (\w+) {2,}(\S.*)$')  # name, two blanks or more, arguments; a remark follows after more blanks


def documented(path):
    result = {}
    for line in open(path, encoding='utf-8'):
        found = LINE.match(line)
        if found:
            arguments = re.split(r' {2,}', found[2])[0]
            result[found[1]] = arguments.count(',') + 1
    return result


def built(path):
    notes = subprocess.run(['readelf', '--notes', '--wide', path], capture_output=True, text=True, check=True).stdout
    result = {}
    for name, arguments in re.findall(r'Provider: lago\n\s+Name: (\w+)\n.*\n\s+Arguments: (.*)', notes):
        result.setdefault(name, set()).add(len(arguments.split()))
    return result


def main():
    expected, found = documented(sys.argv[1]), built(sys.argv[2])
    if not found:
        print('the library was built without probes (no sys/sdt.h)')
        return 77
    problems = [f'{name}: documented, but not in the library' for name in expected.keys() - found.keys()]
    problems += [f'{name}: in the library, but not documented' for name in found.keys() - expected.keys()]
    problems += [f'{name}: {counts} arguments, documented are {expected[name]}' for name, counts in found.items()
                 if name in expected and counts != {expected[name]}]
    print('\n'.join(sorted(problems)) or f'{len(found)} probes as documented')
    return 1 if problems else 0


sys.exit(main())
