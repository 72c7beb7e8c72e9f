#!/usr/bin/env python3
"""Whether rows.py sees what it is there to see: control.py BUILD_DIR. Its page has tests that fail, crash and hang one time in
three, are skipped, or are not there; and F9 is missing."""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
VERDICTS = {'F1': 'ok', 'F2': 'FAILED', 'F3': 'flaky', 'F4': 'flaky', 'F5': 'flaky', 'F6': 'FAILED', 'F7': 'ok', 'F8': 'FAILED'}
LAST = 'rows: 8 rows, 7 tests, 3 times each, 4 failed, 3 flaky'  # three rows, and the one that is missing


def main(build):
    said = subprocess.run([sys.executable, '-B', os.path.join(HERE, 'rows.py'), build, '--page', os.path.join(HERE, 'control.md'),
                           '--times', '3', '--complete', '9'], stdout=subprocess.PIPE, text=True)
    verdicts = dict(re.findall(r'^(F\d+) +(\w+)', said.stdout, re.MULTILINE))
    right = verdicts == VERDICTS and said.stdout.rstrip().split('\n')[-1] == LAST and said.returncode == 1
    print(said.stdout, 'as it should be' if right else 'NOT as it should be')
    return 0 if right else 1


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
