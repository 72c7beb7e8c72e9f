#!/usr/bin/env python3
"""Run the analysers over what Meson compiles: analyse.py SOURCE_ROOT BUILD_DIR SCRATCH [--tool NAME]... [--control] [FILE...]

A finding is (tool, file, line, rule, text), the same line told twice counts once. A line of the file `suppressions` is
    TOOL RULE FILE `piece of the line` REASON
and one that nothing needs is a fault, if all was looked at."""
import concurrent.futures
import fnmatch
import json
import os
import plistlib
import re
import shlex
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = ('scan-build', 'gcc', 'clang-tidy', 'cppcheck')
ROOMS = ('include', 'lib', 'adapters', 'samples')
GCC_WARNINGS = ['-Wall', '-Wextra', '-Wconversion', '-Wsign-conversion', '-Wcast-align=strict', '-Wformat=2', '-Wnull-dereference',
                '-Wduplicated-cond', '-Wduplicated-branches', '-Wlogical-op', '-Walloca', '-Warith-conversion']
CLANG_WARNINGS = ['-Wall', '-Wextra', '-Wconversion', '-Wsign-conversion', '-Wcast-align', '-Wformat=2', '-Wconditional-uninitialized', '-Wunreachable-code', '-Wassign-enum', '-Wloop-analysis', '-Wthread-safety']
TOLD = re.compile(r'^(/?[^\s:][^:\n]*):(\d+):(?:\d+:)? (?:warning|error|style|performance|portability|information): (.*?) ?\[([\w.,=+-]+)\]$',
                  re.MULTILINE)
PLANTED = {'scan-build': 'core.NullDereference', 'gcc': '-Wanalyzer-use-after-free', 'clang-tidy': 'bugprone-implicit-widening-of-multiplication-result',
           'cppcheck': 'arrayIndexOutOfBounds'}


class Run:
    def __init__(self, root, build, scratch):
        self.root, self.build, self.scratch = root, build, scratch

    def short(self, path):
        return os.path.relpath(os.path.normpath(os.path.join(self.build, path)), self.root)

    def ask(self, command):
        """What the tool says; one that cannot run is an error, one that finds something need not be."""
        done = subprocess.run(command, cwd=self.build, capture_output=True, text=True, errors='replace', check=False)
        return done.returncode, done.stdout + done.stderr

    def line(self, path, number):
        with open(os.path.join(self.root, path), encoding='utf-8') as file:
            return file.read().split('\n')[number - 1]

    def told(self, tool, output):
        for match in TOLD.finditer(output):
            yield tool, self.short(match[1]), int(match[2]), match[4], match[3]


def flags_of(entry):
    """What the compiler has to know to read the file, without how it is built."""
    words, kept = shlex.split(entry['command']), []
    for word in words:
        if word.startswith(('-I', '-D', '-U', '-std=')):
            kept.append(word)
        elif kept and kept[-1] == '-isystem':
            kept.append(word)
        elif word == '-isystem':
            kept.append(word)
    return kept


def gcc(run, path, flags):
    """The analyser of gcc 12 does not know C++."""
    is_c = path.endswith('.c')
    command = ['gcc' if is_c else 'g++', *flags, *GCC_WARNINGS, *(['-fanalyzer'] if is_c else []), '-O2', '-c', path, '-o', '/dev/null']
    code, output = run.ask(command)
    yield from run.told('gcc', output)
    if code:
        yield 'gcc', run.short(path), 0, 'does-not-compile', output[-300:]


def scan_build(run, path, flags):
    """What scan-build does for a file, with its checkers and one more set; clang's warnings come with it."""
    plist = os.path.join(run.scratch, run.short(path).replace('/', '_') + '.plist')
    checkers = ['-Xclang', '-analyzer-checker=optin.portability,nullability,security.FloatLoopCounter,alpha.unix.cstring.OutOfBounds']
    code, output = run.ask(['clang-14' if path.endswith('.c') else 'clang++-14', '--analyze', '--analyzer-output', 'plist', *checkers, *flags,
                            '-o', plist, path])
    if code:
        yield 'scan-build', run.short(path), 0, 'does-not-compile', output[-300:]
        return
    with open(plist, 'rb') as file:
        report = plistlib.load(file)
    for found in report['diagnostics']:
        at = found['location']
        yield 'scan-build', run.short(report['files'][at['file']]), at['line'], found['check_name'], found['description']
    _, output = run.ask(['clang-14' if path.endswith('.c') else 'clang++-14', *CLANG_WARNINGS, *flags, '-fsyntax-only', path])
    yield from run.told('scan-build', output)


def clang_tidy(run, path, flags):
    code, output = run.ask(['clang-tidy-14', '--quiet', path, '--', *flags])
    yield from run.told('clang-tidy', output)
    if code and 'error:' in output:
        yield 'clang-tidy', run.short(path), 0, 'does-not-compile', output[-300:]


