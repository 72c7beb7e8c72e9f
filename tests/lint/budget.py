#!/usr/bin/env python3
"""Nothing grows too large: budget.py SOURCE_ROOT CTAGS

A function has at most 80 lines, a .c file 800, a public header 400. Exceptions stand in exemptions.txt, each with its reason; one
that is not needed any more is an error as well."""
import json
import os
import subprocess
import sys

import tree

FUNCTION_LINES = 80
SOURCE_LINES = 800
PUBLIC_HEADER_LINES = 400
EXEMPTIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'exemptions.txt')


def long_files(root, files):
    for path in files:
        limit = PUBLIC_HEADER_LINES if path.startswith('include/') else SOURCE_LINES
        lines = tree.read(root, path).count('\n')
        if lines > limit:
            yield path, f'{path}: {lines} lines, {limit} are allowed'


def long_functions(root, files, ctags):
    command = [ctags, '--options=NONE', '--output-format=json', '--languages=C,C++', '--kinds-C=f', '--kinds-C++=f', '--fields=+ne',
               '-f', '-', '-L', '-']
    output = subprocess.run(command, cwd=root, input='\n'.join(files), capture_output=True, text=True, check=True).stdout
    for tag in map(json.loads, output.splitlines()):
        lines = tag.get('end', tag['line']) - tag['line'] + 1
        if lines > FUNCTION_LINES:
            name = f"{tag['path']}:{tag['name']}"
            yield name, f'{name}(): {lines} lines, {FUNCTION_LINES} are allowed'


def read_exemptions():
    exempt, problems = set(), []
    with open(EXEMPTIONS, encoding='utf-8') as file:
        for line in file:
            if line.strip() and not line.startswith('#'):
                what, _, reason = line.strip().partition(' ')
                exempt.add(what)
                if not reason.strip():
                    problems.append(f'exemptions.txt: {what} has no reason')
    return exempt, problems


def main(root, ctags):
    files = tree.c_files(root)
    exempt, problems = read_exemptions()
    excess = dict([*long_files(root, files), *long_functions(root, files, ctags)])
    problems += [text for what, text in sorted(excess.items()) if what not in exempt]
    problems += [f'exemptions.txt: {what} is within its budget, or gone' for what in sorted(exempt - set(excess))]
    return tree.report(problems, len(files))


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
