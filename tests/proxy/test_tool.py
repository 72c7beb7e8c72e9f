#!/usr/bin/env python3
"""The program fault-proxy: test_tool.py PROGRAM. Its command line, its lines on standard input and at a socket, its events."""
import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

PROGRAM = sys.argv.pop(1)


class Echo:
    """Sends back what comes, until it is closed."""
    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(client, ), daemon=True).start()

    def answer(self, client):
        with client:
            try:
                while came := client.recv(65536):
                    client.sendall(came)
            except OSError:
                pass


class Tool(unittest.TestCase):
    def setUp(self):
        self.echo = Echo()
        self.process = None

    def tearDown(self):
        self.echo.listener.close()
        if self.process:
            self.process.stdin.close()
            self.assertEqual(self.process.wait(10), 0)
            self.process.stdout.close()

    def start(self, *words):
        self.process = subprocess.Popen([PROGRAM, '--to', str(self.echo.port), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        first = self.process.stdout.readline().split()
        self.assertEqual(first[0], 'listening')
        return first[1]

    def connect(self, address):
        host, port = address.rsplit(':', 1)
        return socket.create_connection((host, int(port)), timeout=10)

    def said(self, line):
        """The answer to a line on standard input; events before it are passed over."""
        self.process.stdin.write(line + '\n')
        self.process.stdin.flush()
        lines = [self.process.stdout.readline().strip()]
        while lines[-1] != 'ok' and not lines[-1].startswith('wrong'):
            lines.append(self.process.stdout.readline().strip())
        return lines

    def talk(self, client, size):
        """Send so much. @return what comes back, until the link ends or all of it is there."""
        came = b''
        client.sendall(bytes(range(100))[:size])
        try:
            while len(came) < size and (more := client.recv(65536)):
                came += more
        except ConnectionResetError:
            pass
        return came

    def test_faults_of_the_command_line(self):
        address = self.start('--seed', '3', '--listen', '127.0.0.1:0', 'down act=reset byte=10', 'up slice_max=3')
        with self.connect(address) as client:
            self.assertEqual(self.talk(client, 50), bytes(range(10)))
        self.assertEqual(self.process.stdout.readline(), 'link 1 up 0 0\n')
        self.assertEqual(self.process.stdout.readline(), 'link 1 fired down 10\n')
        self.assertTrue(self.process.stdout.readline().startswith('link 1 gone '))

    def test_lines_on_standard_input(self):
        address = self.start()
        with self.connect(address) as client:
            self.assertEqual(self.talk(client, 20), bytes(range(20)))
            self.assertEqual(self.said('links')[-2:], ['link 1 up 20 down 20', 'ok'])
            self.assertEqual(self.said('link 1 down act=close byte=5'), ['ok'])
            self.assertEqual(self.talk(client, 20), bytes(range(5)))
            self.assertEqual(self.said('links')[-1], 'ok')
        self.assertEqual(self.said('new up act=fly')[-1], 'wrong: there is no such act')
        self.assertEqual(self.said('link 77 up')[-1], 'wrong: there is no such link')
        self.assertEqual(self.said('lead 70000')[-1], 'wrong: not a port')
        self.assertEqual(self.said('dance')[-1], 'wrong: there is no such command')
        self.assertEqual(self.said('welcome hang_up')[-1], 'ok')
        with self.connect(address) as client:
            self.assertEqual(self.talk(client, 5), b'')

    def test_a_stall_goes_on(self):
        address = self.start('down act=stall byte=0')
        with self.connect(address) as client:
            client.sendall(b'hello')
            self.assertEqual([self.process.stdout.readline() for _ in range(2)], ['link 1 up 0 0\n', 'link 1 fired down 0\n'])
            self.assertEqual(self.said('go_on all'), ['ok'])
            self.assertEqual(client.recv(100), b'hello')
            self.assertEqual(self.said('end all reset')[0], 'ok')
            with self.assertRaises(ConnectionResetError):
                client.recv(100)

    def test_a_control_socket(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, 'control')
            address = self.start('--control', path)
            with socket.socket(socket.AF_UNIX) as boss:
                boss.connect(path)
                lines = boss.makefile()
                boss.sendall(b'new down act=close byte=7\nli')
                self.assertEqual(lines.readline(), 'ok\n')
                with self.connect(address) as client:
                    self.assertEqual(self.talk(client, 20), bytes(range(7)))
                self.assertEqual(lines.readline(), 'link 1 up 0 0\n')
                self.assertEqual(lines.readline(), 'link 1 fired down 7\n')
                self.assertTrue(lines.readline().startswith('link 1 gone '))
                boss.sendall(b'nks\nquit\n')
                self.assertEqual([lines.readline(), lines.readline()], ['ok\n', 'ok\n'])
                lines.close()

    def test_what_it_does_not_understand(self):
        for words in (['--to', 'nowhere'], ['--listen', '1'], ['--to', '1', '--speed', '3'], ['--to', '1', 'sideways'], ['--to', '99999'],
                      ['--to', 'nohost:1'], ['--to', '1', '--seed', 'abc'], ['--to', '1', 'up channel=70000'], ['--to', '1', '--seed']):
            done = subprocess.run([PROGRAM, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn('fault-proxy: ', done.stderr)

    def test_help(self):
        done = subprocess.run([PROGRAM, '--help'], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10, check=False)
        self.assertEqual((done.returncode, done.stdout[:12]), (0, 'fault-proxy '))


if __name__ == '__main__':
    unittest.main(verbosity=0)
