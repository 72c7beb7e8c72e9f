#!/usr/bin/env python3
"""One version everywhere: version.py SOURCE_ROOT VERSION, the latter meson.build's. In version.h, and headed in CHANGELOG.md."""
import re
import sys

import tree


def main(root, version):
    header = tree.read(root, 'include/lago/version.h')
    defines = dict(re.findall(r'^#define (LAGO_VERSION\w*)\s+(\S+)$', header, re.MULTILINE))
    numbers = '.'.join(defines.get(f'LAGO_VERSION_{part}', '?') for part in ('MAJOR', 'MINOR', 'PATCH'))
    text = defines.get('LAGO_VERSION', '?').strip('"')
    problems = []
    if (numbers, text) != (version, version):
        problems.append(f'version.h says {numbers} and "{text}", meson.build {version}')
    if not re.search(rf'^## .*\b{re.escape(version)}\b', tree.read(root, 'CHANGELOG.md'), re.MULTILINE):
        problems.append(f'CHANGELOG.md has no section for {version}')
    return tree.report(problems, 2)


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
