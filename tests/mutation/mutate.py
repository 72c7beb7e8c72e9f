#!/usr/bin/env python3
"""Draw mutants, build each, run tests until one fails: mutate.py SOURCE_ROOT BUILD_DIR SCRATCH [OPTIONS of tests/mutation/run]
mutate.py --targets BUILD_DIR: the programs that it needs. mutate.py --survivors SOURCE_ROOT: whether each explanation is one.

A mutant is one object, linked before the libraries, so that nothing else is built. One whose optimized object is the same as the
original's, or as that of a mutant before, changes nothing and does not count; nor does what the compiler refuses."""
import argparse
import collections
import concurrent.futures
import glob
import hashlib
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time

import mutants

HERE = os.path.dirname(os.path.abspath(__file__))
GENERATED = {'lib/codec/method_table.c'}
MODULES = {
    'codec': ['lib/codec/*.c', 'lib/codec/*.h'],
    'session': ['lib/session/*.c'],
    'confirms': ['lib/client/confirms.c', 'lib/client/outcomes.c', 'lib/client/publish*.c', 'lib/client/settle.c', 'lib/session/acks.c',
                 'lib/session/marks.c', 'lib/session/route.c'],
}
# whose tests may kill what is changed in a layer; those of the file itself, and what killed most of it so far, come first
SUITES = {'codec': ['codec', 'session', 'transcripts'], 'session': ['session', 'client', 'transcripts'], 'client': ['client', 'transcripts']}
GOAL = 90.0
SLOWEST_S = 20.0  # a test that takes longer than this, or ten times as long as usual, hangs


def tests_of(build):
    """{suite: {name: (program, [arguments])}}, and the targets' names."""
    with open(os.path.join(build, 'meson-info', 'intro-tests.json'), encoding='utf-8') as file:
        listed = json.load(file)
    suites = collections.defaultdict(dict)
    for test in listed:
        suite = test['suite'][0].split(':')[-1]
        program, *arguments = test['cmd']
        if program.startswith(build) and suite in {name for names in SUITES.values() for name in names}:
            suites[suite][f'{suite}/{test["name"]}'] = (program, arguments)
    return suites


