#!/usr/bin/env python3
"""How lago's tools end when something is wrong: one line, exit code 1, nothing lost, no password shown, nothing that hangs. Needs a
broker in AMQP_URL, else it is skipped."""
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.parse

from tools import LIMIT_S, PARTS, URL, FakeBroker, ToolsTest, get_ok, longstr, main, method, program, shortstr

SECRET = 'S3CR-T'
EVERY_TOOL = [('lago-publish', '-r', 'q', '-b', 'x'), ('lago-consume', '-q', 'q', 'cat'), ('lago-consume', '-q', 'q'),
              ('lago-get', '-q', 'q'), ('lago-declare-queue', '-q', 'q'), ('lago-delete-queue', '-q', 'q')]


def url_with(user='guest', password='guest', port=PARTS.port, path=PARTS.path):
    return f'amqp://{user}:{password}@{PARTS.hostname}:{port}{path}'


class Refused(ToolsTest):
    def test_every_tool(self):
        with socket.socket() as closed:
            closed.bind(('127.0.0.1', 0))
            urls = {url_with(password=SECRET): 'login refused', url_with(port=closed.getsockname()[1]): 'connection refused',
                    url_with(path='/no.such.vhost'): "virtual host 'no.such.vhost' refused", f'http://u:{SECRET}@h/': 'scheme',
                    f'amqps://{PARTS.hostname}:{PARTS.port}/': 'does not speak TLS', f'amqp://u:{SECRET}@localhost:port/': 'port'}
            for tool in EVERY_TOOL:
                for url, words in urls.items():
                    self.bad(words, tool[0], '-u', url, *tool[1:])
                    self.bad(words, *tool, env={'AMQP_URL': url}) if not tool[-1] == 'cat' else None
                    self.assertNotIn(SECRET, self.run_tool(tool[0], '-u', url, *tool[1:])[2])

    def test_contradictions(self):
        for flags in ['-s', 'h'], ['--port', '1'], ['--vhost', 'v'], ['--username', 'u'], ['--password', 'p'], ['--authfile', 'f']:
            self.bad('cannot be used at the same time', 'lago-get', '-q', 'q', '-u', URL, *flags)
        for flags in ['--username', 'u'], ['--password', 'p']:
            self.bad('cannot be used at the same time', 'lago-get', '-q', 'q', '--authfile', 'f', *flags)
        for flag, value in ('--port', '0'), ('--port', '65536'), ('--heartbeat', '65536'), ('--timeout', '-1'):
            self.bad(flag, 'lago-get', '-q', 'q', flag, value)
        for server in 'h:0', 'h:x', 'h:65536', 'h:':
            self.bad('bad server port', 'lago-get', '-q', 'q', '-s', server)

    def test_every_way_to_log_in(self):
        host, port = PARTS.hostname, str(PARTS.port)
        vhost = urllib.parse.unquote(PARTS.path[1:])
        self.declare()
        with tempfile.NamedTemporaryFile('w') as good, tempfile.NamedTemporaryFile('w') as wrong:
            good.write(f'username:{PARTS.username}\npassword:{PARTS.password}\n')
            wrong.write(f'username:{PARTS.username}\npassword:{SECRET}')
            good.flush(), wrong.flush()
            login = ['--username', PARTS.username, '--password', PARTS.password]
            for flags in (['-u', URL], ['--url', URL], [f'--url={URL}'], [f'-u{URL}'], ['--heartbeat', '0'], ['--timeout', '0'],
                          ['-s', host, '--port', port, '--vhost', vhost, *login], ['-s', f'{host}:{port}', *login],
                          ['-s', host, '--port', port, '--authfile', good.name], ['--authfile', good.name], login):
                self.assertEqual(self.run_tool('lago-get', *flags, '-q', self.queue)[0], 2, flags)
            for flags in (['--authfile', wrong.name], ['--password', SECRET], ['--username', 'nobody'],
                          ['-s', host, '--port', port, '--authfile', wrong.name]):
                self.bad('login refused', 'lago-get', *flags, '-q', self.queue)
            self.bad('TLS|refused|lookup', 'lago-get', '-q', self.queue, '-s', '127.0.0.1', '--port', '1')

    def test_authfile(self):
        for text, words in (('', 'missing username'), ('username:a\n', 'missing password'), ('a\nb\n', 'missing username'),
                            ('username:a\npassword:b\nmore', 'trailing data'), ('username:' + 'a' * 2000, 'username too long')):
            with tempfile.NamedTemporaryFile('w') as file:
                file.write(text)
                file.flush()
                self.bad(words, 'lago-get', '-q', 'q', '--authfile', file.name)


