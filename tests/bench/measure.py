#!/usr/bin/env python3
"""Runs the clients beside each other and prints what they cost; called by `run`, which says it all."""
import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import chart
import counts
import goals
import plan

PATIENCE_S = 10 * 60  # then what is left gets one round
PINGS, LARGE_PINGS = 3000, 300  # bodies from 64 KiB on
TRIAL = {16: 20000, 256: 20000, 4096: 8000, 65536: 1000, 1048576: 60}  # messages, to learn how long a run takes
MICRO_COUNT = 1_000_000
PUBLISH_OCTETS = 88  # of AMQP around a body: what is encrypted for the same exchange, key and properties
TLS_OPENSSL = ['openssl', 'speed', '-evp', 'aes-256-gcm', '-bytes', '16384', '-seconds', '1']


def parse_arguments():
    def words(text):
        return text.split(',')
    parser = argparse.ArgumentParser(prog='tests/bench/run', description=__doc__)
    parser.add_argument('--directory', required=True, help=argparse.SUPPRESS)
    parser.add_argument('--quick', action='store_true', help='256 octets, some jobs, short runs: under a minute')
    parser.add_argument('--sizes', type=lambda text: [int(size) for size in text.split(',')],
                        help='of bodies; default ' + ','.join(map(str, plan.SIZES)))
    parser.add_argument('--jobs', type=words, help='default ' + ','.join([*plan.JOBS, *plan.MICRO]))
    parser.add_argument('--clients', type=words, default=list(plan.CLIENTS), help='default ' + ','.join(plan.CLIENTS))
    parser.add_argument('--rounds', type=int, help='each of them all clients in turn; default 5')
    parser.add_argument('--seconds', type=float, help='about so long for each run; default 0.3')
    parser.add_argument('--no-counts', action='store_true', help='no instructions, allocations and system calls')
    parser.add_argument('--rabbitmq', metavar='HOST:PORT', help=argparse.SUPPRESS)
    parser.add_argument('--json', metavar='FILE', help='default results.json beside the build')
    parser.add_argument('--svg', metavar='FILE', help='default results.svg beside the build')
    args = parser.parse_args()
    small = args.quick or args.rabbitmq
    jobs = plan.OF_RABBITMQ if args.rabbitmq else plan.QUICK if args.quick else [*plan.JOBS, *plan.MICRO]
    args.sizes = args.sizes or ([plan.COUNTED_SIZE] if small else plan.SIZES)
    args.jobs = args.jobs or jobs
    args.rounds = args.rounds or (2 if args.quick else 5)
    args.seconds = args.seconds or (0.1 if args.quick else 1.0 if args.rabbitmq else 0.3)
    name = os.path.join(args.directory, '..', '..', 'rabbitmq' if args.rabbitmq else 'results')
    args.json, args.svg = args.json or name + '.json', args.svg or name + '.svg'
    for name in args.jobs:
        if name not in plan.JOBS and name not in plan.MICRO:
            parser.error(f'no such job: {name}')
    return args


