#!/usr/bin/env python3
"""A script written for rabbitmq-c's amqp-tools moves over by changing the prefix: the same commands, the same output, the same exit
codes. What lago's tools do otherwise, because the others' lose messages or time by it, is written down in LOSSES.

Needs a broker in AMQP_URL and amqp-tools, else it is skipped."""
import json
import os
import shutil
import sys
import time

from tools import SERVER, SKIPPED, ToolsTest, main

LOSSES = {
    'unroutable': 'amqp-publish ends with 0 though no queue took the message',
    'nacked': 'amqp-publish ends with 0 though the broker refused the message',
    'long lines': 'amqp-publish -l cuts lines at 32767 bytes and makes several messages of them',
    'NUL': 'amqp-publish -l loses what follows a NUL in a line',
    'body and lines': 'amqp-publish -l -b publishes nothing and ends with 0',
    'header without colon': 'amqp-publish ends with "invalid parameter"',
    'get, then die': 'amqp-get acknowledges before it prints: what cannot be printed is lost',
    'no-ack and count': 'amqp-consume -A -c 1 empties the queue and processes one message',
    'no command found': 'amqp-consume starts, and fails on the first message',
    'command that reads nothing': 'amqp-consume dies by SIGPIPE',
    'failed with -p': 'amqp-consume -p N stops for ever after N commands have failed: it neither acknowledges nor rejects',
    'queue deleted': 'amqp-consume waits for ever on a queue that somebody has deleted',
    'no routing key': 'amqp-consume -e without -r crashes',
    'options of the command': 'amqp-consume takes the options of the command for its own, unless -- stands before it',
    'silent broker': 'after the login all amqp-tools wait for ever for an answer of the broker',
    'passwords': 'all amqp-tools show --password in ps; a wrong URL is printed with its password',
    'server with IPv6': 'all amqp-tools take the last colon of ::1 for one before a port',
    'authfile': 'all amqp-tools say "Password too long" if the last line has no line feed, and for more than 117 bytes',
}