class Passwords(ToolsTest):
    def test_not_in_argv(self):
        silent = FakeBroker(self, silent=True)
        address = silent.url[len('amqp://'):-1]
        port = address.split(':')[1]
        ways = [['-u', f'amqp://u:{SECRET}@{address}/'], [f'-uamqp://u:{SECRET}@{address}/'], [f'--url=amqp://u:{SECRET}@{address}/'],
                ['--url', f'amqp://u:{SECRET}@{address}/'], ['-s', '127.0.0.1', '--port', port, '--password', SECRET],
                ['-s', '127.0.0.1', '--port', port, f'--password={SECRET}']]
        for way in ways:
            silent = socket.create_server(('127.0.0.1', 0))
            own = [text.replace(port, str(silent.getsockname()[1])) for text in way]
            process = self.start('lago-consume', '-q', 'q', *own, 'echo', f'--password=not {SECRET[::-1]}')
            with silent, silent.accept()[0]:
                shown = pathlib.Path(f'/proc/{process.pid}/cmdline').read_bytes().decode()
                self.assertNotIn(SECRET, shown)
                self.assertIn(f'--password=not {SECRET[::-1]}', shown)  # what belongs to the command
                self.assertIn('127.0.0.1', shown)
                process.kill()

    def test_mistyped(self):
        for args in ([f'--pasword={SECRET}'], [f'amqp://u:{SECRET}@h/'], ['-q', 'q', f'u:{SECRET}@h'], [f'-uhttp://u:{SECRET}@h/', '-qq']):
            code, out, err = self.run_tool('lago-get', *args)
            self.assertEqual((code, out), (1, b''))
            self.assertNotIn(SECRET, err)

    def test_a_body_is_no_password(self):
        self.declare()
        body = f'amqp://u:{SECRET}@h/'
        self.good('lago-publish', '-r', self.queue, '-b', body)
        self.good('lago-publish', '-r', self.queue, f'-b--password={SECRET}')
        self.assertEqual(self.bodies(), [body.encode(), f'--password={SECRET}'.encode()])


class Signals(ToolsTest):
    def setUp(self):
        super().setUp()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and stays so in what is started

    def test_consumer(self):
        self.declare()
        for signum in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
            self.publish(b'one')
            process = self.start('lago-consume', '-q', self.queue)
            self.assertEqual(process.stdout.readline(), b'one\n')
            process.send_signal(signum)
            self.assertEqual(process.communicate(timeout=LIMIT_S), (b'', b''))
            self.assertEqual(process.returncode, -signum)  # a shell sees 130, 143, 129
            self.assertEqual(self.bodies(), [])

    def test_shell_sees_it(self):
        script = '"$0" -q "$1" -d & sleep 0.3; kill -TERM $!; wait $!; echo $?'
        out = subprocess.check_output(['bash', '-c', script, program('lago-consume'), self.queue], env=os.environ)
        self.assertEqual(out, b'143\n')

    def test_running_command_is_finished(self):
        """Its message is done; the others go back at once."""
        self.declare()
        self.publish(b'1', b'2', b'3')
        process = self.start('lago-consume', '-q', self.queue, '-p', '3', 'sh', '-c', 'echo begun; read line; sleep 1; echo done')
        self.assertEqual(process.stdout.readline(), b'begun\n')
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.communicate(timeout=LIMIT_S), (b'done\n', b''))
        self.assertEqual(process.returncode, -signal.SIGTERM)
        self.assertEqual(self.bodies(), [b'2', b'3'])

    def test_command_that_does_not_end(self):
        self.declare()
        self.publish(b'1')
        process = self.start('lago-consume', '-q', self.queue, '--timeout', '1', 'sh', '-c', 'echo begun; exec sleep 20 >&- 2>&-')
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=10), -signal.SIGTERM)
        self.assertEqual(self.bodies(), [b'1'])

    def test_second_signal(self):
        self.declare()
        self.publish(b'1')
        process = self.start('lago-consume', '-q', self.queue, 'sh', '-c', 'echo begun; exec sleep 20 >&- 2>&-')
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)  # two of a kind that arrive at once are one
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=5), -signal.SIGTERM)

    def test_while_connecting(self):
        for tool in EVERY_TOOL:
            with socket.create_server(('127.0.0.1', 0)) as silent:
                process = self.start(tool[0], '-u', f'amqp://127.0.0.1:{silent.getsockname()[1]}/', *tool[1:])
                with silent.accept()[0]:
                    process.send_signal(signal.SIGINT)
                    self.assertEqual(process.wait(timeout=LIMIT_S), -signal.SIGINT)

    def test_publisher(self):
        self.declare()
        process = self.start('lago-publish', '-r', self.queue, '-l', stdin=subprocess.PIPE)
        process.stdin.write(b'1\n2\n3')
        process.stdin.flush()
        while self.run_tool('lago-get', '-q', self.queue)[1] != b'2\n':
            pass
        process.send_signal(signal.SIGINT)
        process.wait(timeout=LIMIT_S)
        self.assertEqual((process.returncode, process.stderr.read()), (-signal.SIGINT, b'lago-publish: interrupted: 2 of 2 lines are confirmed\n'))

    def test_ignored_ones_stay_ignored(self):
        silent = FakeBroker(self, silent=True)
        script = 'trap "" INT; exec "$0" -u "$1" --timeout 2 -q q'
        process = subprocess.Popen(['bash', '-c', script, program('lago-get'), silent.url], stderr=subprocess.PIPE)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        self.assertIn(b'deadline', process.communicate(timeout=LIMIT_S)[1])
        self.assertEqual(process.returncode, 1)


