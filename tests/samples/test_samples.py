#!/usr/bin/env python3
"""The samples as their users run them: what they print, and how they end. Needs a broker in AMQP_URL, else it is skipped.

Each test has a queue and an exchange of its own, and deletes them. Nothing here waits by sleeping: a test reads along what the
programs print."""
import os
import re
import signal
import socket
import subprocess
import sys
import unittest
import urllib.parse
import uuid

SKIPPED = 77
LIMIT_S = 60  # for anything that takes a moment
URL = os.environ.get('AMQP_URL', '')
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith(('RABBITMQ_', 'HELLO_'))}
SUMMARY = {
    'PUBLISHER': r'publisher: sent=(?P<sent>\d+) confirmed=(?P<confirmed>\d+) nacked=(?P<nacked>\d+) returned=(?P<returned>\d+) '
                 r'unknown=(?P<unknown>\d+) seconds=\d+\.\d\d rate=\d+/s',
    'CONSUMER': r'consumer: received=(?P<received>\d+) acked=(?P<acked>\d+) seconds=\d+\.\d\d rate=\d+/s',
}


def url_with(user=None, password=None, port=None, vhost=None):
    """AMQP_URL with a part replaced."""
    parts = urllib.parse.urlsplit(URL)
    user = user or parts.username or 'guest'
    password = password or parts.password or 'guest'
    port = port or parts.port or 5672
    path = parts.path if vhost is None else '/' + vhost
    return f'{parts.scheme}://{user}:{password}@{parts.hostname}:{port}{path}'


def closed_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


