#!/usr/bin/env python3
"""Who may include what: layers.py SOURCE_ROOT BUILD_ROOT NINJA

Judged by what the compiler says it has read for each object (ninja keeps that), so that no detour through another header helps:
  - lib/ reads no system header but the few below (and what these read themselves): no libuv, no OpenSSL, no sockets, no clock;
  - each layer reads only itself and those below it; adapters do not read tests; samples read nothing but public headers;
  - adapters/tls knows of lib/ no more than base, and no libuv; adapters/uv knows no OpenSSL.
And by the text of all files: no "../", no cycle, private headers by their plain name, public ones as <lago/x.h>."""
import os
import re
import subprocess
import sys

import tree

PUBLIC = 'include/'
LAYERS = ['lib/base/', 'lib/codec/', 'lib/session/', 'lib/client/', 'adapters/tls/', 'adapters/uv/']  # lowest first
TLS, UV = 'adapters/tls/', 'adapters/uv/'

# What C itself offers without touching the world, and what glibc's and the compilers' own headers pull in for it. errno.h is for
# the numbers in it; objects.py finds who reads errno.
PURE_HEADERS = {
    'assert.h', 'errno.h', 'inttypes.h', 'limits.h', 'stdarg.h', 'stdbool.h', 'stddef.h', 'stdint.h', 'stdio.h', 'stdlib.h', 'string.h',
    'alloca.h', 'features.h', 'features-time64.h', 'linux/errno.h', 'linux/limits.h', 'stdc-predef.h', 'sys/cdefs.h', 'syslimits.h',
    '__stddef_max_align_t.h',
    'sys/sdt.h', 'sys/sdt-config.h',  # probes: macros that put a note into the object, nothing else
}
GLIBC_INSIDES = ('bits/', 'gnu/', 'asm/', 'asm-generic/')
SYSTEM_ROOT = re.compile(r'/usr/include/(\w+-linux-gnu\w*/)?')


def compiled(source_root, build_root, ninja):
    """Source file -> all files that the compiler has read for it; project files as paths from the root."""
    output = subprocess.run([ninja, '-C', build_root, '-t', 'deps'], capture_output=True, text=True, check=True).stdout
    result = {}
    for block in output.split('\n\n'):
        lines = block.strip().splitlines()
        if not lines or 'STALE' in lines[0]:
            continue
        paths = [os.path.normpath(os.path.join(build_root, line.strip())) for line in lines[1:]]
        paths = [os.path.relpath(path, source_root) if path.startswith(source_root + os.sep) else path for path in paths]
        paths = [path for path in paths if path.endswith(tree.SUFFIXES)]  # clang names its sanitizers' lists as well
        if paths and paths[0].startswith('tests/') != lines[0].startswith('tests/'):
            continue  # a test's own build of the library
        if paths and os.path.exists(os.path.join(source_root, paths[0])):
            result.setdefault(paths[0], set()).update(paths[1:])
    return result


def system_name(path):
    """stdio.h for /usr/include/stdio.h, stddef.h for the compiler's own."""
    root = SYSTEM_ROOT.match(path)
    if root:
        return path[root.end():]
    _, compilers_own, name = path.rpartition('/include/')
    return name if compilers_own else path


def layer_of(path):
    return next((index for index, layer in enumerate(LAYERS) if path.startswith(layer)), None)


def may_read(source, path):
    """Whether a source file of the project may read that file."""
    if path.startswith('/'):
        name = system_name(path)
        if source.startswith(TLS):
            return name != 'uv.h'
        if source.startswith(UV):
            return not name.startswith('openssl/')
        return not source.startswith('lib/') or name in PURE_HEADERS or name.startswith(GLIBC_INSIDES)
    if path.startswith(PUBLIC) or source.startswith('tests/') or os.path.dirname(path) == os.path.dirname(source):
        return True
    if source.startswith('samples/'):
        return path.startswith('samples/')
    layer, other = layer_of(source), layer_of(path)
    if layer is None or other is None or other >= layer:
        return False
    return not source.startswith(TLS) or path.startswith('lib/base/')


def check_compiled(source_root, build_root, ninja):
    problems = []
    seen = compiled(source_root, build_root, ninja)
    for source, paths in sorted(seen.items()):
        problems += [f'{source}: may not reach {path}' for path in sorted(paths) if not may_read(source, path)]
    unseen = [path for path in tree.c_files(source_root) if path.startswith('lib/') and path.endswith('.c') and path not in seen]
    problems += [f'{path}: in lib/, but not part of the build' for path in unseen]
    return problems, len(seen)


def resolve(root, files, path, mark, name):
    """The file of the project that an #include means, or None for a system's."""
    beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
    if mark == '"' and beside in files:
        return beside
    if PUBLIC + name in files:
        return PUBLIC + name
    same_name = [file for file in files if os.path.basename(file) == name and not file.startswith(PUBLIC)]
    return same_name[0] if mark == '"' and same_name else None


def check_text(root, files):
    problems, graph = [], {}
    for path in files:
        graph[path] = []
        for line, mark, name in tree.includes(root, path):
            target = resolve(root, files, path, mark, name)
            if target:
                graph[path].append(target)
            if '..' in name.split('/'):
                problems.append(f'{path}:{line}: "../" in an include')
            elif target and target.startswith(PUBLIC) and mark == '"':
                problems.append(f'{path}:{line}: public headers are included as <lago/...>')
            elif path.startswith('lib/') and not target and name not in PURE_HEADERS:
                problems.append(f'{path}:{line}: {name} has no business in lib/')
            elif target and not target.startswith(PUBLIC) and '/' in name:
                problems.append(f'{path}:{line}: private headers are included by their plain name')
    return problems + find_cycles(graph)


def find_cycles(graph):
    problems, done = [], set()

    def visit(path, trail):
        if path in trail:
            problems.append('include cycle: ' + ' -> '.join([*trail[trail.index(path):], path]))
        elif path not in done:
            for target in graph[path]:
                visit(target, [*trail, path])
            done.add(path)

    for path in graph:
        visit(path, [])
    return problems


def main(source_root, build_root, ninja):
    source_root, build_root = os.path.realpath(source_root), os.path.realpath(build_root)
    problems, checked = check_compiled(source_root, build_root, ninja)
    problems += check_text(source_root, tree.c_files(source_root))
    return tree.report(problems, checked)


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
