#!/usr/bin/env python3
"""lago-perf: counts what it is told to, in PerfTest's words, as JSON and as a picture, and ends well. Needs a broker in AMQP_URL,
else it is skipped."""
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import xml.etree.ElementTree

from tools import LIMIT_S, PARTS, FakeBroker, ToolsTest, main, program

LATENCY = r'(\d+/){4}\d+ µs'


class Perf(ToolsTest):
    def perf(self, *args):
        """A run that must succeed. Returns its lines."""
        return self.good('lago-perf', *args).decode().splitlines()

    def summary(self, *args):
        """The last line of --json."""
        return json.loads(self.perf('--json', *args)[-1])

    def test_words(self):
        lines = self.perf('-u', self.queue, '-r', '200', '-c', '50', '-q', '10', '-z', '2', '-d', 'mine', '-f', 'mandatory')
        self.assertRegex(lines[0], r'^id: mine, time [01]\.\d{3} s, sent: \d+ msg/s, returned: 0 msg/s, confirmed: \d+ msg/s, '
                         r'nacked: 0 msg/s, received: \d+ msg/s, min/median/75th/95th/99th '
                         rf'consumer latency: {LATENCY}, confirm latency: {LATENCY}$')
        last = lines[lines.index('test stopped (Reached time limit)') + 1:]
        self.assertRegex('\n'.join(last), r'^id: mine, sending rate avg: \d+ msg/s\nid: mine, receiving rate avg: \d+ msg/s\n'
                         rf'id: mine, consumer latency min/median/75th/95th/99th {LATENCY}\n'
                         rf'id: mine, confirm latency min/median/75th/95th/99th {LATENCY}$')

    def test_rate(self):
        for producers, rate in (1, 500), (2, 100), (1, 2.5):
            run = self.summary('-x', producers, '-r', rate, '-z', '2')
            self.assertLessEqual(run['sent'], producers * rate * 2 + producers)
            self.assertGreaterEqual(run['sent'], producers * rate)  # of a machine that has other things to do
            self.assertGreaterEqual(run['consumer_latency_us']['min'], 1)

    def test_counts(self):
        """Each of two producers and two consumers does its number; all of them together lose nothing."""
        run = self.summary('-u', self.queue, '-x', '2', '-y', '2', '-C', '500', '-D', '500', '-q', '10', '-c', '7', '-s', '100')
        self.assertEqual((run['sent'], run['confirmed'], run['received']), (1000, 1000, 1000))

    def test_producers_only(self):
        self.declare()
        run = self.summary('-y', '0', '-C', '300', '-c', '100', '-u', self.queue, '-e', '', '-p', '-s', '5')
        self.assertEqual((run['sent'], run['confirmed'], run['stopped']), (300, 300, 'Producer reached message limit'))
        self.assertNotIn('consumer_latency_us', run)
        bodies = self.bodies()
        self.assertEqual({len(body) for body in bodies}, {12})
        self.assertEqual(len(bodies), 300)

    def test_consumers_only(self):
        """Messages of another run have times of another clock."""
        self.declare()
        self.publish(b'x' * 100, b'y')
        self.perf('-y', '0', '-C', '8', '-c', '8', '-u', self.queue, '-e', '', '-p')
        run = self.summary('-x', '0', '-D', '10', '-u', self.queue, '-p')
        self.assertEqual((run['received'], run['consumer_latency_us']['p99']), (10, 0))
        self.assertEqual(run['stopped'], 'Consumer reached message limit')
        self.assertEqual(self.bodies(), [])

    def test_acknowledgements(self):
        """What is counted is acknowledged, in each way; what is not, goes back."""
        for ways in [], ['-A', '4'], ['-q', '3'], ['-q', '3', '-A', '2']:
            self.declare()
            self.perf('-y', '0', '-C', '20', '-c', '20', '-u', self.queue, '-e', '', '-p')
            self.assertEqual(self.summary('-x', '0', '-D', '13', '-u', self.queue, '-p', *ways)['received'], 13)
            self.assertEqual(len(self.bodies()), 7, ways)

    def test_a_queue_for_each_consumer(self):
        run = self.summary('-y', '3', '-C', '50', '-D', '50')
        self.assertEqual((run['sent'], run['received']), (50, 150))

    def test_channels(self):
        run = self.summary('-X', '3', '-Y', '2', '-u', self.queue, '-C', '40', '-D', '60', '-q', '1')
        self.assertEqual((run['sent'], run['received']), (120, 120))

    def test_large_bodies(self):
        """They are lent, not copied; more than the window is never under way."""
        run = self.summary('-s', '300000', '-C', '100', '-D', '100', '-c', '5', '-u', self.queue)
        self.assertEqual(run['received'], 100)

    def test_flags(self):
        for more in ['-f', 'persistent'], ['-f', 'persistent', '--queue-args', 'x-queue-type=quorum,x-max-length=1000000']:
            run = self.summary('-u', self.queue, '-C', '20', '-D', '20', '-c', '20', '--auto-delete', 'false', *more)
            self.assertEqual(run['received'], 20)
            self.good('lago-declare-queue', '-q', self.queue, '--passive')
            self.good('lago-delete-queue', '-q', self.queue)
        run = self.summary('-y', '0', '-k', self.queue, '-f', 'mandatory', '-C', '20', '-c', '5')
        self.assertEqual((run['returned'], run['confirmed']), (20, 0))

    def test_picture(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'run.svg')
            self.perf('-r', '100', '-z', '3', '-c', '10', '--svg', path, '-d', '<&>')
            root = xml.etree.ElementTree.parse(path).getroot()
            texts = [element.text for element in root.iter('{http://www.w3.org/2000/svg}text')]
            for text in '<&>', 'sent', 'confirmed', 'received', 'consumer, 99th', 'confirm, median':
                self.assertIn(text, texts)
            self.assertNotRegex(pathlib.Path(path).read_text('utf-8'), 'nan|inf')
        self.bad('cannot write to /no/such', 'lago-perf', '--svg', '/no/such')
        self.bad('cannot write to /dev/full', 'lago-perf', '-C', '1', '--svg', '/dev/full')


