"""Where the C files of this project are, and what they include. Shared by the lint scripts."""
import os
import re

ROOMS = ('include', 'lib', 'adapters', 'tests', 'samples')
SUFFIXES = ('.c', '.h', '.cc', '.cpp')
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def c_files(root):
    """All C and C++ files, as paths from the root, sorted."""
    found = []
    for room in ROOMS:
        for folder, _, names in os.walk(os.path.join(root, room)):
            found += [os.path.relpath(os.path.join(folder, name), root) for name in names if name.endswith(SUFFIXES)]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding='utf-8') as file:
        return file.read()


def includes(root, path):
    """What a file includes: (line number, '<' or '"', name)."""
    text = read(root, path)
    return [(text.count('\n', 0, match.start()) + 1, match[1], match[2]) for match in INCLUDE.finditer(text)]


def report(problems, checked):
    """Print the problems and what was looked at; the exit code. To have looked at nothing is a problem as well."""
    if not checked:
        problems = [*problems, 'nothing was checked']
    print(*problems, f'{checked} checked, {len(problems)} problems', sep='\n')
    return 1 if problems else 0
