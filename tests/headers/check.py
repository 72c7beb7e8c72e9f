#!/usr/bin/env python3
"""Compile each public header by itself: check.py INCLUDE_DIR STANDARD COMPILER...

It is included twice, so that guards are tried as well. A header that is there but not installed is an error too."""
import os
import subprocess
import sys

WARNINGS = ['-Werror', '-Wall', '-Wextra', '-Wpedantic', '-Wshadow']


def public_headers(include_dir):
    for folder, _, names in os.walk(include_dir):
        for name in sorted(names):
            if name.endswith('.h'):
                yield os.path.relpath(os.path.join(folder, name), include_dir)


def compile_alone(header, include_dir, standard, compiler):
    language = 'c++' if standard.startswith('c++') else 'c'
    source = f'#include <{header}>\n#include <{header}>\n'
    command = [*compiler, f'-std={standard}', *WARNINGS, '-I', include_dir, '-fsyntax-only', '-x', language, '-']
    run = subprocess.run(command, input=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return [] if run.returncode == 0 else [f'{header} as {standard}:\n{run.stdout}']


def main(include_dir, standard, *compiler):
    headers = list(public_headers(include_dir))
    with open(os.path.join(include_dir, 'meson.build'), encoding='utf-8') as file:
        installed = file.read()
    problems = [f'{header}: not installed by include/meson.build' for header in headers if f"'{header}'" not in installed]
    for header in headers:
        problems += compile_alone(header, include_dir, standard, compiler)
    if not headers:
        problems.append(f'no headers in {include_dir}')
    print(*problems, f'{len(headers)} headers, {len(problems)} problems', sep='\n')
    return 1 if problems else 0


sys.exit(main(*sys.argv[1:]))