class Bench:
    def __init__(self, args):
        self.args, self.rows, self.where, self.where_tls, self.cacert = args, [], None, None, None
        self.programs = {'echo': self.program('bench-echo')}
        for client in args.clients:
            path = self.program(plan.CLIENTS[client])
            if os.path.exists(path):
                self.programs[client] = path
            else:
                print(f'{client} is not built: no librabbitmq-dev here?')
        self.fills, self.begin = 0, time.monotonic()

    def program(self, name):
        return os.path.join(self.args.directory, name)

    def has(self, name):
        return name in self.args.jobs

    # ------------------------------------------------------------ one run

    def fill(self, size, count):
        """A queue with so many messages, in a real broker; it goes with its consumer. The fake one makes them."""
        self.fills += 1
        name = f'bench.{os.getpid()}.{self.fills}'
        env = {'BENCH_QUEUE': name, 'BENCH_EXCHANGE': '', 'BENCH_RKEY': name}
        counts.figures(self.program('bench-floor'), 'publish-confirm', self.where, count, size, env)
        return {'BENCH_QUEUE': name}

    def setting(self, job):
        """Where it connects to, and its environment."""
        env = {name: value for name, value in job.env.items() if name != 'TLS'}
        if 'TLS' not in job.env:
            return self.where, env
        return self.where_tls, {**env, 'BENCH_CACERT': self.cacert}

    def once(self, client, name, size, count):
        job = plan.JOBS[name]
        where, env = self.setting(job)
        if self.args.rabbitmq and job.mode.startswith('consume'):
            env = {**env, **self.fill(size, count)}
        return counts.figures(self.programs[client], job.mode, where, count, size, env)

    def ping_once(self, client, _, size, count):
        """Both sides spin, each on its core: else it is the latency of waking up. So no other broker may be there."""
        if self.args.rabbitmq:
            return self.once(client, 'pingpong', size, count)
        spins = counts.BROKER_CORE != counts.CLIENT_CORE
        program = [self.programs['echo'], '--serve'] if client == 'echo' else [self.program('fake-broker')]
        with counts.FakeBroker(*program, *(['--spin'] if spins else [])) as broker:
            env = {'BENCH_SPIN': 'yes'} if spins else {}
            return counts.figures(self.programs[client], 'pingpong', broker.where, count, size, env)

    # ------------------------------------------------------------ many of them

    def choose_count(self, client, name, size):
        if name == 'pingpong':
            return PINGS if size < 65536 else LARGE_PINGS
        trial = TRIAL.get(size, max(60, int(4e7 / (size + 1000))))
        took = self.once(client, name, size, trial)['wall_s']
        wanted = self.args.seconds / max(took / trial, 1e-8)
        return int(min(max(trial, wanted), 4_000_000, 8e9 / (size + 200), 100_000 if self.args.rabbitmq else 1e9))

    def is_measured(self, name, size):
        job = plan.JOBS[name]
        is_for_size = size in job.sizes or size not in plan.SIZES
        return name in self.args.jobs and is_for_size and ('TLS' not in job.env or self.where_tls is not None)

    def able(self, names):
        for name in names:
            for client in plan.JOBS[name].clients:
                if client in self.programs and not (client == 'echo' and self.args.rabbitmq):
                    yield client, name

    def measure(self, names, size):
        """All clients in turn, round by round."""
        once = self.ping_once if names == ['pingpong'] else self.once
        able = list(self.able(names))
        numbers = {one: self.choose_count(*one, size) for one in able}
        runs = {one: [] for one in able}
        for done in range(self.args.rounds):
            if done > 0 and time.monotonic() - self.begin > PATIENCE_S:
                print(f'this takes too long: {done} of {self.args.rounds} rounds')
                break
            for one in able:
                runs[one].append(once(*one, size, numbers[one]))
        for client, name in able:
            row = {'mode': name, 'size': size, 'client': client, 'count': numbers[client, name],
                   'rounds': len(runs[client, name])}
            for figure in 'msgs_s', 'cpu_ns', 'user_ns', 'maxrss_kb', 'p50_us', 'p99_us':
                values = [run[figure] for run in runs[client, name] if figure in run]
                if values:
                    row[figure], row[figure + '_all'] = statistics.median(values), values
            row['cpu-ns'] = row['cpu_ns']
            self.rows.append(row)

    def measure_all(self, only=None):
        for size in self.args.sizes:
            for row in plan.ROWS:
                names = [name for name in row if self.is_measured(name, size) and (name == 'pingpong') == (only == 'pingpong')]
                if names:
                    print(f'{size} octets: ' + ', '.join(names), flush=True)
                    self.measure(names, size)

    def measure_micro(self):
        """Without sockets: so short that the best time is the one in which nobody else was there. Instructions are the job's alone."""
        able = [('lago', name, self.program('bench-micro'), name) for name in plan.MICRO if self.has(name)]
        able += [('floor', name, self.program('bench-micro'), name + '-floor') for name in plan.MICRO_FLOOR if self.has(name)]
        program = self.program('bench-micro-rabbitmqc')
        if os.path.exists(program):
            able += [('rabbitmq-c', name, program, name) for name in plan.MICRO_RABBITMQC if self.has(name)]
        values = {one: [] for one in able}
        for _ in range(4 * self.args.rounds):
            for one in able:
                values[one].append(counts.read_figures(counts.run([one[2], one[3], str(MICRO_COUNT)]).stdout)['ns'])
        for one in able:
            row = {'mode': one[1], 'size': plan.COUNTED_SIZE, 'client': one[0], 'ns': min(values[one]),
                   'ns_all': values[one]}
            if not self.args.no_counts and not counts.can_count():
                row['instructions'] = counts.job_instructions(one[2], one[3])
            self.rows.append(row)

    def count(self):
        """What does not depend on the machine, for one size. Nobody spins: a look that finds nothing is none of a message's."""
        why_not = counts.can_count()
        has_strace = bool(shutil.which('strace'))
        print('counting', flush=True)
        if why_not or not has_strace:
            print('\n'.join(filter(None, [why_not, None if has_strace else 'no strace here'])))
        for row in self.rows:
            if row['size'] != plan.COUNTED_SIZE or row['mode'] not in plan.JOBS or (self.args.quick and row['client'] != 'lago'):
                continue
            where, env = self.setting(plan.JOBS[row['mode']])
            arguments = self.programs[row['client']], plan.JOBS[row['mode']].mode, where, row['size'], env
            if row['client'] == 'echo':
                continue
            if not why_not and 'tls' not in row['mode'] and row['mode'] != 'pingpong':
                profile = counts.per_message(*arguments)
                row['instructions'], row['instructions_of_library'] = profile.total, profile.library
                row['allocations'] = profile.allocations
            if has_strace:
                row['system-calls'] = min(counts.system_calls(*arguments) for _ in range(2))  # somebody else only adds some

    # ------------------------------------------------------------ what it means

    def compare(self):
        """Ratios of the processor's time; of pingpong, of the median."""
        known = {(row['mode'], row['size'], row['client']): row for row in self.rows}
        for row in self.rows:
            name = 'p50_us' if row['mode'] == 'pingpong' else 'ns' if row['mode'] in plan.MICRO else 'cpu_ns'
            beside = plan.JOBS[row['mode']].beside if row['mode'] in plan.JOBS else None
            for other in 'floor', 'rabbitmq-c', 'echo':
                base = known.get((beside or row['mode'], row['size'], other))
                if base and name in row and base[name] > 0:
                    row['x-' + other] = row[name] / base[name]
            peers = [known[key]['msgs_s'] for key in known if key[0] == (beside or row['mode']) and key[1] == row['size']
                     and key[2] != row['client'] and 'msgs_s' in known[key]]
            if peers and 'msgs_s' in row:
                row['msgs-to-best'] = row['msgs_s'] / max(peers)

    def compare_tls(self):
        """What publishing over TLS costs more, in what the cipher alone costs."""
        plain, secured = ([row for row in self.rows if row['mode'] == mode and row['client'] == 'lago'
                           and row['size'] == plan.COUNTED_SIZE] for mode in ('publish', 'publish-tls'))
        speed = cipher_speed() if plain and secured else None
        if speed:
            octets = plan.COUNTED_SIZE + PUBLISH_OCTETS
            cipher_ns = octets / speed * 1e9
            secured[0]['cipher_ns'] = cipher_ns
            secured[0]['x-cipher'] = (secured[0]['cpu_ns'] - plain[0]['cpu_ns']) / cipher_ns
            print(f"TLS, {plan.COUNTED_SIZE} octets: plain {plain[0]['cpu_ns']:.0f} ns + {secured[0]['x-cipher']:.2f} x "
                  f'{cipher_ns:.0f} ns (AES-256-GCM of {octets} octets, {speed / 1e9:.2f} GB/s)')


