#!/usr/bin/env python3
"""lago's tools over TLS: the flags, amqps://, and what keeps a password from leaving. Needs a broker in AMQP_URL; with TLS also the
variables of `broker start -t`, else that class is skipped."""
import os
import pathlib
import socket
import sys
import tempfile

from tools import PARTS, SKIPPED, URL, ToolsTest, main

CA = os.environ.get('BROKER_CACERT', '')
TLS_DIR = os.environ.get('BROKER_TLS', '')
PORT, STRICT_PORT = os.environ.get('AMQPS_PORT', ''), os.environ.get('AMQPS_CERT_PORT', '')
EVERY_TOOL = [('lago-publish', '-r', 'q', '-b', 'x'), ('lago-consume', '-q', 'q'), ('lago-get', '-q', 'q'),
              ('lago-declare-queue', '-q', 'q'), ('lago-delete-queue', '-q', 'q')]
SECRET = 'S3CR-T'


def own(name):
    return ['--cert', os.path.join(TLS_DIR, name + '.pem'), '--key', os.path.join(TLS_DIR, name + '.key')]


class Flags(ToolsTest):
    """Without a broker that speaks TLS."""
    get = 'lago-get', '-q', 'q'

    def test_never_falls_back(self):
        """Every flag means TLS; the broker here speaks none, and gets no password."""
        with tempfile.TemporaryDirectory() as directory:
            bad = os.path.join(directory, 'no.pem')
            for tool in EVERY_TOOL:
                self.bad('TLS', *tool, '--ssl', '-s', PARTS.hostname, '--port', PARTS.port)
                self.bad('tls.ca_file', *tool, '--cacert', bad, '-s', PARTS.hostname, '--port', PARTS.port)
                self.bad('tls.certificate_file', *tool, '--cert', bad, '-s', PARTS.hostname, '--port', PARTS.port)
        for env in {'AMQP_URL': '', 'RABBITMQ_HOST': PARTS.hostname, 'RABBITMQ_PORT': str(PARTS.port)}, {'AMQP_URL': URL.replace('amqp', 'amqps', 1)}:
            self.bad('TLS', *self.get, '--ssl', env=env)

    def test_says_nothing_before_the_handshake(self):
        for flags in ['--ssl'], ['--ssl', '--password', SECRET]:
            with socket.create_server(('127.0.0.1', 0)) as server:
                process = self.start(*self.get, '-s', '127.0.0.1', '--port', server.getsockname()[1], *flags)
                with server.accept()[0] as peer:
                    hello = peer.recv(65536)
                    self.assertEqual(hello[:2], b'\x16\x03')  # a handshake record, no AMQP
                process.kill()

    def test_contradictions(self):
        for flags in ['--ssl'], ['--cacert', 'a'], ['--cert', 'a', '--key', 'b']:
            self.bad('but the --url option does not', *self.get, *flags, '-u', URL)
            self.bad('but AMQP_URL does not', *self.get, *flags)
        self.bad('--key option needs --cert', *self.get, '--key', 'k', '-s', 'localhost')
        self.bad('of which of AMQP_URL', *self.get, '--port', '1', env={'AMQP_URL': 'amqp://h1,h2'})
        for key in 'cacertfile=a', 'verify=verify_none':
            self.bad('use amqps://', *self.get, '-u', f'amqp://localhost/?{key}')

    def test_default_port(self):
        """5671, where nobody is in a test; 5672 would be refused in other words."""
        for way in ['-s', '127.0.0.1', '--ssl'], ['-u', 'amqps://127.0.0.1'], ['-u', 'amqp://127.0.0.1/?ssl_options={}']:
            self.bad(r'127\.0\.0\.1:5671', *self.get, *way)
        self.bad(r'127\.0\.0\.1:5671', *self.get, '--ssl', env={'AMQP_URL': '', 'RABBITMQ_HOST': '127.0.0.1'})
        self.bad(r'127\.0\.0\.1:5671', *self.get, env={'AMQP_URL': 'amqps://127.0.0.1'})

    def test_secrets_of_a_query_are_not_in_argv(self):
        with socket.create_server(('127.0.0.1', 0)) as silent:
            url = f'amqp://127.0.0.1:{silent.getsockname()[1]}/?proxy=socks5://u:{SECRET}@127.0.0.1:{silent.getsockname()[1]}'
            for way in ['-u', url], [f'--url={url}']:
                process = self.start(*self.get, *way)
                with silent.accept()[0]:
                    shown = pathlib.Path(f'/proc/{process.pid}/cmdline').read_bytes().decode()
                    self.assertNotIn(SECRET, shown)
                    self.assertIn('127.0.0.1', shown)
                    process.kill()
        options = f"{{'certfile': 'a', 'password': '{SECRET}', 'x': 1}}"
        code, _, err = self.run_tool(*self.get, '-u', f'amqps://h/?ssl_options={options}')
        self.assertEqual(code, 1)
        self.assertNotIn(SECRET, err)


