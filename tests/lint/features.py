#!/usr/bin/env python3
"""tests/FEATURES.md and tests/FAULTS.md tell the truth: features.py SOURCE_ROOT

Every test file and test function that they name exists and is built, every function and type of the API is in the public headers,
every number from 1 on has its row, and every kind of callback in the public headers has its places in the tests of re-entrancy."""
import os
import re
import sys

import tree

PAGE = 'tests/FEATURES.md'
FAULTS = 'tests/FAULTS.md'
LAST_NUMBERS = {'A': 25, 'B': 26, 'C': 12, 'D': 12, 'E': 10, 'F': 32, 'G': 14, 'H': 15, 'I': 17, 'X': 21}
LAST_FAULTS = {'F': 105}
PLACES = ('tests/client/test_reentrancy.c', 'tests/uv/test_loop_callbacks.c')

CODE = re.compile(r'`([^`]+)`')
REFERENCE = re.compile(r'(tests/[\w/.]+?\.\w+)(?:: (?:(\w+(?:, \w+)*)|("[^"]+"(?:, "[^"]+")*)))?')
API = re.compile(r'\blago_\w+')
ROW = re.compile(r'^\| ([A-Z])(\d+) \|(.*)', re.MULTILINE)
UNIT_TEST = re.compile(r'\b(?:cmocka_unit_test\w*|TEST)\(\s*(\w+)')
CALLBACK = re.compile(r'typedef[^;{}]*?\(\*(lago_\w+_cb)\)\s*\(')
MEMBER = re.compile(r'^\s+void \(\*(\w+)\)\(void \*data\);', re.MULTILINE)
PLACE = re.compile(r'\bON_[A-Z_]+')


def built(root, path):
    """Whether the meson.build beside a test names it."""
    folder, name = os.path.split(path)
    lists = os.path.join(root, folder, 'meson.build')
    short = re.sub(r'^test_|\.amqp\.txt$|\.\w+$', '', name)
    return os.path.exists(lists) and re.search(rf"\b{re.escape(short)}\b", tree.read(root, os.path.join(folder, 'meson.build')))


def reference_problems(root, text):
    if not text.startswith('tests/'):
        return
    match = REFERENCE.fullmatch(text)
    if not match:
        yield f'cannot be read: {text}'
        return
    path, names = match[1], match[2]
    if not os.path.exists(os.path.join(root, path)):
        yield f'no such file: {path}'
        return
    if not built(root, path):
        yield f'not in its meson.build: {path}'
    known = UNIT_TEST.findall(tree.read(root, path)) if names else []
    for name in names.split(', ') if names else []:
        if name not in known:
            yield f'no such test: {path}: {name}'
    for row in re.findall(r'"[^"]+"', match[3] or ''):  # of a table in a test
        if row not in tree.read(root, path):
            yield f'no such row: {path}: {row}'


def row_problems(rows, last_numbers):
    seen = [letter + number for letter, number, _ in rows]
    for row in sorted({row for row in seen if seen.count(row) > 1}):
        yield f'more than one row: {row}'
    for letter, last in last_numbers.items():
        for number in range(1, last + 1):
            if f'{letter}{number}' not in seen:
                yield f'no row: {letter}{number}'


def without_proof(absent, rows):
    """Outside the section of what is not there each row names a test."""
    for letter, number, rest in rows:
        row = f'| {letter}{number} |{rest}'
        if row not in absent and '`tests/' not in rest:
            yield f'names no test: {letter}{number}'


def callback_problems(root, page, headers):
    kinds = set(CALLBACK.findall(headers)) | set(MEMBER.findall(headers))
    rows = dict(re.findall(r'^\| `(\w+)` \| (.*) \|$', page, re.MULTILINE))
    enums = [re.search(r'enum place \{(.*?)\}', tree.read(root, path), re.DOTALL)[1] for path in PLACES]
    for kind in sorted(kinds - set(rows)):
        yield f'a callback without a place: {kind}'
    for kind in sorted(set(rows) - kinds):
        yield f'no such callback: {kind}'
    named = [place for row in rows.values() for place in PLACE.findall(row)]
    for place in sorted(set(named)):
        only_there = any(place in row and 'on the real loop only' in row for row in rows.values())
        for path, enum in list(zip(PLACES, enums))[1 if only_there else 0:]:
            if not re.search(rf'\b{place}\b', enum):
                yield f'no place {place} in {path}'
    for place in sorted(set(PLACE.findall(''.join(enums))) - set(named)):
        yield f'a place that the page does not name: {place}'


def page_problems(root, page, headers, absent, last_numbers):
    rows = ROW.findall(page)
    references = [' '.join(text.split()) for text in CODE.findall(page)]
    problems = [problem for text in references for problem in reference_problems(root, text)]
    names = {name for text in references if not text.startswith('tests/') for name in API.findall(text)}
    problems += [f'not in the public headers: {name}' for name in sorted(names) if not re.search(rf'\b{name}\b', headers)]
    problems += [*row_problems(rows, last_numbers), *without_proof(absent, rows)]
    return problems, len([text for text in references if text.startswith('tests/')])


def main(root):
    page, faults = tree.read(root, PAGE), tree.read(root, FAULTS)
    headers = ''.join(tree.read(root, path) for path in tree.c_files(root) if path.startswith('include/'))
    problems, count = page_problems(root, page, headers, page[page.index('## What is not there'):], LAST_NUMBERS)
    of_faults, count_of_faults = page_problems(root, faults, headers, '', LAST_FAULTS)
    problems += [*callback_problems(root, page, headers), *of_faults]
    return tree.report(problems, count + count_of_faults)


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
