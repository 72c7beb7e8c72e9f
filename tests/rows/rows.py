#!/usr/bin/env python3
"""The tests that a page's rows of faults name, run again and again; `run` beside this builds them and gives them a broker.

    rows.py BUILD_DIR [--page FILE] [--times N] [--row F59..F70,F81] [--lanes N] [--complete LAST] [--keep DIR] [--verbose]
            [--no-broker]

A row holds if each test that it names passes every time. A test that fails now and then is flaky; one that is skipped proves
nothing, and a row of which all tests are skipped has failed. Which program a file became, and how it is called, says Meson."""
import argparse
import glob
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ROW = re.compile(r'^\| F(\d+) \|(.*)', re.MULTILINE)
CODE = re.compile(r'`(tests/[^`]+)`')
REFERENCE = re.compile(r'(tests/[\w/.]+?\.\w+)(?:: (.+))?')
SKIPPED = re.compile(r'^\[  SKIPPED \] ', re.MULTILINE)
RUN = re.compile(r'\[==========\] (?:[\w/ ]+: )?Running (\d+) test', re.MULTILINE)
NOT_BY_THEMSELVES = {'wireshark'} # run several programs
WITH_A_BROKER = {'broker', 'broker-tls', 'interop', 'ledger', 'proxy', 'samples', 'tools', 'wireshark'}


# ---------------------------------------------------------------- what is to be run

class Test:
    """A command, and how its runs ended."""
    def __init__(self, label, command, entry, program, only=None):
        self.label, self.command, self.program, self.only = label, command, program, only
        self.timeout = entry['timeout']
        self.env = entry['env']
        self.suites = {suite.split(':')[-1] for suite in entry['suite']}
        self.with_broker = bool(self.suites & WITH_A_BROKER)
        self.good = self.bad = self.skipped = 0
        self.first_failure = ''
        self.seconds = 0.0

    def verdict(self):
        if self.bad:
            return 'flaky' if self.good else 'FAILED'
        return 'ok' if self.good else 'skipped'


class Build:
    """What Meson knows of a build directory."""
    def __init__(self, directory):
        self.directory = directory
        self.tests = self.told('tests')
        self.programs, self.filter = {}, None  # source -> program
        for target in self.told('targets'):
            if target['name'] == 'rows_filter':
                self.filter = target['filename'][0]
            if target['type'] == 'executable':
                for sources in target['target_sources']:
                    for source in sources['sources']:
                        self.programs.setdefault(os.path.realpath(source), []).append(target['filename'][0])

        if not self.filter or not os.path.exists(self.filter):
            sys.exit(f'rows.py: {directory} is not built')

    def told(self, what):
        with open(os.path.join(self.directory, 'meson-info', f'intro-{what}.json')) as file:
            return json.load(file)

    def path(self, word):
        """A word of a command as an absolute path, if it is one."""
        return os.path.realpath(os.path.join(self.directory, word))

    def entries(self, path):
        """The tests of Meson that run a source's program, or that read this file; and which word of theirs that is."""
        file = os.path.realpath(os.path.join(ROOT, path))
        wanted = {file, *map(os.path.realpath, self.programs.get(file, []))}
        for entry in self.tests:
            found = [word for word in map(self.path, entry['cmd']) if word in wanted]
            if found and not {suite.split(':')[-1] for suite in entry['suite']} & NOT_BY_THEMSELVES:
                yield entry, found[0]

    def command(self, entry):
        return [self.path(word) if os.path.exists(self.path(word)) else word for word in entry['cmd']]


def tests_of(build, reference):
    """A reference of the page as tests: a conversation, a program, a test of a program, a row of a table."""
    match = REFERENCE.fullmatch(' '.join(reference.split()))
    if not match:
        return
    path, names = match[1], match[2] or ''
    rows = re.findall(r'"([^"]+)"', names)
    for entry, program in build.entries(path):
        command, name = build.command(entry), entry['name']
        if rows:
            yield from (Test(f'{path}: "{row}"', [*command, row], entry, program) for row in rows)
        elif names:
            for only in names.split(', '):
                label = f'{path}: {only}' + ('' if f'test_{name}.c' == os.path.basename(path) else f' ({name})')
                yield Test(label, command, entry, program, only)
        else:
            yield Test(path if path.endswith('.txt') else f'{path} ({name})', command, entry, program)


def numbers_of(words):
    """F59..F70,F81 as a set; nothing: all."""
    numbers = set()
    for word in filter(None, words.split(',')):
        ends = [int(end.lstrip('F')) for end in word.split('..')]
        numbers.update(range(ends[0], ends[-1] + 1))
    return numbers


def read_page(build, page, wanted, problems):
    """[(number, fault, [Test])]; a test that several rows name is one Test."""
    known, rows = {}, []
    for number, rest in ROW.findall(page):
        if wanted and int(number) not in wanted:
            continue
        mine = []
        for reference in CODE.findall(rest):
            tests = list(tests_of(build, reference))
            if not tests:
                problems.append(f'F{number}: nothing of this build runs {reference}')
            mine += [known.setdefault(test.label, test) for test in tests]
        rows.append((int(number), rest.split('|')[0].strip(), mine))
    return rows, list(known.values())


# ---------------------------------------------------------------- running