class Tls(ToolsTest):
    server = '-s', 'localhost', '--port', PORT

    def test_every_tool(self):
        """The whole way of a message, by each way to say it."""
        with tempfile.NamedTemporaryFile('w') as auth:
            auth.write('username:guest\npassword:guest\n')
            auth.flush()
            url = f'amqps://guest:guest@localhost:{PORT}/'
            ways = ([*self.server, '--ssl', '--cacert', CA], [*self.server, '--cacert', CA, '--authfile', auth.name],
                    ['-u', url, '--cacert', CA], ['-u', f'{url}?cacertfile={CA}'], ['-s', f'127.0.0.1:{PORT}', '--cacert', CA],
                    ['-u', f"{url}?ssl_options={{'cafile': '{CA}'}}"], ['-u', f'{url}?verify=verify_none'])
            for way in ways:
                self.good('lago-declare-queue', '-q', self.queue, *way)
                self.good('lago-publish', '-r', self.queue, '-b', 'x' * 100_000, *way)
                self.assertEqual(self.good('lago-get', '-q', self.queue, *way), b'x' * 100_000)
                self.good('lago-delete-queue', '-q', self.queue, *way)

    def test_the_environment(self):
        self.declare()
        for env in ({'AMQP_URL': f'amqps://guest:guest@localhost:{PORT}/?cacertfile={CA}'},
                    {'AMQP_URL': f'amqps://guest:guest@localhost:{PORT}/', 'RABBITMQ_CACERTFILE': CA},
                    {'AMQP_URL': '', 'RABBITMQ_HOST': 'localhost', 'RABBITMQ_PORT': PORT, 'RABBITMQ_SSL_OPTIONS': f"{{'cafile': '{CA}'}}"}):
            self.assertEqual(self.run_tool('lago-get', '-q', self.queue, env=env), (2, b'', ''))
        for env in ({'AMQP_URL': f'amqps://guest:guest@localhost:{PORT}/'},
                    {'AMQP_URL': '', 'RABBITMQ_HOST': 'localhost', 'RABBITMQ_PORT': PORT}):
            self.assertEqual(self.run_tool('lago-get', '-q', self.queue, '--cacert', CA, env=env), (2, b'', ''))

    def test_consumer(self):
        self.declare()
        self.publish(b'one', b'two')
        out = self.good('lago-consume', '-q', self.queue, '-c', '2', *self.server, '--cacert', CA, 'cat')
        self.assertEqual(out, b'onetwo')

    def test_client_certificates(self):
        self.declare()
        strict = ['-s', 'localhost', '--port', STRICT_PORT, '--cacert', CA]
        both = tempfile.NamedTemporaryFile('w')
        self.addCleanup(both.close)
        for name in own('client')[1::2]:
            both.write(pathlib.Path(name).read_text())
        both.flush()
        for flags in own('client'), ['--cert', both.name]:
            self.assertEqual(self.run_tool('lago-get', '-q', self.queue, *strict, *flags), (2, b'', ''))
        self.bad('certificate', 'lago-get', '-q', self.queue, *strict)
        self.bad('certificate', 'lago-get', '-q', self.queue, *strict, *own('foreign'))
        self.bad('tls.key_file', 'lago-get', '-q', self.queue, *strict, *own('client')[:2], *own('foreign')[2:])
        url = f'amqps://localhost:{STRICT_PORT}/?cacertfile={CA}&auth_mechanism=external'
        for name, code in ('client', 2), ('stranger', 1):
            self.assertEqual(self.run_tool('lago-get', '-q', self.queue, '-u', url, *own(name))[0], code)

    def test_refused(self):
        for tool in EVERY_TOOL:
            self.bad('certificate', *tool, *self.server, '--ssl')
            self.bad('certificate', *tool, *self.server, '--cacert', os.path.join(TLS_DIR, 'foreign-ca.pem'))
        self.bad('mismatch', *EVERY_TOOL[2], '-u', f'amqps://localhost:{PORT}/?cacertfile={CA}&server_name_indication=elsewhere')
        self.bad('this port speaks TLS', *EVERY_TOOL[2], *self.server)
        self.bad('login refused', *EVERY_TOOL[2], *self.server, '--cacert', CA, '--password', SECRET)


if __name__ == '__main__':
    if not CA and sys.argv[1:] == ['Tls']:
        print('no broker with TLS: broker start -t')
        raise SystemExit(SKIPPED)
    main()