class Output(ToolsTest):
    def test_reader_goes_away(self):
        """What did not fit into the pipe is still in the queue."""
        self.declare()
        bodies = [b'%d' % n + b'x' * 300_000 for n in range(5)]
        self.publish(*bodies)
        process = self.start('lago-consume', '-q', self.queue)
        process.stdout.read(10)
        process.stdout.close()
        self.assertEqual(process.wait(timeout=LIMIT_S), -signal.SIGPIPE)
        self.assertEqual(process.stderr.read(), b'')
        self.assertEqual(self.bodies(), bodies)

    def test_reader_goes_away_and_nothing_comes(self):
        self.declare()
        self.publish(b'one')
        out = subprocess.check_output(['bash', '-c', '"$0" -q "$1" | head -n 1; echo "${PIPESTATUS[0]}"', program('lago-consume'),
                                       self.queue], timeout=LIMIT_S)
        self.assertEqual(out, b'one\n141\n')
        self.assertEqual(self.bodies(), [])

    def test_reader_sleeps(self):
        """Heartbeats and signals go on while nobody reads; memory does not grow with the queue."""
        self.declare()
        self.publish(*[b'x' * 100_000] * 3)
        process = self.start('lago-consume', '-q', self.queue, '--timeout', '1')
        process.stdout.read(1)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=10), -signal.SIGTERM)
        self.assertEqual(len(self.bodies()), 3)

    def test_full_disk(self):
        self.declare()
        self.publish(b'kept')
        for tool in ['lago-consume', '-q', self.queue], ['lago-consume', '-q', self.queue, '--json'], ['lago-get', '-q', self.queue]:
            with open('/dev/full', 'wb') as full:
                process = self.start(*tool, stdout=full)
                _, err = process.communicate(timeout=LIMIT_S)
            self.assertEqual((process.returncode, err.decode()),
                             (1, f'{tool[0]}: cannot write to standard output: no space left on device\n'))
        self.assertEqual(self.bodies(), [b'kept'])

    def test_no_descriptors(self):
        """A closed stdout is no place for a body, and not the socket of the connection either."""
        self.declare()
        self.publish(b'kept')
        for tool in 'lago-get', 'lago-consume', 'lago-declare-queue':
            done = subprocess.run(['bash', '-c', '"$0" -q "$1" <&- >&-', program(tool), self.queue], timeout=LIMIT_S, check=False,
                                  stderr=subprocess.PIPE)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b'cannot write to standard output: bad file descriptor', done.stderr)
        done = subprocess.run(['bash', '-c', '"$0" -r "$1" <&- >&- 2>&-', program('lago-publish'), self.queue], timeout=LIMIT_S,
                              check=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.bodies(), [b'kept'])

    def test_non_blocking_pipe(self):
        """Somebody else has made it non-blocking."""
        self.declare()
        self.publish(b'x' * 500_000)
        ours, theirs = os.pipe()
        os.set_blocking(theirs, False)
        process = self.start('lago-get', '-q', self.queue, stdout=theirs)
        os.close(theirs)
        with open(ours, 'rb') as stream:
            self.assertEqual(len(stream.read()), 500_000)
        self.assertEqual(process.wait(timeout=LIMIT_S), 0)