def cipher_speed():
    """Octets a second; None without the program."""
    if not shutil.which('openssl'):
        return None
    found = re.findall(r'^AES-256-GCM\s+([\d.]+)k', counts.run(TLS_OPENSSL).stdout, re.MULTILINE | re.IGNORECASE)
    return float(found[-1]) * 1000 if found else None


def cell(row, name, form):
    return format(row[name], form) if name in row else ''


def print_table(rows):
    columns = (('messages/s', 'msgs_s', '.0f', 11), ('CPU ns', 'cpu_ns', '.1f', 10), ('x floor', 'x-floor', '.2f', 8),
               ('x rabbitmq-c', 'x-rabbitmq-c', '.3f', 13), ('peak KiB', 'maxrss_kb', '.0f', 9),
               ('instr.', 'instructions', '.0f', 7), ('library', 'instructions_of_library', '.0f', 8),
               ('syscalls', 'system-calls', '.4f', 9), ('allocs', 'allocations', '.3f', 7), ('ns', 'ns', '.1f', 7),
               ('p50 us', 'p50_us', '.1f', 7), ('p99 us', 'p99_us', '.1f', 8), ('x echo', 'x-echo', '.2f', 7))
    print('\n%8s %-19s %-11s' % ('octets', 'job', 'client') + ''.join('%*s' % (width, head) for head, _, _, width in columns))
    for row in rows:
        print('%8d %-19s %-11s' % (row['size'], row['mode'], row['client'])
              + ''.join('%*s' % (width, cell(row, name, form)) for _, name, form, width in columns))


