"""Runs the clients of the benchmark: for time, under callgrind for instructions and allocations, under strace for system calls.
Shared by measure.py, gates.py and test_drivers.py."""
import collections
import os
import re
import shutil
import subprocess
import tempfile

LIMIT_S = 300
CORES = sorted(os.sched_getaffinity(0))
BROKER_CORE, CLIENT_CORE = CORES[0], CORES[-1]

# callgrind counts each turn of "rep stos" and "rep movs" as an instruction: keep glibc off them
TUNABLES = 'glibc.cpu.x86_rep_stosb_threshold=100000000:glibc.cpu.x86_rep_movsb_threshold=100000000'


class Broken(Exception):
    """A client has failed; in its own words."""


def pinned(core):
    return lambda: os.sched_setaffinity(0, {core})


class FakeBroker:
    """A broker (or another program that says its port) of its own process, until the end of the `with`."""

    def __init__(self, program, *options):
        self.command = [program, *options, '0']

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(BROKER_CORE))
        line = self.process.stdout.readline()
        if not line.startswith('port '):
            raise Broken('the fake broker does not listen')
        self.where = '127.0.0.1', int(line.split()[1])
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def run(command, env=None):
    """Run something on the clients' core, to its end."""
    words = ' '.join(os.path.basename(word) for word in command if not word.startswith('--'))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False,
                              preexec_fn=pinned(CLIENT_CORE), env={**os.environ, **(env or {})})
    except subprocess.TimeoutExpired as error:
        raise Broken(f'{words}: not done after {LIMIT_S} s') from error
    if done.returncode != 0:
        raise Broken(f'{words}: {(done.stderr or done.stdout)[-300:].strip()}')
    return done


def client(program, mode, where, count, size):
    """Its command line. `where` is (HOST, PORT)."""
    return [program, mode, *map(str, where), str(count), str(size)]


def read_figures(line):
    return {name: float(value) for name, value in re.findall(r'(\w+)=([\d.]+)(?=\s|$)', line)}


def figures(program, mode, where, count, size, env=None):
    """The line of figures of a client, as a dictionary of numbers."""
    return read_figures(run(client(program, mode, where, count, size), env).stdout)


def can_count():
    """None, or why instructions cannot be counted."""
    if not shutil.which('valgrind'):
        return 'no valgrind here'
    done = subprocess.run(['valgrind', '--tool=none', 'true'], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else 'valgrind does not run here: ' + done.stderr.strip().splitlines()[-1]


Profile = collections.namedtuple('Profile', 'total library allocations')
ALLOCATORS = {'malloc', 'calloc', 'realloc', 'aligned_alloc', 'posix_memalign', 'memalign'}
REFERENCE = re.compile(r'(c?)(ob|fn)=\((\d+)\)(?: (.*))?')
COST = re.compile(r'[-+*\d]\S* (\d+)')


def read_profile(lines):
    """Of callgrind's file: a cost belongs to the object that was named last, unless it is that of a call, which the callee has
    as its own. Names stand there once, then only their numbers."""
    names, current = {'ob': {}, 'fn': {}}, {}
    costs, calls, is_call = collections.Counter(), collections.Counter(), False
    for line in lines:
        reference, cost = REFERENCE.match(line), COST.match(line)
        if reference:
            called, kind, number, name = reference.groups()
            if name:
                names[kind][number] = name
            current[called + kind] = names[kind][number]
        elif line.startswith('calls='):
            calls[current['cfn']] += int(line[6:].split()[0])
            is_call = True
        elif cost and is_call:
            is_call = False
        elif cost:
            costs[current.get('ob', '')] += int(cost[1])
    library = sum(cost for name, cost in costs.items() if os.path.basename(name).startswith('liblago.'))
    return Profile(sum(costs.values()), library, sum(calls[name] for name in ALLOCATORS))


def profile(command, env=None, toggle=None):
    """A command under callgrind; with `toggle` only what that function does."""
    with tempfile.TemporaryDirectory() as folder:
        options = [f'--callgrind-out-file={folder}/out', *([f'--toggle-collect={toggle}'] if toggle else [])]
        run(['valgrind', '--tool=callgrind', *options, *command], {'GLIBC_TUNABLES': TUNABLES, **(env or {})})
        with open(f'{folder}/out', encoding='utf-8', errors='replace') as file:
            return read_profile(file)


def called(command, env=None):
    with tempfile.TemporaryDirectory() as folder:
        run(['strace', '-f', '-c', '-o', f'{folder}/out', *command], env)
        with open(f'{folder}/out', encoding='utf-8') as table:
            return int(re.search(r'^100\.\d+(?:\s+[\d.]+){1,2}\s+(\d+)', table.read(), re.MULTILINE)[1])


# Setting up costs the same for few and for many messages: so it cancels out.
PROFILED, CALLED, WORKED = (4000, 16000), (10000, 60000), (2000, 20000)


def per_message(program, mode, where, size, env=None):
    """Instructions in all and of the library alone, and heap allocations."""
    few, many = (profile(client(program, mode, where, count, size), env) for count in PROFILED)
    return Profile(*((b - a) / (PROFILED[1] - PROFILED[0]) for a, b in zip(few, many)))


def system_calls(program, mode, where, size, env=None):
    few, many = (called(client(program, mode, where, count, size), env) for count in CALLED)
    return (many - few) / (CALLED[1] - CALLED[0])


def job_instructions(program, job):
    """Of a job of bench-micro: only what it measures."""
    few, many = (profile([program, job, str(count)], toggle='work').total for count in WORKED)
    return (many - few) / (WORKED[1] - WORKED[0])