def cppcheck(run, path, flags):
    code, output = run.ask(['cppcheck', '--quiet', '--enable=warning,performance,portability', '--inline-suppr', '--std=c11', '--library=posix',
                            '--max-configs=4', '--suppress=missingIncludeSystem', '--suppress=*:/usr/*',
                            '--template={file}:{line}: {severity}: {message} [{id}]', *[flag for flag in flags if not flag.startswith('-std')], path])
    yield from run.told('cppcheck', output)
    if code:
        yield 'cppcheck', run.short(path), 0, 'does-not-run', output[-300:]


ASK = {'gcc': gcc, 'scan-build': scan_build, 'clang-tidy': clang_tidy, 'cppcheck': cppcheck}


def compiled(run, wanted):
    """{file: flags} of what is ours."""
    with open(os.path.join(run.build, 'compile_commands.json'), encoding='utf-8') as file:
        entries = json.load(file)
    found = {}
    for entry in entries:
        path = os.path.normpath(os.path.join(entry['directory'], entry['file']))
        if not wanted or os.path.relpath(path, run.root) in wanted:
            found.setdefault(path, flags_of(entry))
    return found


def find(run, files, tools):
    jobs = [(tool, path) for path in files for tool in tools]
    found = {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for results in pool.map(lambda job: list(ASK[job[0]](run, job[1], files[job[1]])), jobs):
            for tool, path, line, rule, text in results:
                if path.split('/')[0] in ROOMS or path.startswith('tests/analysis/'):
                    found.setdefault((tool, path, line, rule), text)
    return found


def read_suppressions():
    rules, problems = [], []
    with open(os.path.join(HERE, 'suppressions'), encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            if line.strip() and not line.startswith('#'):
                match = re.fullmatch(r'(\S+)\s+(\S+)\s+(\S+)\s+`([^`]+)`\s+(\S.{8,})\n', line)
                if match:
                    rules.append((number, *match.groups()[:4]))
                else:
                    problems.append(f'tests/analysis/suppressions:{number}: is not TOOL RULE FILE `piece of the line` REASON')
    return rules, problems


def in_comments(run, files):
    """How many suppressions stand beside the line; one without a reason, there or in the comment above, is a problem."""
    marks, problems = 0, []
    for path in files:
        with open(path, encoding='utf-8') as file:
            above = ''
            for number, line in enumerate(file, 1):
                if match := re.search(r'NOLINT(?:NEXTLINE)?(?:\([^)]*\))?(.*)|cppcheck-suppress \w+(.*)', line):
                    marks += 1
                    if len((match[1] or match[2] or '').strip(' */:')) < 8 and '*/' not in above:
                        problems.append(f'{run.short(path)}:{number}: a suppression without its reason')
                above = line
    return marks, problems


def control(run, tools):
    found = find(run, {os.path.join(HERE, 'planted.c'): ['-std=c11']}, tools)
    seen = {tool for tool, _, _, rule in found if PLANTED[tool] in rule}
    for tool in tools:
        print(f"{tool}: {PLANTED[tool]} {'seen' if tool in seen else 'NOT SEEN'}")
    print(f'analysis control: {len(seen)} of {len(tools)} planted defects seen')
    return 0 if len(seen) == len(tools) else 1


def main(root, build, scratch, *words):
    words, tools, wanted = list(words), [], []
    while words:
        word = words.pop(0)
        if word == '--tool':
            tools.append(words.pop(0))
        elif word != '--control':
            wanted.append(word)
    for tool in tools:
        if tool not in TOOLS:
            print(f'there is no tool {tool}: {" ".join(TOOLS)}', file=sys.stderr)
            return 2
    run, chosen = Run(root, build, scratch), tools or TOOLS
    if '--control' in sys.argv:
        return control(run, chosen)
    files = compiled(run, wanted)
    found = find(run, files, chosen)
    rules, problems = read_suppressions()
    used, suppressed, still_open = set(), 0, []
    for (tool, path, line, rule), text in sorted(found.items()):
        known = [number for number, t, r, p, piece in rules
                 if t in (tool, '*') and fnmatch.fnmatch(rule, r) and fnmatch.fnmatch(path, p) and piece in run.line(path, line)]
        used.update(known)
        if known:
            suppressed += 1
        else:
            still_open.append(f'{path}:{line}: {tool}: {text} [{rule}]')
    if not wanted and not tools:
        problems += [f'tests/analysis/suppressions:{number}: nothing needs this' for number, *_ in rules if number not in used]
    marks, more = in_comments(run, files)
    still_open += problems + more
    print(*still_open, sep='\n', end='\n' if still_open else '')
    print(f'analysis: {len(chosen)} tools, {len(files)} files, {len(still_open)} open findings, {suppressed + marks} suppressed')
    return 1 if still_open or not files else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
