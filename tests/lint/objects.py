#!/usr/bin/env python3
"""What the compiled objects of lib/ hold and want: objects.py NM data|imports|clashes LIBRARY...

data     no data that can change: two loops in two threads share nothing.
imports  nothing of the world: of the C library only the pure functions below, and the allocator's three in alloc.c alone.
clashes  no name that two of them define: a test's own library links with a static liblago, in which the names of lib/ are not hidden."""
import re
import subprocess
import sys

import tree

MUTABLE = 'bBdDgGsSC'  # nm's letters: zeroed, initialised, small, common
NEVER_WRITTEN = {('alloc.c.o', 'overwrite')}  # const volatile: must be read at run time, so that wiping is not optimised away
RELOCATED = re.compile(r'\.data\.rel\.ro')
PURE = {
    'bcmp', 'memchr', 'memcmp', 'memcpy', 'memmove', 'memset', 'strchr', 'strcmp', 'strlen', 'strncmp', 'strnlen', 'strrchr', 'strstr',
    'strspn', 'strcspn', 'snprintf', 'vsnprintf',
    '__assert_fail', '__stack_chk_fail', '_GLOBAL_OFFSET_TABLE_',
    '__memcpy_chk', '__memmove_chk', '__memset_chk', '__snprintf_chk', '__vsnprintf_chk',  # _FORTIFY_SOURCE
}
COMPILERS_OWN = re.compile(r'__\w+[sdt]i[234]')  # arithmetic that the processor lacks: __popcountdi2
ALLOCATOR = {'malloc', 'realloc', 'free'}


def symbols(nm, library):
    """(object, symbol, letter) for all symbols of a static library."""
    output = subprocess.run([nm, '-A', '--format=posix', library], capture_output=True, text=True, check=True).stdout
    for line in output.splitlines():
        where, _, rest = line.partition(': ')
        name, letter = rest.split()[:2]
        yield where.rpartition('[')[2].rstrip(']').rpartition('/')[2], name, letter


def read_only_after_relocation(nm, library):
    """Constant tables of pointers: nm calls them data, the loader seals them. (object, symbol)"""
    output = subprocess.run([nm, '-A', '--format=sysv', library], capture_output=True, text=True, check=True).stdout
    for line in output.splitlines():
        fields = [field.strip() for field in line.split('|')]
        if len(fields) == 7 and RELOCATED.search(fields[6]):
            where, _, name = fields[0].rpartition(':')
            yield where.rpartition('[')[2].rstrip(']').rpartition('/')[2], name.strip()


def check_data(nm, library):
    constant = NEVER_WRITTEN | set(read_only_after_relocation(nm, library))
    return [f'{where}: {name} can change' for where, name, letter in symbols(nm, library)
            if letter in MUTABLE and (where, name) not in constant]


def check_imports(nm, libraries):
    every = [symbol for library in libraries for symbol in symbols(nm, library)]
    own = {name for _, name, letter in every if letter not in 'Uw'}
    return [f'{where}: wants {name}' for where, name, letter in every
            if letter == 'U' and name not in own | PURE and not COMPILERS_OWN.fullmatch(name)
            and not (name in ALLOCATOR and where.startswith('alloc.c'))]


def check_clashes(nm, libraries):
    owners = {}
    for library in libraries:
        for _, name, letter in symbols(nm, library):
            if letter in 'TDBRC':
                owners.setdefault(name, set()).add(library)
    return [f'{name}: in {" and in ".join(sorted(found))}' for name, found in sorted(owners.items()) if len(found) > 1]


def main(nm, what, *libraries):
    checked = sum(1 for library in libraries for _ in symbols(nm, library))
    if what == 'imports':
        problems = check_imports(nm, libraries)
    elif what == 'clashes':
        problems = check_clashes(nm, libraries)
    else:
        problems = [problem for library in libraries for problem in check_data(nm, library)]
    return tree.report(problems, checked)


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