def describe_machine():
    def first(path, prefix=''):
        try:
            with open(path, encoding='utf-8') as file:
                return next((line.split(':', 1)[-1].strip() for line in file if line.startswith(prefix)), '')
        except OSError:
            return ''
    return {'processor': first('/proc/cpuinfo', 'model name'), 'cores': [counts.BROKER_CORE, counts.CLIENT_CORE],
            'kernel': platform.release(), 'congestion_control': first('/proc/sys/net/ipv4/tcp_congestion_control'),
            'load': os.getloadavg(),
            'compiler': subprocess.run(['gcc', '--version'], capture_output=True, text=True, check=False).stdout.split('\n')[0]}


def with_fake_brokers(bench, what):
    """Two that sleep while nobody talks to them, and so do not disturb each other."""
    program = bench.program('fake-broker')
    with tempfile.TemporaryDirectory() as folder:
        bench.cacert = os.path.join(folder, 'cert.pem')
        with counts.FakeBroker(program) as broker, counts.FakeBroker(program, '--tls', bench.cacert) as secured:
            bench.where, bench.where_tls = broker.where, secured.where
            what()


def measure_with_fake_broker(bench):
    with_fake_brokers(bench, bench.measure_all)
    bench.measure_all('pingpong')
    if not bench.args.no_counts:
        with_fake_brokers(bench, bench.count)
    bench.measure_micro()


def measure_with_rabbitmq(bench):
    host, _, port = bench.args.rabbitmq.rpartition(':')
    bench.where = host, int(port)
    bench.measure_all()
    bench.measure_all('pingpong')


def write_results(bench, machine):
    args = bench.args
    with open(args.json, 'w', encoding='utf-8') as file:
        json.dump({'machine': machine, 'broker': 'RabbitMQ' if args.rabbitmq else 'fake', 'rows': bench.rows}, file, indent=1)
    drawn = [row for row in bench.rows if 'cpu_ns' in row]
    if drawn:
        with open(args.svg, 'w', encoding='utf-8') as file:
            file.write(chart.draw(drawn, machine))
    print(', '.join(map(os.path.relpath, [args.json, args.svg] if drawn else [args.json])))


def main():
    args = parse_arguments()
    bench, machine = Bench(args), describe_machine()
    if counts.BROKER_CORE == counts.CLIENT_CORE:
        print('one core only: broker and client disturb each other')
    if machine['load'][0] > 0.7:
        print(f"the machine is not idle: load {machine['load'][0]:.1f}")
    try:
        if args.rabbitmq:
            measure_with_rabbitmq(bench)
        else:
            measure_with_fake_broker(bench)
    finally:  # what is there is worth seeing
        bench.compare()
        print_table(bench.rows)
    bench.compare_tls()
    goals.print_goals(bench.rows, 'rabbitmq/' if args.rabbitmq else '')
    write_results(bench, machine)
    print(f'took {time.monotonic() - bench.begin:.0f} s; load {machine["load"][0]:.1f} before, {os.getloadavg()[0]:.1f} after')


if __name__ == '__main__':
    try:
        main()
    except counts.Broken as broken:
        sys.exit(str(broken))
    except KeyboardInterrupt:
        sys.exit(130)
