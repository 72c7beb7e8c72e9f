#!/usr/bin/env python3
"""Print what meson test found: report.py LOG_DIR. What was skipped, the output of each failed test, then "N passed, N failed".
Exits with 1 if any failed, or if nothing ran at all."""
import glob
import json
import os
import sys

TAIL_LINES = 60  # of a failed test: enough for a sanitizer's report
PASSED = {'OK', 'EXPECTEDFAIL'}


def read_results(log_dir):
    for path in glob.glob(os.path.join(log_dir, 'testlog*.json')):
        with open(path, encoding='utf-8', errors='replace') as log:
            yield from (json.loads(line) for line in log)


def print_failure(result):
    print(f"---- {result['name']}: {result['result']} ({result['duration']:.1f} s)")
    for stream in ('stdout', 'stderr'):
        for line in (result.get(stream) or '').splitlines()[-TAIL_LINES:]:
            print('    ' + line)


def main(log_dir):
    results = list(read_results(log_dir))
    passed = [result for result in results if result['result'] in PASSED]
    skipped = [result for result in results if result['result'] == 'SKIP']
    failed = [result for result in results if result not in passed and result not in skipped]
    if not results:
        with open(os.path.join(log_dir, 'run.txt'), encoding='utf-8', errors='replace') as output:
            sys.stdout.write(output.read())
        print('no test has run')
    for result in skipped:
        reason = (result.get('stdout') or '').strip().splitlines()
        print(f"skipped {result['name']}" + (f': {reason[-1]}' if reason else ''))
    for result in failed:
        print_failure(result)
    print(f'{len(passed)} passed, {len(failed)} failed')
    return 1 if failed or not results else 0


sys.exit(main(sys.argv[1]))
