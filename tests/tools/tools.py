"""What the tests of the tools share: how a tool is run, the broker's own view, and a broker that does what a real one rarely does."""
import os
import socket
import struct
import subprocess
import threading
import unittest
import urllib.parse
import uuid

SKIPPED = 77
LIMIT_S = 60  # for anything that takes a moment
URL = os.environ.get('AMQP_URL', '')
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith(('RABBITMQ_', 'LAGO_'))}
PARTS = urllib.parse.urlsplit(URL)
SERVER = ['-s', PARTS.hostname or '', '--port', str(PARTS.port or 5672), '--username', PARTS.username or 'guest',
          '--password', PARTS.password or 'guest', '--vhost', urllib.parse.unquote(PARTS.path[1:]) or '/']


def program(name):
    """lago-get is what was built here; amqp-get is what is installed."""
    return os.path.join(os.environ['TOOLS'], name) if name.startswith('lago-') else name


class ToolsTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.queue = f'lago.test.{uuid.uuid4()}'
        self.addCleanup(self.run_tool, 'lago-delete-queue', '-q', self.queue)

    def start(self, name, *args, env=None, **streams):
        streams = {'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, **streams}
        process = subprocess.Popen([program(name), *map(str, args)], env={**ENVIRONMENT, **(env or {})}, **streams)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in process.stdin, process.stdout, process.stderr:
            if stream and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass

    def run_tool(self, name, *args, input=b'', env=None):
        """Exit code, stdout and stderr. Never the password of anybody."""
        process = self.start(name, *args, stdin=subprocess.PIPE, env=env)
        out, err = process.communicate(input, timeout=LIMIT_S)
        return process.returncode, out, err.decode(errors='backslashreplace')

    def good(self, name, *args, input=b'', env=None):
        """Run a tool that must succeed without a word. Returns what it prints."""
        code, out, err = self.run_tool(name, *args, input=input, env=env)
        self.assertEqual((code, err), (0, ''), f'{name} {args}')
        return out

    def bad(self, words, name, *args, input=b'', env=None, code=1):
        """Run a tool that must fail with one line, which has these words. Returns what it prints."""
        result, out, err = self.run_tool(name, *args, input=input, env=env)
        self.assertEqual((result, err.count('\n')), (code, 1), f'{name} {args}: {err}')
        self.assertRegex(err, f'^{name}: .*{words}')
        return out

    def declare(self, *args):
        self.assertEqual(self.good('lago-declare-queue', '-q', self.queue, *args), f'{self.queue}\n'.encode())

    def publish(self, *bodies):
        for body in bodies:
            self.good('lago-publish', '-r', self.queue, input=body)

    def bodies(self):
        """All that is in the queue."""
        found = []
        while True:
            code, out, _ = self.run_tool('lago-get', '-q', self.queue)
            if code:
                self.assertEqual(code, 2)
                return found
            found.append(out)


def method(channel, class_id, method_id, arguments=b''):
    payload = struct.pack('>HH', class_id, method_id) + arguments
    return struct.pack('>BHI', 1, channel, len(payload)) + payload + b'\xce'


def shortstr(text):
    return bytes([len(text)]) + text


def longstr(text):
    return struct.pack('>I', len(text)) + text


def get_ok(headers, body=b''):
    """basic.get-ok with a message; `headers` is the inside of a table."""
    got = method(1, 60, 71, struct.pack('>QB', 1, 0) + shortstr(b'exchange') + shortstr(b'key') + struct.pack('>I', 0))
    header = struct.pack('>HHQH', 60, 0, len(body), 1 << 13) + longstr(headers)
    frames = struct.pack('>BHI', 2, 1, len(header)) + header + b'\xce'
    return got + frames + (struct.pack('>BHI', 3, 1, len(body)) + body + b'\xce' if body else b'')


class FakeBroker:
    """Speaks as much AMQP as the tools need, and answers a publish, an open or a get as the test wants. `silent`: nothing at all."""

    def __init__(self, test, on_publish=None, on_open=None, on_get=None, silent=False):
        self.on_publish, self.on_open, self.on_get, self.silent = on_publish, on_open, on_get, silent
        self.socket = socket.create_server(('127.0.0.1', 0))
        self.url = f'amqp://127.0.0.1:{self.socket.getsockname()[1]}/'
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        test.addCleanup(self.socket.close)

    def serve(self):
        try:
            peer, _ = self.socket.accept()
            with peer:
                self.stream = peer.makefile('rb')
                if self.silent:
                    self.stream.read()
                else:
                    self.talk(peer)
        except OSError:
            pass

    def talk(self, peer):
        names = (b'publisher_confirms', b'basic.nack', b'connection.blocked', b'consumer_cancel_notify')
        capabilities = b''.join(shortstr(name) + b't\1' for name in names)
        properties = shortstr(b'capabilities') + b'F' + longstr(capabilities)
        self.stream.read(8)
        peer.sendall(method(0, 10, 10, b'\0\x09' + longstr(properties) + longstr(b'PLAIN') + longstr(b'en_US')))
        answers = {
            (10, 11): method(0, 10, 30, struct.pack('>HIH', 2047, 131072, 0)),  # start-ok: tune
            (10, 40): method(0, 10, 41, shortstr(b'')),
            (10, 50): method(0, 10, 51),
            (20, 10): method(1, 20, 11, longstr(b'')),
            (20, 40): method(1, 20, 41),
            (85, 10): method(1, 85, 11),
            (60, 40): self.on_publish,
            (60, 70): self.on_get,
        }
        if self.on_open:
            answers[10, 40] = self.on_open
        while header := self.stream.read(7):
            kind, _, size = struct.unpack('>BHI', header)
            payload = self.stream.read(size + 1)
            called = struct.unpack('>HH', payload[:4]) if kind == 1 else None
            if answers.get(called):
                peer.sendall(answers[called])
            if called == (60, 40):
                answers[called] = None  # to the first one


def main():
    if not URL:
        print('AMQP_URL names no broker')
        raise SystemExit(SKIPPED)
    unittest.main()