class Build:
    """How the objects and the programs are made."""

    def __init__(self, root, build, scratch, is_control):
        self.root, self.build, self.scratch, self.is_control = root, build, scratch, is_control
        self.suites = tests_of(build)
        with open(os.path.join(build, 'compile_commands.json'), encoding='utf-8') as file:
            self.compile = {os.path.relpath(os.path.normpath(os.path.join(entry['directory'], entry['file'])), root): entry['command']
                            for entry in json.load(file) if '.a.p/' in entry['command']}
        self.link, self.usual, self.lock = {}, {}, threading.Lock()
        self.kills = collections.Counter()

    def compiler(self, source, object_file, path, options):
        """The command for the file at `path`, reading `source` instead."""
        words = [word for word in shlex.split(self.compile[path]) if word not in ('ccache', '-O0', '-g')]
        for flag, count in (('-o', 2), ('-MF', 2), ('-MQ', 2), ('-c', 2), ('-MD', 1)):
            if flag in words:
                at = words.index(flag)
                del words[at:at + count]
        return [*words, *options, '-w', '-g0', '-I' + os.path.join(self.root, os.path.dirname(path)), '-c', source, '-o', object_file]

    def linker(self, program):
        with self.lock:
            if program not in self.link:
                target = os.path.relpath(program, self.build)
                commands = subprocess.run(['ninja', '-C', self.build, '-t', 'commands', '-s', target], capture_output=True, text=True, check=True)
                self.link[program] = shlex.split(commands.stdout.strip().split('\n')[-1])
        return self.link[program]

    def run_test(self, program, arguments, cwd, seconds):
        """True if it passes."""
        environment = {**os.environ, 'MALLOC_PERTURB_': '165', 'CMOCKA_MESSAGE_OUTPUT': 'SUBUNIT', 'TMPDIR': cwd}
        try:
            done = subprocess.run([program, *arguments], cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  stdin=subprocess.DEVNULL, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def measure(self, suites):
        """How long each takes as it is; one that fails then proves nothing."""
        for suite in suites:
            for name, (program, arguments) in list(self.suites[suite].items()):
                begin = time.monotonic()
                if not self.run_test(program, arguments, self.scratch, 10 * SLOWEST_S):
                    print(f'{name} fails without any change: left out', file=sys.stderr)
                    del self.suites[suite][name]
                    continue
                self.usual[name] = time.monotonic() - begin

    def order(self, path):
        layer = path.split('/')[1]
        stem = os.path.splitext(os.path.basename(path))[0]
        names = [(suite, name) for suite in SUITES[layer] for name in self.suites[suite]]

        def key(item):
            suite, name = item
            is_own = name == f'{layer}/{stem}'
            return (not is_own, -self.kills[path, name] / (0.05 + self.usual[name]), SUITES[layer].index(suite), self.usual[name])
        return [name for _, name in sorted(names, key=key)]


class Judge:
    def __init__(self, build, files):
        self.build = build
        self.texts = {path: read(build.root, path) for path in files}
        self.original, self.seen, self.lock = {}, set(), threading.Lock()

    def sources_of(self, path):
        """What is compiled anew when this changes: the file, or for a header a .c file beside it that includes it."""
        if path.endswith('.c'):
            return path
        name = os.path.basename(path)
        folder = os.path.dirname(path)
        for place in sorted(self.build.compile, key=lambda known: (os.path.dirname(known) != folder, known)):
            if f'#include "{name}"' in read(self.build.root, place):
                return place
        return None

    def object_hash(self, source, where, path):
        """Optimized, so that what is written otherwise and means the same is the same."""
        at = os.path.join(where, 'optimized.o')
        done = subprocess.run(self.build.compiler(source, at, path, ['-O2']), cwd=self.build.build, capture_output=True, check=False)
        if done.returncode:
            return None
        with open(at, 'rb') as file:
            return hashlib.sha256(file.read()).hexdigest()

    def judge(self, mutant, where):
        """('killed', by), ('survived', ''), ('equal', '') or ('refused', '')"""
        build, text = self.build, self.texts[mutant.path]
        changed = text[:mutant.begin] + mutant.new + text[mutant.end:]
        source = os.path.join(where, os.path.basename(mutant.path))
        with self.lock:
            if mutant.path not in self.original:
                write(source, text)
                self.original[mutant.path] = self.object_hash(source, where, mutant.path)
        write(source, changed)
        optimized = self.object_hash(source, where, mutant.path)
        if optimized is None:
            return 'refused', ''
        with self.lock:
            if optimized == self.original[mutant.path] or (mutant.path, optimized) in self.seen:
                return 'equal', ''
            self.seen.add((mutant.path, optimized))
        object_file = os.path.join(where, 'mutant.o')
        subprocess.run(build.compiler(source, object_file, mutant.path, ['-O0']), cwd=build.build, capture_output=True, check=True)
        linked = {}
        for name in build.order(mutant.path):
            program, arguments = build.suites[name.split('/')[0]][name]
            if program not in linked:
                linked[program] = os.path.join(where, os.path.basename(program))
                if not self.link(program, linked[program], object_file):
                    return 'refused', ''
            limit = min(SLOWEST_S, 2 + 10 * build.usual[name]) + build.usual[name]
            if not build.is_control and not build.run_test(linked[program], arguments, where, limit):
                build.kills[mutant.path, name] += 1
                return 'killed', name
        return 'survived', ''

    def link(self, program, output, object_file):
        words = list(self.build.linker(program))
        at = words.index('-o')
        words[at + 1] = output
        words[at + 2:at + 2] = [object_file]
        done = subprocess.run(words, cwd=self.build.build, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stderr[-500:], file=sys.stderr)
        return done.returncode == 0


def read(root, path):
    with open(os.path.join(root, path), encoding='utf-8') as file:
        return file.read()


def write(path, text):
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)


def files_of(root, module):
    found = {os.path.relpath(path, root) for pattern in MODULES[module] for path in glob.glob(os.path.join(root, pattern))}
    return sorted(path for path in found - GENERATED if path.endswith('.c'))


def told(mutant, text):
    line = text.split('\n')[mutant.line - 1].strip()
    old, new = (re.sub(r'\s+', ' ', part) for part in (mutant.old, mutant.new))
    return f'{mutant.path}:{mutant.line}: `{old}` -> `{new}` in `{line}`'