class Same(ToolsTest):
    def both(self, *steps, stderr=False):
        """Run steps, once with each prefix; what they print must be the same. A step: (tool, args...) or (tool, args..., stdin)."""
        results = []
        for prefix in 'amqp-', 'lago-':
            results.append([])
            for name, *args in steps:
                data = args.pop() if args and isinstance(args[-1], bytes) else b''
                cut = args.index('--') if '--' in args else len(args)
                code, out, err = self.run_tool(prefix + name, *SERVER, *args[:cut], *args[cut:], input=data)
                results[-1].append((name, args, code, out, err if stderr else bool(err)))
        self.assertEqual(*results)
        return results[1]

    def test_declare_and_delete(self):
        q = self.queue
        self.both(('declare-queue', '-q', q), ('declare-queue', f'--queue={q}'), ('declare-queue', f'-q{q}'),
                  ('declare-queue', '-d', '-q', q), ('declare-queue', '-dq', q), ('delete-queue', '-q', q),
                  ('declare-queue', '-dq', q), ('declare-queue', '--durable', '-q', q), ('declare-queue', '-q', q),
                  ('publish', '-r', q, '-b', 'x'), ('delete-queue', '-q', q, '--if-empty'), ('delete-queue', '-eq', q),
                  ('delete-queue', '--if-unused', '-q', q), ('delete-queue', '-q', q), ('delete-queue', '-q', q))

    def test_server_named_queue(self):
        for prefix in 'amqp-', 'lago-':
            code, out, err = self.run_tool(prefix + 'declare-queue', *SERVER, '-q', '')
            self.assertEqual((code, err), (0, ''))
            self.assertRegex(out, rb'^amq\.gen-\S+\n$')
            self.good('lago-delete-queue', '-q', out.decode().strip())

    def test_publish_and_get(self):
        q = self.queue
        binary = bytes(range(256))
        self.both(('declare-queue', '-q', q), ('publish', '-r', q, '-b', 'hello'), ('get', '-q', q), ('get', '-q', q),
                  ('publish', '-r', q, binary), ('get', '-q', q), ('publish', '-r', q, b''), ('get', '-q', q),
                  ('publish', '-r', q, '-b', ''), ('get', '-q', q), ('get', '-q', q), ('delete-queue', '-q', q))

    def test_lines(self):
        q = self.queue
        got = self.both(('declare-queue', '-q', q), ('publish', '-r', q, '-l', b'one\n\nthree\nno end'),
                        *[('get', '-q', q)] * 5, ('publish', '-r', q, '-l', b''), ('get', '-q', q), ('delete-queue', '-q', q))
        self.assertEqual([out for _, _, _, out, _ in got[2:7]], [b'one\n', b'\n', b'three\n', b'no end', b''])

    def test_properties(self):
        seen = []
        self.declare()
        for prefix in 'amqp-', 'lago-':
            for persistent in [], ['-p'], ['--persistent']:
                self.run_tool(prefix + 'publish', *SERVER, '-r', self.queue, '-C', 'text/plain', '-E', 'gzip', '-t', 'there',
                              '-H', 'a: b', '-H', 'c:  d: e', '-H', 'empty:', *persistent, '-b', 'x')
                seen.append(json.loads(self.good('lago-get', '-q', self.queue, '--json')))
        self.assertEqual(seen[:3], seen[3:])
        self.assertEqual(seen[0]['properties'], dict(content_type='text/plain', content_encoding='gzip', reply_to='there',
                                                     delivery_mode=1, headers={'a': 'b', 'c': 'd: e', 'empty': ''}))
        self.assertEqual([message['properties']['delivery_mode'] for message in seen[:3]], [1, 2, 2])

    def test_consume(self):
        q = self.queue
        bodies = [('publish', '-r', q, '-b', body) for body in ('one', '', 'three')]
        self.both(('declare-queue', '-q', q), *bodies, ('consume', '-q', q, '-c', '2', 'cat'), ('get', '-q', q),
                  *bodies, ('consume', '-q', q, '--count=3', '-p', '3', '--', 'sh', '-c', 'echo "<$(cat)>"'), ('get', '-q', q),
                  *bodies, ('consume', '-c', '3', '-A', '-q', q, '--', 'wc', '-c'), ('get', '-q', q),
                  ('consume', '-q', q, '-c', '0', 'cat'), ('delete-queue', '-q', q))

    def test_consume_and_fail(self):
        """What a command fails on is in the queue afterwards; the exit code does not tell."""
        q = self.queue
        fails = ['--', 'sh', '-c', 'cat; false']
        self.both(('declare-queue', '-q', q), ('publish', '-r', q, '-b', 'x'), ('consume', '-q', q, '-c', '1', *fails),
                  ('get', '-q', q), ('publish', '-r', q, '-b', 'x'), ('consume', '-q', q, '-A', '-c', '1', *fails),
                  ('get', '-q', q), ('delete-queue', '-q', q))

    def test_consume_binds(self):
        """-e declares a queue, prints its name if the broker made it, and binds it under each of the keys."""
        for prefix in 'amqp-', 'lago-':
            for named in [], ['-q', self.queue], ['-x', '-q', self.queue], ['-d', '-q', self.queue]:
                key = self.queue
                process = self.start(prefix + 'consume', *SERVER, *named, '-e', 'amq.direct', '-r', f'other,{key}', '-c', '1', 'cat')
                if named:
                    deadline = time.monotonic() + 30  # until it is bound; amqp-consume says nothing of it
                    while self.run_tool('lago-publish', '-e', 'amq.direct', '-r', key, '-b', 'x')[0]:
                        self.assertLess(time.monotonic(), deadline)
                else:
                    self.assertRegex(process.stderr.readline(), rb'^Server provided queue name: amq\.gen-\S+\n$')
                    while self.run_tool('lago-publish', '-e', 'amq.direct', '-r', key, '-b', 'x')[0]:
                        pass
                out, err = process.communicate(timeout=30)
                self.assertEqual((process.returncode, out, err), (0, b'x', b''), (prefix, named))

    def test_mistakes(self):
        """The same exit code, and words on stderr; lago's are one line."""
        q = self.queue
        absent = '/no/such/file'
        self.both(('declare-queue',), ('declare-queue', '--bogus'), ('declare-queue', '-q'), ('declare-queue', '-q', q, 'stray'),
                  ('declare-queue', '-q', q, '--heartbeat', '-3'), ('declare-queue', '-q', q, '--authfile', absent),
                  ('delete-queue',), ('delete-queue', '-q', ''), ('get',), ('get', '-q', q), ('publish',), ('publish', '-b', 'x'),
                  ('publish', '-e', q, '-b', 'x'), ('publish', '-r', q, '-b', 'x', '-H', 'no colon'), ('get', '-q', q, '-c', 'x'),
                  ('consume', '-q', q, '-r', 'key', 'cat'), ('consume', '-q', q, 'cat'), ('consume', '-e', q, '-r', 'k', 'cat'),
                  ('consume', '-q', q, '-c', 'x', 'cat'))

    def test_help(self):
        """Every option of theirs is one of ours, by letter and by name; but for -u, which is the URL everywhere."""
        for tool in 'publish', 'consume', 'get', 'declare-queue', 'delete-queue':
            theirs, ours = [self.good(prefix + tool, '--help').decode() for prefix in ('amqp-', 'lago-')]
            self.assertIn('--usage', ours)
            for option in theirs.split('\n'):
                words = option.split()
                if not words or not words[0].startswith('-'):
                    continue
                names = [word.split('=')[0] for word in words[:2] if word.startswith('-')]
                if '--if-unused' in names:
                    names = ['--if-unused']
                self.assertRegex(ours, ' '.join(names).replace('?', r'\?') + r'\b', tool)


