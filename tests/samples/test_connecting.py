#!/usr/bin/env python3
"""The samples that show ways to reach a broker. Needs one in AMQP_URL, and for TLS the variables of `broker start -t`; what is missing
is skipped."""
import os
import socket
import subprocess
import sys
import unittest
import urllib.parse

SKIPPED = 77
LIMIT_S = 60  # for anything that takes a moment
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith('RABBITMQ_')}
PLAIN = urllib.parse.urlsplit(os.environ.get('AMQP_URL', ''))
SECURE = urllib.parse.urlsplit(os.environ.get('AMQPS_URL', ''))
CA = os.environ.get('BROKER_CACERT', '')
TLS_DIR = os.environ.get('BROKER_TLS', '')
RELAY = os.path.join(os.path.dirname(__file__), 'relay.py')


def url(parts, host=None, port=None, user=None, path='/', query=''):
    return f'{parts.scheme}://{user or parts.netloc.rpartition("@")[0]}@{host or parts.hostname}:{port or parts.port}{path}{query}'


def certificate(name):
    return [os.path.join(TLS_DIR, name + suffix) for suffix in ('.pem', '.key')]


def closed_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


class Connecting(unittest.TestCase):
    def run_sample(self, name, *args, code=0, env=None):
        """Standard output of a run that is good, standard error of one that is not; nothing on the other."""
        done = subprocess.run([os.environ[name.upper()], *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=LIMIT_S, check=False, env={**ENVIRONMENT, **(env or {})})
        self.assertEqual(done.returncode, code, f'{args}: {done.stdout}{done.stderr}')
        if code:
            return done.stderr
        self.assertEqual(done.stderr, '')
        return done.stdout

    # ---------------------------------------------------------------- over TCP

    def test_multiple_hosts(self):
        dead = f'{PLAIN.hostname}:{closed_port()}'
        out = self.run_sample('multiple_hosts', url(PLAIN, port=f'{PLAIN.port},{dead},{dead}'))
        self.assertRegex(out, rf'(?m)^connected to \S*:{PLAIN.port}$')
        self.assertIn('attempt 1: connecting\n', out)
        out = self.run_sample('multiple_hosts', f'amqp://{dead}', url(PLAIN, user='guest:wrong'), url(PLAIN, path='/no.such'), url(PLAIN))
        self.assertRegex(out, rf'(?m)^connected to \S*:{PLAIN.port}$')

    def test_multiple_hosts_and_none_of_them(self):
        port = closed_port()
        err = self.run_sample('multiple_hosts', f'amqp://{PLAIN.hostname}:{port}', url(PLAIN, user='guest:wrong'),
                              url(PLAIN, path='/no.such'), code=1).splitlines()
        self.assertEqual(len(err), 9)  # three rounds of three
        for words in f'(connecting): connection refused by {PLAIN.hostname}:{port}', 'login refused', "virtual host 'no.such' refused":
            self.assertEqual(sum(words in line for line in err), 3, err)
        for number, line in enumerate(err, 1):
            self.assertTrue(line.startswith(f'attempt {number} failed ('), line)

    def test_existing_stream(self):
        relay = [sys.executable, '-B', RELAY, PLAIN.hostname, PLAIN.port]
        self.assertRegex(self.run_sample('existing_stream', url(PLAIN, host='elsewhere'), *relay), '^connected by .')
        self.assertIn('login refused', self.run_sample('existing_stream', url(PLAIN, user='guest:wrong'), *relay, code=1))
        self.assertIn('link', self.run_sample('existing_stream', url(PLAIN), 'true', code=1))
        self.assertIn('no such file', self.run_sample('existing_stream', url(PLAIN), '/no/such/command', code=1))

    def test_usage(self):
        for name in 'tls_server_authentication', 'tls_mutual_authentication', 'multiple_hosts', 'existing_stream':
            self.assertIn('usage: ', self.run_sample(name, code=2))
        for args in ('tls_server_authentication', 'amqp:/'), ('tls_mutual_authentication', 'amqp:/', 'a', 'b', 'c'), ('multiple_hosts', 'x'):
            self.assertIn('scheme: ', self.run_sample(*args, code=2))

    # ---------------------------------------------------------------- TLS

    @unittest.skipUnless(CA, 'no broker with TLS')
    def test_tls_server_authentication(self):
        for host in 'localhost', '127.0.0.1':
            out = self.run_sample('tls_server_authentication', url(SECURE, host=host), CA)
            self.assertRegex(out, r'^connected to \S+ by TLSv1\.[23], \S+\nreceived: abc\n$')

    @unittest.skipUnless(CA, 'no broker with TLS')
    def test_tls_refused(self):
        foreign = os.path.join(TLS_DIR, 'foreign-ca.pem')
        for args, words in {(url(SECURE),): 'certificate', (url(SECURE), foreign): 'certificate', (url(PLAIN), CA): 'does not speak TLS',
                            (url(SECURE), '/no/such.pem'): 'tls.ca_file', (url(SECURE, user='guest:wrong'), CA): 'login refused'}.items():
            self.assertIn(words, self.run_sample('tls_server_authentication', *args, code=1))

    @unittest.skipUnless(CA, 'no broker with TLS')
    def test_tls_mutual_authentication(self):
        for port in SECURE.port, os.environ['AMQPS_CERT_PORT']:
            out = self.run_sample('tls_mutual_authentication', f'amqps://localhost:{port}/', CA, *certificate('client'))
            self.assertRegex(out, r'^logged in by certificate at \S+, TLSv1\.[23], \S+\n$')
        strict = f'amqps://localhost:{os.environ["AMQPS_CERT_PORT"]}/'
        for own, words in ((certificate('stranger'), 'EXTERNAL'), (certificate('foreign'), 'certificate'),
                           ([certificate('client')[0], certificate('stranger')[1]], 'tls.key_file')):
            self.assertIn(words, self.run_sample('tls_mutual_authentication', strict, CA, *own, code=1))

    @unittest.skipUnless(CA, 'no broker with TLS')
    def test_tls_with_a_passphrase(self):
        own, key = certificate('client')
        locked = key + '.locked'
        self.addCleanup(os.remove, locked)
        subprocess.run(['openssl', 'pkey', '-in', key, '-aes256', '-passout', 'pass:open', '-out', locked], check=True)
        args = ['tls_mutual_authentication', f'amqps://localhost:{SECURE.port}/', CA, own, locked]
        self.assertIn('logged in', self.run_sample(*args, env={'KEY_PASSPHRASE': 'open'}))
        for env in {}, {'KEY_PASSPHRASE': 'shut'}, {'KEY_PASSPHRASE': 'x' * 2000}:
            self.assertIn('tls.key_file', self.run_sample(*args, code=1, env=env))

    @unittest.skipUnless(CA, 'no broker with TLS')
    def test_tls_through_a_tunnel(self):
        relay = [sys.executable, '-B', RELAY, SECURE.hostname, SECURE.port]
        self.assertRegex(self.run_sample('existing_stream', url(SECURE, host='localhost', query=f'?cacertfile={CA}'), *relay), '^connected')
        err = self.run_sample('existing_stream', url(SECURE, host='elsewhere', query=f'?cacertfile={CA}'), *relay, code=1)
        self.assertIn('hostname mismatch', err)


if __name__ == '__main__':
    if not PLAIN.hostname:
        print('AMQP_URL names no broker')
        sys.exit(SKIPPED)
    unittest.main()