class PerfEnds(ToolsTest):
    def test_mistakes(self):
        for words, *args in (('nothing to do', '-x', '0', '-y', '0'), ('--flag', '-f', 'x'), ('--size', '-s', '-1'),
                             ('--confirm', '-c', '0'), ('--qos', '-q', '65536'), ('--rate', '-r', '-1'), ('need --queue', '-p'),
                             ('need --queue', '-e', ''), ('--auto-delete', '--auto-delete', 'maybe'),
                             ('no argument', '--queue-args', 'x'),
                             ('--multi-ack-every', '-q', '2', '-A', '3'), ('unexpected operand', 'x'), ('--interval', '-i', '0')):
            self.bad(words, 'lago-perf', *args)

    def test_refused(self):
        self.declare()
        code, out, err = self.run_tool('lago-perf', '-u', self.queue, '-f', 'persistent')
        self.assertEqual((code, out, err.count('\n')), (1, b'', 1))
        self.assertRegex(err, '^lago-perf: cannot declare the queue: .*406')
        self.bad('404', 'lago-perf', '-e', self.queue, '-p', '-y', '0')
        self.bad('login refused', 'lago-perf', '-U', f'amqp://guest:wrong@{PARTS.hostname}:{PARTS.port}/')
        self.bad('deadline', 'lago-perf', '-U', FakeBroker(self, silent=True).url, '--timeout', '1')

    def test_password_not_in_argv(self):
        silent = FakeBroker(self, silent=True)
        process = self.start('lago-perf', '-U', silent.url.replace('//', '//u:S3CR-T@'))
        time.sleep(0.3)
        with open(f'/proc/{process.pid}/cmdline', 'rb') as shown:
            self.assertNotIn(b'S3CR-T', shown.read())
        process.kill()

    def test_signals(self):
        for signum in signal.SIGINT, signal.SIGTERM:
            process = self.start('lago-perf', '-u', self.queue, '-c', '100', '-q', '10', '-r', '1000')
            process.stdout.readline()
            process.send_signal(signum)
            out, err = process.communicate(timeout=LIMIT_S)
            self.assertEqual((process.returncode, err), (-signum, b''))
            self.assertIn('test stopped (Interrupted)\nid: ', out.decode())
        with self.assertRaises(AssertionError):  # the queue went with its consumer
            self.good('lago-declare-queue', '-q', self.queue, '--passive')

    def test_signal_while_connecting(self):
        silent = FakeBroker(self, silent=True)
        process = self.start('lago-perf', '-U', silent.url)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.communicate(timeout=LIMIT_S), (b'', b''))
        self.assertEqual(process.returncode, -signal.SIGINT)

    def test_queue_is_deleted(self):
        process = self.start('lago-perf', '-u', self.queue, '-r', '100')
        process.stdout.readline()
        self.good('lago-delete-queue', '-q', self.queue)
        out, err = process.communicate(timeout=LIMIT_S)
        self.assertEqual((process.returncode, err), (1, b'lago-perf: the broker has cancelled a consumer: the queue is gone\n'))
        self.assertIn(b'sending rate avg', out)

    def test_reader_goes_away(self):
        out = subprocess.check_output(['bash', '-c', '"$0" -r 10 | head -n 1; echo "${PIPESTATUS[0]}"', program('lago-perf')],
                                      timeout=LIMIT_S)
        self.assertTrue(re.search(rb'^id: .*\n141\n$', out), out)

    def test_reader_sleeps(self):
        """It is waited for, but not for ever by somebody who wants to end it."""
        ours, theirs = os.pipe()
        os.set_blocking(theirs, False)
        try:
            while True:
                os.write(theirs, b'x' * 4096)
        except BlockingIOError:
            pass
        os.set_blocking(theirs, True)
        process = self.start('lago-perf', '-u', self.queue, '-r', '10', '--timeout', '1', stdout=theirs)
        os.close(theirs)
        time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=10), -signal.SIGTERM)
        os.close(ours)

    def test_full_disk(self):
        with open('/dev/full', 'wb') as full:
            process = self.start('lago-perf', '-r', '10', stdout=full)
            _, err = process.communicate(timeout=LIMIT_S)
        self.assertEqual((process.returncode, err.decode()),
                         (1, 'lago-perf: cannot write to standard output: no space left on device\n'))


if __name__ == '__main__':
    main()