class Better(ToolsTest):
    """Each of LOSSES where the others can be seen to lose; those that need more are in test_tools.py and test_ends.py."""

    def theirs(self, name, *args, input=b''):
        return self.run_tool(name, *SERVER, *args, input=input)

    def test_unroutable(self):
        self.assertEqual(self.theirs('amqp-publish', '-r', self.queue, '-b', 'x'), (0, b'', ''))
        self.bad('unroutable', 'lago-publish', '-r', self.queue, '-b', 'x')
        self.good('lago-publish', '-r', self.queue, '-b', 'x', '--no-mandatory')

    def test_nacked(self):
        self.declare('--argument', 'x-max-length=1', '--argument', 'x-overflow=reject-publish')
        self.publish(b'first')
        self.assertEqual(self.theirs('amqp-publish', '-r', self.queue, '-b', 'x'), (0, b'', ''))
        self.bad('refused.*nack', 'lago-publish', '-r', self.queue, '-b', 'x')

    def test_lines(self):
        self.declare()
        text = b'x' * 40000 + b'\na\0b\n'
        self.theirs('amqp-publish', '-r', self.queue, '-l', input=text)
        self.assertEqual(len(self.bodies()), 3)
        self.good('lago-publish', '-r', self.queue, '-l', input=text)
        self.assertEqual(self.bodies(), [b'x' * 40000 + b'\n', b'a\0b\n'])
        self.assertEqual(self.theirs('amqp-publish', '-r', self.queue, '-l', '-b', 'x'), (0, b'', ''))
        self.assertEqual(self.bodies(), [])
        self.bad('same time', 'lago-publish', '-r', self.queue, '-l', '-b', 'x')

    def test_get_to_a_full_disk(self):
        self.declare()
        for prefix, rest in ('amqp-', []), ('lago-', [b'kept']):
            self.publish(b'kept')
            with open('/dev/full', 'wb') as full:
                process = self.start(prefix + 'get', *SERVER, '-q', self.queue, stdout=full)
                self.assertEqual(process.wait(timeout=30), 1)
            self.assertEqual(self.bodies(), rest)

    def test_no_ack_and_count(self):
        self.declare()
        for prefix, rest in ('amqp-', []), ('lago-', [b'2', b'3']):
            self.publish(b'1', b'2', b'3')
            self.assertEqual(self.run_tool(prefix + 'consume', *SERVER, '-q', self.queue, '-A', '-c', '1', 'cat')[:2], (0, b'1'))
            self.assertEqual(self.bodies(), rest)

    def test_command_that_reads_nothing(self):
        self.declare()
        for prefix, code in ('amqp-', -13), ('lago-', 0):
            self.publish(bytes(1 << 20))
            self.assertEqual(self.run_tool(prefix + 'consume', *SERVER, '-q', self.queue, '-c', '1', 'true')[0], code)

    def test_failed_with_prefetch(self):
        self.declare()
        self.publish(b'1')
        script = 'test "$LAGO_REDELIVERED" = 1'
        self.good('lago-consume', '-q', self.queue, '-p', '1', '-c', '2', 'sh', '-c', script)
        self.assertEqual(self.bodies(), [])

    def test_no_routing_key(self):
        self.assertLess(self.theirs('amqp-consume', '-e', 'amq.fanout', '-c', '1', 'cat')[0], 0)
        process = self.start('lago-consume', '-e', 'amq.fanout', '-c', '1', 'cat')
        process.stderr.readline()
        while self.run_tool('lago-publish', '-e', 'amq.fanout', '-b', 'x')[0]:
            pass
        self.assertEqual(process.communicate(timeout=30), (b'x', b''))

    def test_options_of_the_command(self):
        self.declare()
        self.publish(b'a\nb\n', b'')
        self.assertEqual(self.theirs('amqp-consume', '-q', self.queue, 'sh', '-c', 'cat')[0], 1)
        self.assertEqual(self.good('lago-consume', '-q', self.queue, '-c', '1', 'grep', '-c', 'b'), b'1\n')

    def test_server_with_ipv6(self):
        self.assertEqual(self.theirs('amqp-get', '-s', '::1', '-q', self.queue)[0], 1)
        words = self.run_tool('lago-get', '-s', '::1', '--port', '1', '-q', self.queue)[2]
        self.assertIn('[::1]:1', words)


if __name__ == '__main__':
    if not shutil.which('amqp-publish'):
        print('no amqp-tools here')
        sys.exit(SKIPPED)
    os.environ['LC_ALL'] = 'C.UTF-8'
    main()
