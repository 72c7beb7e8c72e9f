#!/usr/bin/env python3
"""Every client gets through every mode with bodies of every kind of size: test_drivers.py DIRECTORY [tls]"""
import itertools
import os
import sys
import tempfile

import counts

MODES = ['publish', 'publish-confirm', 'consume-autoack', 'consume-ack', 'consume-ack100', 'pingpong']
OF_LAGO = ['publish-plain', 'consume-ack-each']
SIZES = [0, 1, 256, 8192, 8193, 131064, 131065, 300000]  # about the borders of copying and of frames
COUNT = 300
MICRO = ['decode', 'decode-floor', 'encode', 'encode-plain', 'encode-floor', 'table-lookup', 'table-encode']
JOBS = [*(('bench-micro', job) for job in MICRO), ('bench-micro-rabbitmqc', 'decode')]


class Drivers:
    def __init__(self, directory):
        self.directory, self.failures = directory, []

    def program(self, name):
        """Its path; None where it could not be built."""
        path = os.path.join(self.directory, name)
        return path if os.path.exists(path) else None

    def check(self, name, mode, where, size, env=None):
        try:
            done = counts.figures(self.program(name), mode, where, COUNT, size, env)
            if done['count'] != COUNT or done['size'] != size:
                self.failures.append(f'{name} {mode} {size}: {done}')
        except counts.Broken as broken:
            self.failures.append(f'{size} octets: {broken}')

    def check_with_broker(self, options, clients, env):
        with counts.FakeBroker(self.program('fake-broker'), *options) as broker:
            for name in filter(self.program, clients):
                for mode, size in itertools.product(MODES + (OF_LAGO if name == 'bench-lago' else []), SIZES):
                    self.check(name, mode, broker.where, size, env)
            if broker.process.poll() is not None:
                self.failures.append('the broker has died')

    def check_echo(self):
        for options in [], ['--spin']:
            with counts.FakeBroker(self.program('bench-echo'), '--serve', *options) as server:
                for size in SIZES[1:]:
                    self.check('bench-echo', 'pingpong', server.where, size)

    def check_jobs(self):
        for name, job in JOBS:
            if self.program(name) and counts.read_figures(counts.run([self.program(name), job, '400']).stdout)['count'] != 400:
                self.failures.append(f'{name} {job}')


def main(directory, has_tls):
    drivers = Drivers(directory)
    for options in [], ['--spin']:
        drivers.check_with_broker(options, ['bench-lago', 'bench-floor', 'bench-rabbitmqc'], {})
    if has_tls:
        with tempfile.TemporaryDirectory() as folder:
            cert = os.path.join(folder, 'cert.pem')
            drivers.check_with_broker(['--tls', cert], ['bench-lago', 'bench-rabbitmqc'], {'BENCH_CACERT': cert})
    drivers.check_echo()
    drivers.check_jobs()
    print(*drivers.failures, f'{len(drivers.failures)} failures', sep='\n')
    return 1 if drivers.failures else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1], 'tls' in sys.argv[2:]))