class Samples(unittest.TestCase):
    def setUp(self):
        self.queue = f'lago.test.{uuid.uuid4()}'
        self.exchange = self.queue + '.exchange'
        self.names = ('--queue', self.queue, '--exchange', self.exchange)

    def start(self, program, *args, **environment):
        process = subprocess.Popen([os.environ[program], *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env={**ENVIRONMENT, **environment})
        process.name = program
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def read_until(self, process, pattern):
        """Read along until a line matches."""
        signal.alarm(LIMIT_S)
        for line in process.stdout:
            if re.search(pattern, line):
                signal.alarm(0)
                return
        self.fail(f'{process.name} ended without {pattern}: {process.stderr.read()}')

    def finish(self, process, code, complaint=None):
        """Wait for the end: this exit code, and this complaint as the only line on stderr. Returns the counts of the summary."""
        out, err = process.communicate(timeout=LIMIT_S)
        self.assertEqual((process.returncode, err.count('\n')), (code, 1 if complaint else 0), f'{out}{err}')
        self.assertRegex(err, complaint or '^$')
        lines = out.splitlines()
        summary = lines and process.name in SUMMARY and re.fullmatch(SUMMARY[process.name], lines[-1])
        return {key: int(value) for key, value in summary.groupdict().items()} if summary else None

    def publish(self, count, *args):
        return self.finish(self.start('PUBLISHER', *self.names, '--count', count, *args), 0)

    def consume(self, count, *args):
        return self.finish(self.start('CONSUMER', *self.names, '--count', count, *args), 0)

    def delete_at_end(self):
        self.addCleanup(self.consume, 0, '--delete')

    # ---------------------------------------------------------------- both together

    def test_together(self):
        consumer = self.start('CONSUMER', *self.names, '--count', 2000, '--delete', '--progress')
        self.read_until(consumer, '^consumer: ready$')
        publisher = self.start('PUBLISHER', *self.names, '--count', 2000, '--progress')
        self.assertEqual(self.finish(publisher, 0), dict(sent=2000, confirmed=2000, nacked=0, returned=0, unknown=0))
        self.assertEqual(self.finish(consumer, 0), dict(received=2000, acked=2000))
        # --delete has deleted it: now nobody can consume it
        hello = self.start('HELLO', HELLO_URL=URL, HELLO_QUEUE=self.queue + '.other', HELLO_CONSUME=self.queue)
        self.queue += '.other'
        self.names = ('--queue', self.queue, '--exchange', self.exchange)
        self.delete_at_end()
        self.finish(hello, 0, 'NOT_FOUND')

    def test_messages_wait(self):
        self.delete_at_end()
        self.publish(300)
        self.assertEqual(self.consume(100), dict(received=100, acked=100))
        # what was sent ahead has come back, the acknowledged ones have not
        self.assertEqual(self.consume(200), dict(received=200, acked=200))
        self.publish(1)
        self.assertEqual(self.consume(1), dict(received=1, acked=1))

    def test_empty_and_large_bodies(self):
        self.delete_at_end()
        self.publish(3, '--size', 0)
        self.publish(3, '--size', 1)
        self.publish(20, '--size', 1 << 20)
        self.assertEqual(self.consume(26), dict(received=26, acked=26))

    # ---------------------------------------------------------------- Ctrl-C

    def test_publisher_interrupted(self):
        self.delete_at_end()
        publisher = self.start('PUBLISHER', *self.names, '--count', 10_000_000, '--progress')
        self.read_until(publisher, r'^publisher: sent=\d+ confirmed=[1-9]\d*$')
        publisher.send_signal(signal.SIGINT)
        counts = self.finish(publisher, 1, r'^publisher: interrupted: \d+ of 10000000 messages were sent$')
        self.assertTrue(0 < counts['sent'] < 10_000_000)
        self.assertEqual(counts, dict(sent=counts['sent'], confirmed=counts['sent'], nacked=0, returned=0, unknown=0))
        # every confirmed message is there
        self.assertEqual(self.consume(counts['confirmed'])['acked'], counts['confirmed'])

    def test_endless_publisher(self):
        self.delete_at_end()
        publisher = self.start('PUBLISHER', *self.names)
        self.read_until(publisher, '^publisher: published message 2,')
        publisher.send_signal(signal.SIGTERM)
        self.assertEqual(self.finish(publisher, 0), dict(sent=2, confirmed=2, nacked=0, returned=0, unknown=0))
        consumer = self.start('CONSUMER', *self.names)
        self.read_until(consumer, '^consumer: message 2, 256 bytes, .*async_publisher')
        consumer.send_signal(signal.SIGTERM)
        self.assertEqual(self.finish(consumer, 0), dict(received=2, acked=2))

    def test_consumer_interrupted(self):
        self.delete_at_end()
        self.publish(3000)
        # a prefetch of 1 is slow enough to be interrupted in the middle
        consumer = self.start('CONSUMER', *self.names, '--count', 1_000_000, '--prefetch', 1, '--progress')
        self.read_until(consumer, 'received=[1-9]')
        consumer.send_signal(signal.SIGINT)
        counts = self.finish(consumer, 1, r'^consumer: interrupted: \d+ of 1000000 messages were received$')
        self.assertEqual(counts['received'], counts['acked'])
        self.assertTrue(0 < counts['acked'] <= 3000)
        # exactly the rest is still there
        rest = 3000 - counts['acked']
        self.publish(1)
        self.assertEqual(self.consume(rest + 1), dict(received=rest + 1, acked=rest + 1))

    def test_interrupted_while_connecting(self):
        with socket.create_server(('127.0.0.1', 0)) as silent:
            for program in 'PUBLISHER', 'CONSUMER':
                process = self.start(program, '--url', f'amqp://127.0.0.1:{silent.getsockname()[1]}/')
                with silent.accept()[0]:
                    process.send_signal(signal.SIGINT)
                    self.assertIsNone(self.finish(process, 0))

    # ---------------------------------------------------------------- what else can happen

    def test_queue_deleted_while_consuming(self):
        consumer = self.start('CONSUMER', *self.names)
        self.read_until(consumer, '^consumer: ready$')
        self.consume(0, '--delete')
        self.assertEqual(self.finish(consumer, 1, '^consumer: the broker has canceled the consumer'), dict(received=0, acked=0))

    def test_queue_deleted_while_publishing(self):
        publisher = self.start('PUBLISHER', *self.names, '--count', 10_000_000, '--progress')
        self.read_until(publisher, r'confirmed=[1-9]')
        self.consume(0, '--delete')  # the exchange goes with it: publishing to it closes the channel
        counts = self.finish(publisher, 1, '^publisher: .*NOT_FOUND')
        self.assertEqual(counts['sent'], sum(counts[key] for key in ('confirmed', 'nacked', 'returned', 'unknown')))

    def test_refused(self):
        cases = {
            url_with(password='wrong'): 'login refused',
            url_with(port=closed_port()): 'connection refused',
            url_with(vhost='lago.no.such.vhost'): 'virtual host',
            'amqp://localhost:port/': 'port',
            'http://localhost/': 'scheme',
        }
        for url, word in cases.items():
            for program in 'PUBLISHER', 'CONSUMER':
                with self.subTest(program=program, url=url):
                    process = self.start(program, '--url', url, '--count', 1)
                    self.assertIsNone(self.finish(process, 1, f'^{program.lower()}: cannot connect: .*{word}'))

    def test_bad_environment(self):
        for program in 'PUBLISHER', 'CONSUMER':
            self.finish(self.start(program, '--count', 1, AMQP_URL='amqp://localhost/?no_such_key=1'), 1, 'no_such_key')
            self.finish(self.start(program, '--count', 1, RABBITMQ_PORT='0'), 1, 'RABBITMQ_PORT')

    def test_usage(self):
        for program in 'PUBLISHER', 'CONSUMER':
            for args in ['--no-such-option'], ['stray'], ['--count'], ['--count', '-1'], ['--count', '1x'], ['--count', '']:
                process = self.start(program, *args)
                out, err = process.communicate(timeout=LIMIT_S)
                self.assertEqual((process.returncode, out), (2, ''), args)
                self.assertIn('usage: async_', err)
            process = self.start(program, '--help')
            self.assertIn('usage: async_', process.communicate(timeout=LIMIT_S)[0])
            self.assertEqual(process.returncode, 0)

    # ---------------------------------------------------------------- hello

    def test_hello_receives(self):
        self.delete_at_end()
        self.publish(3, '--size', 9)
        hello = self.start('HELLO', HELLO_URL=URL, HELLO_QUEUE=self.queue)
        for number in 1, 2, 3:
            self.read_until(hello, f'^received message {number}$')
        hello.kill()

    def test_hello_refused(self):
        cases = {
            url_with(password='wrong'): 'login refused',
            url_with(port=closed_port()): 'connection refused',
            url_with(vhost='lago.no.such.vhost'): 'virtual host',
        }
        for url, word in cases.items():
            with self.subTest(url=url):
                self.finish(self.start('HELLO', HELLO_URL=url), 0, f'^lago: error: .*{word}')

    def test_hello_without_queue(self):
        self.delete_at_end()
        hello = self.start('HELLO', HELLO_URL=URL, HELLO_QUEUE=self.queue, HELLO_CONSUME=self.queue + '.none')
        self.finish(hello, 0, '^lago: error: .*NOT_FOUND')

    def test_hello_cpp(self):
        hello = self.start('HELLO_CPP')
        out, err = hello.communicate(timeout=LIMIT_S)
        self.assertEqual((hello.returncode, err), (0, ''))
        self.assertEqual(sorted(out.splitlines()), ['confirmed', 'received Hello World!, lucky number 7'])
        self.finish(self.start('HELLO_CPP', AMQP_URL=url_with(password='wrong')), 1, '^hello_cpp: login refused')


if __name__ == '__main__':
    if not URL:
        print('AMQP_URL names no broker')
        sys.exit(SKIPPED)
    unittest.main()