def explanations(root):
    """{(path, old, new, line)}: survivors has lines of FILE: `old` -> `new` in `line`: REASON. One that explains nothing is an error."""
    known, problems = {}, []
    with open(os.path.join(HERE, 'survivors'), encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            match = re.fullmatch(r'(\S+?):(?:\d+:)? `(.*)` -> `(.*)` in `(.*)`: (\S.{8,})\n', line)
            if match and has_line(root, match[1], match[4]):
                known[match[1], match[2], match[3], match[4]] = match[5]
            elif line.strip() and not line.startswith('#'):
                problems.append(f'tests/mutation/survivors:{number}: {"there is no such line" if match else "not understood"}: {line.strip()}')
    if problems:
        sys.exit('\n'.join(problems))
    return known


def has_line(root, path, line):
    return os.path.exists(os.path.join(root, path)) and any(line == there.strip() for there in read(root, path).split('\n'))


def modules_of(root, options):
    """Those that are asked for, and have the file."""
    wanted = options.module or list(MODULES)
    found = [module for module in wanted if not options.file or options.file in files_of(root, module)]
    if not found:
        sys.exit(f'{options.file} is no file of {", ".join(wanted)}')
    return found


def explained(known, mutant, text):
    old, new = (re.sub(r'\s+', ' ', part) for part in (mutant.old, mutant.new))
    return known.get((mutant.path, old, new, text.split('\n')[mutant.line - 1].strip()))


def run_module(build, module, options, known):
    files = [path for path in files_of(build.root, module) if not options.file or path == options.file]
    judge = Judge(build, files)
    pool = [mutant for path in files for mutant in mutants.mutants(path, judge.texts[path])]
    random.Random(f'{options.seed} {module}').shuffle(pool)
    if options.list:
        print(*[told(mutant, judge.texts[mutant.path]) for mutant in pool[:options.count]], sep='\n')
        return None
    queue, lock = iter(pool), threading.Lock()
    results = collections.Counter()
    survivors = []

    def work(number):
        where = os.path.join(build.scratch, f'{module}{number}')
        os.makedirs(where, exist_ok=True)
        while True:
            with lock:
                if results['wanted'] == options.count:
                    break
                mutant = next(queue, None)
                if mutant is None:
                    break
                results['wanted'] += 1
            result, by = judge.judge(mutant, where)
            with lock:
                results[result] += 1
                if result in ('equal', 'refused'):
                    results['wanted'] -= 1 # another one for it
                elif result == 'survived':
                    why = explained(known, mutant, judge.texts[mutant.path])
                    results['explained'] += why is not None
                    survivors.append((mutant.path, mutant.line, told(mutant, judge.texts[mutant.path]) + (f': {why}' if why else '')))
        shutil.rmtree(where, ignore_errors=True)

    with concurrent.futures.ThreadPoolExecutor(max_workers=options.jobs) as workers:
        for done in [workers.submit(work, number) for number in range(options.jobs)]:
            done.result()
    print(*[text for _, _, text in sorted(survivors)], sep='\n', end='\n' if survivors else '')
    count = results['killed'] + results['survived']
    print(f'{module}: {len(pool)} places, {count} drawn, {results["killed"]} killed, {results["survived"]} survived ({results["explained"]} explained), '
          f'{results["equal"]} change nothing, {results["refused"]} do not compile', flush=True)
    return results['killed'], count, results['survived'] - results['explained']


def main():
    if sys.argv[1] == '--targets':
        build = sys.argv[2]
        print(*sorted({os.path.relpath(program, build) for suite in tests_of(build).values() for program, _ in suite.values()}))
        return 0
    if sys.argv[1] == '--survivors':
        print(f'{len(explanations(sys.argv[2]))} survivors are explained')
        return 0
    parser = argparse.ArgumentParser()
    parser.add_argument('paths', nargs=3)
    parser.add_argument('--module', action='append', choices=MODULES)
    parser.add_argument('--count', type=int, default=300)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--file')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('--control', action='store_true')
    options = parser.parse_args()
    build = Build(*(os.path.abspath(path) for path in options.paths), options.control)
    modules, known = modules_of(build.root, options), explanations(build.root)
    if not options.list:
        layers = {path.split('/')[1] for module in modules for path in files_of(build.root, module)}
        build.measure(sorted({suite for layer in layers for suite in SUITES[layer]}))
    figures = {module: run_module(build, module, options, known) for module in modules}
    if options.list:
        return 0
    rates = {module: int(1000 * killed / count) / 10 if count else 0.0 for module, (killed, count, _) in figures.items()}
    print('mutation: ' + ', '.join(f'{module} {rates[module]} % of {figures[module][1]}' for module in modules) + f', seed {options.seed}')
    if options.control:
        return 0 if all(killed == 0 and count for killed, count, _ in figures.values()) else 1
    return 0 if all(rate >= GOAL for rate in rates.values()) and not any(unexplained for _, _, unexplained in figures.values()) else 1


if __name__ == '__main__':
    sys.exit(main())