class Brokers(ToolsTest):
    def test_says_nothing(self):
        for tool in EVERY_TOOL:
            self.bad('deadline', tool[0], '-u', FakeBroker(self, silent=True).url, '--timeout', '1', *tool[1:])

    def test_answers_nothing(self):
        """It opens, and then leaves every operation without an answer."""
        for tool in EVERY_TOOL[:1] + EVERY_TOOL[2:]:
            self.bad('(confirmed nothing for 1 s|not answered in time)', tool[0], '-u', FakeBroker(self).url, '--timeout', '1', *tool[1:])

    def test_blocks(self):
        blocked = method(0, 10, 60, shortstr(b'low on \x1b[31mmemory'))
        for args in ['-b', 'x'], ['-l']:
            begin = time.monotonic()
            code, out, err = self.run_tool('lago-publish', '-u', FakeBroker(self, on_publish=blocked).url, '--timeout', '2', '-r', 'q',
                                           *args, input=b'line\n' * 100_000)
            self.assertEqual((code, out), (1, b''))
            note, end = err.splitlines()
            self.assertRegex(note, r'^lago-publish: the broker takes no messages for now .*waiting up to 2 s$')
            self.assertRegex(end, r'^lago-publish: .*blocked')
            self.assertLess(time.monotonic() - begin, 15)

    def test_blocks_and_goes_on(self):
        ack = method(1, 60, 80, struct.pack('>QB', 1, 0))
        answer = method(0, 10, 60, shortstr(b'low on memory')) + method(0, 10, 61) + ack
        self.good('lago-publish', '-u', FakeBroker(self, on_publish=answer).url, '-r', 'q', '-b', 'x')

    def test_control_characters(self):
        """What a peer says is not for the terminal."""
        text = b'\x1b]0;owned\x07\r\nlago-get: fine'
        close = method(0, 10, 50, struct.pack('>H', 320) + shortstr(text) + struct.pack('>HH', 0, 0))
        for tool in EVERY_TOOL:
            code, out, err = self.run_tool(tool[0], '-u', FakeBroker(self, on_open=close).url, *tool[1:])
            self.assertEqual((code, out, err.count('\n')), (1, b'', 1), err)
            self.assertFalse(re.search(r'[\x00-\x09\x0b-\x1f\x7f]', err), ascii(err))

    def test_deletes_the_queue(self):
        self.declare()
        for command in [], ['cat']:
            self.declare()
            self.publish(b'x')
            process = self.start('lago-consume', '-q', self.queue, *command)
            process.stdout.read(1)
            self.good('lago-delete-queue', '-q', self.queue)
            _, err = process.communicate(timeout=LIMIT_S)
            self.assertEqual(process.returncode, 1)
            self.assertRegex(err.decode(), '^lago-consume: the broker has cancelled the consumer: the queue is gone\n$')

    def test_every_type_of_header(self):
        def field(name, letter, value):
            return shortstr(name) + letter + value
        headers = b''.join([
            field(b'bool', b't', b'\1'), field(b'i8', b'b', b'\xff'), field(b'u8', b'B', b'\xff'), field(b'i16', b's', b'\xff\xfe'),
            field(b'u16', b'u', b'\xff\xfe'), field(b'i32', b'I', b'\xff\xff\xff\xfd'), field(b'u32', b'i', b'\xff\xff\xff\xff'),
            field(b'i64', b'l', struct.pack('>q', 2**63 - 1)), field(b'f', b'f', struct.pack('>f', 1.5)),
            field(b'd', b'd', struct.pack('>d', 0.1)), field(b'nan', b'd', struct.pack('>d', float('nan'))),
            field(b'inf', b'f', struct.pack('>f', float('-inf'))), field(b'D', b'D', struct.pack('>BI', 2, 314)),
            field(b's', b'S', longstr('ü'.encode())), field(b'bin', b'S', longstr(b'\xff')), field(b'x', b'x', longstr(b'abc')),
            field(b'ts', b'T', struct.pack('>Q', 1700000000)), field(b'void', b'V', b''),
            field(b'list', b'A', longstr(b't\0' + b'S' + longstr(b'a'))), field(b'table', b'F', longstr(field(b'k', b't', b'\1'))),
            field(b'odd', b'F', longstr(field(b'!bytes', b't', b'\1') + field(b'\xff', b't', b'\0'))),
        ])
        out = self.good('lago-get', '-u', FakeBroker(self, on_get=get_ok(headers, b'\x80')).url, '-q', 'q', '--json')
        self.assertIn(b'"i64":9223372036854775807', out)
        message = json.loads(out)
        self.assertEqual(message['properties']['headers'], {
            'bool': True, 'i8': -1, 'u8': 255, 'i16': -2, 'u16': 65534, 'i32': -3, 'u32': 2**32 - 1, 'i64': 2**63 - 1, 'f': 1.5, 'd': 0.1,
            'nan': {'!double': 'NaN'}, 'inf': {'!double': '-Infinity'}, 'D': {'!decimal': [2, 314]}, 's': 'ü', 'bin': {'!bytes': '/w=='},
            'x': {'!bytes': 'YWJj'}, 'ts': {'!timestamp': 1700000000}, 'void': None, 'list': [False, 'a'], 'table': {'k': True},
            'odd': {'!table': [['!bytes', True], [{'!bytes': '/w=='}, False]]}})
        self.assertEqual((message['exchange'], message['routing_key'], message['body']), ('exchange', 'key', 'gA=='))


if __name__ == '__main__':
    main()