def environment(build, test, turn):
    env = dict(os.environ, MALLOC_PERTURB_=str(random.randint(1, 255)), LAGO_ROWS_TURN=str(turn), **test.env)
    if 'MALLOC_PERTURB_' in test.env:
        env['MALLOC_PERTURB_'] = test.env['MALLOC_PERTURB_']
    if test.only:
        env.update(LD_PRELOAD=build.filter, LAGO_ROWS_PROGRAM=test.program, LAGO_ROWS_TEST=test.only)
        env['ASAN_OPTIONS'] = env.get('ASAN_OPTIONS', '') + ':verify_asan_link_order=0'
    return env


def run_once(build, test, turn):
    """@return how it ended, and what it said."""
    if not os.path.exists(test.command[0]) or not os.path.exists(test.program):
        return 'bad', f'{test.program} is not built'
    process = subprocess.Popen(test.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                               cwd=build.directory, env=environment(build, test, turn), start_new_session=True)
    try:
        said = process.communicate(timeout=test.timeout)[0].decode(errors='replace')
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return 'bad', process.communicate()[0].decode(errors='replace') + f'\ndid not end within {test.timeout} s'
    if process.returncode == 77 or SKIPPED.search(said):
        return 'skipped', said
    ran = RUN.search(said)
    if test.only and process.returncode == 0 and (not ran or int(ran[1]) != 1):
        return 'bad', said + '\nno such test has run'
    return ('good', said) if process.returncode == 0 else ('bad', said + f'\nexit code {process.returncode}')


def broker_log():
    """The end of what the broker wrote meanwhile."""
    said = ''
    for path in glob.glob(os.path.join(os.environ.get('BROKER_DIR', '/nowhere'), 'log', '*@*.log')):
        with open(path, errors='replace') as file:
            said += f'\n{path}:\n' + ''.join(file.readlines()[-40:])
    return said


def run_turn(build, test, turn, args):
    begun = time.monotonic()
    how, said = ('skipped', '') if test.with_broker and args.no_broker else run_once(build, test, turn)
    test.seconds += time.monotonic() - begun
    setattr(test, how, getattr(test, how) + 1)
    if how != 'bad':
        return
    test.first_failure = test.first_failure or f'turn {turn}: {said}'
    if args.keep:
        with open(os.path.join(args.keep, re.sub(r'\W+', '-', test.label)[-120:] + f'.{turn}.txt'), 'w') as file:
            file.write(said + (broker_log() if test.with_broker else ''))


def lane(build, tests, args):
    for test in tests:
        for turn in range(1, args.times + 1):
            run_turn(build, test, turn, args)
        if args.verbose:
            print(f'{test.verdict():7} {test.seconds / args.times:8.2f} s each  {test.label}', flush=True)


def run_all(build, tests, args):
    """Those of a broker one after the other, for they do things to it; beside them the others."""
    others = [test for test in tests if not test.with_broker]
    lanes = [[test for test in tests if test.with_broker], *(others[i::args.lanes] for i in range(args.lanes))]
    threads = [threading.Thread(target=lane, args=(build, tests, args), daemon=True) for tests in lanes if tests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# ---------------------------------------------------------------- telling

def row_verdict(tests):
    verdicts = {test.verdict() for test in tests}
    if not tests or 'FAILED' in verdicts or verdicts == {'skipped'}:
        return 'FAILED'
    return 'flaky' if 'flaky' in verdicts else 'ok'


def tell(rows, tests, times, problems):
    for number, fault, mine in rows:
        good, skipped = sum(test.good for test in mine), sum(test.skipped for test in mine)
        more = f', {skipped} skipped' if skipped else ''
        print(f'F{number:<4} {row_verdict(mine):7} {good:5} of {len(mine) * times}{more:13} {fault}')
    for test in tests:
        if test.bad:
            print(f'\n{test.verdict()}: {test.label}: {test.bad} of {times}\n    ' + '\n    '.join(test.first_failure.strip().split('\n')[-12:]))
    for problem in problems:
        print(f'\nproblem: {problem}')
    verdicts = [row_verdict(mine) for _, _, mine in rows]
    failed, flaky = verdicts.count('FAILED') + len(problems), verdicts.count('flaky')
    print(f'rows: {len(rows)} rows, {len(tests)} tests, {times} times each, {failed} failed, {flaky} flaky')
    return 1 if failed or flaky or not rows else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('build')
    parser.add_argument('--page', default=os.path.join(ROOT, 'tests/FAULTS.md'))
    parser.add_argument('--times', type=int, default=1)
    parser.add_argument('--row', default='')
    parser.add_argument('--lanes', type=int, default=1)
    parser.add_argument('--complete', type=int)
    parser.add_argument('--keep')
    parser.add_argument('--verbose', action='store_true')
    parser.add_argument('--no-broker', action='store_true')
    args = parser.parse_args()
    build, problems = Build(args.build), []
    with open(args.page) as file:
        page = file.read()
    all_rows, _ = read_page(build, page, set(), problems)
    rows, tests = read_page(build, page, numbers_of(args.row), [])
    there = {number for number, _, mine in all_rows if mine}
    problems += [f'F{number}: no row, or no test' for number in range(1, (args.complete or 0) + 1) if number not in there]
    run_all(build, tests, args)
    return tell(rows, tests, args.times, problems)


if __name__ == '__main__':
    sys.exit(main())
