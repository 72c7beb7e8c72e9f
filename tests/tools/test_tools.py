#!/usr/bin/env python3
"""What lago's tools do beyond amqp-tools: print messages, JSON, arguments of queues, long and many lines. Needs a broker in AMQP_URL,
else it is skipped."""
import base64
import json
import os
import subprocess

from tools import LIMIT_S, ToolsTest, main


class Consume(ToolsTest):
    def test_prints_lines(self):
        self.declare()
        self.publish(b'one', b'two\n', b'', b'a\nb', b'\0\xff')
        self.assertEqual(self.good('lago-consume', '-q', self.queue, '-c', '5'), b'one\ntwo\n\na\nb\n\0\xff\n')
        self.assertEqual(self.bodies(), [])

    def test_prints_raw(self):
        self.declare()
        self.publish(b'one', b'two\n', b'', b'\0\xff')
        self.assertEqual(self.good('lago-consume', '-q', self.queue, '-c', '4', '--raw'), b'onetwo\n\0\xff')
        self.bad('same time', 'lago-consume', '-q', self.queue, '--raw', '--json')

    def test_prints_json(self):
        self.declare()
        self.good('lago-publish', '-r', self.queue, '-p', '-C', 'text/plain', '-H', 'k: v', '-b', 'grüße\n"\\\t')
        self.publish(b'\xff\0\xfe', b'', b'a\0')
        lines = self.good('lago-consume', '-q', self.queue, '-c', '4', '--json').decode().splitlines()
        first, second, third, fourth = map(json.loads, lines)
        tag = first.pop('consumer_tag')
        self.assertTrue(tag)
        self.assertEqual(first, dict(delivery_tag=1, redelivered=False, exchange='', routing_key=self.queue, body_encoding='utf-8',
                                     body='grüße\n"\\\t', properties=dict(content_type='text/plain', delivery_mode=2,
                                                                          headers={'k': 'v'})))
        self.assertEqual((second['body_encoding'], base64.b64decode(second['body'])), ('base64', b'\xff\0\xfe'))
        self.assertEqual((third['body_encoding'], third['body'], third['delivery_tag']), ('utf-8', '', 3))
        self.assertEqual((fourth['body_encoding'], base64.b64decode(fourth['body'])), ('base64', b'a\0'))

    def test_get_json(self):
        self.declare()
        self.publish(b'a', b'b')
        message = json.loads(self.good('lago-get', '-q', self.queue, '--json'))
        self.assertEqual((message['body'], message['message_count'], message['redelivered']), ('a', 1, False))
        self.assertEqual(self.bodies(), [b'b'])

    def test_header_types(self):
        """A dead letter has tables, arrays, integers and a timestamp in its headers."""
        self.declare('--argument', 'x-dead-letter-exchange=', '--argument', f'x-dead-letter-routing-key={self.queue}.dead')
        self.good('lago-declare-queue', '-q', self.queue + '.dead')
        self.addCleanup(self.run_tool, 'lago-delete-queue', '-q', self.queue + '.dead')
        self.publish(b'x')
        self.good('lago-consume', '-q', self.queue, '-c', '1', '--reject', 'false')
        headers = json.loads(self.good('lago-get', '-q', self.queue + '.dead', '--json'))['properties']['headers']
        death = headers['x-death'][0]
        self.assertEqual((death['count'], death['reason'], death['queue']), (1, 'rejected', self.queue))
        self.assertIsInstance(death['time']['!timestamp'], int)
        self.assertEqual(death['routing-keys'], [self.queue])

    def test_command_gets_json(self):
        self.declare()
        self.publish(b'x')
        out = self.good('lago-consume', '-q', self.queue, '-c', '1', '--json', 'cat')
        self.assertEqual(json.loads(out)['body'], 'x')

    def test_environment_of_the_command(self):
        self.declare()
        self.good('lago-publish', '-e', 'amq.direct', '-r', self.queue, '-b', 'x', '--no-mandatory')
        self.good('lago-publish', '-r', self.queue, '-b', 'x', '-C', 'a/b', '-t', 'there', '-p')
        out = self.good('lago-consume', '-q', self.queue, '-c', '1', 'env', env={'LAGO_MESSAGE_ID': 'of another'}).decode()
        variables = dict(line.split('=', 1) for line in out.splitlines() if line.startswith('LAGO_'))
        self.assertTrue(variables.pop('LAGO_CONSUMER_TAG'))
        self.assertEqual(variables, dict(LAGO_EXCHANGE='', LAGO_ROUTING_KEY=self.queue, LAGO_DELIVERY_TAG='1', LAGO_REDELIVERED='0',
                                         LAGO_CONTENT_TYPE='a/b', LAGO_REPLY_TO='there', LAGO_DELIVERY_MODE='2'))
        self.assertIn('PATH=', out)

    def test_command_reads_nothing(self):
        self.declare()
        self.publish(bytes(1 << 20), b'x')
        self.assertEqual(self.good('lago-consume', '-q', self.queue, '-c', '2', 'echo', 'read'), b'read\nread\n')
        self.assertEqual(self.bodies(), [])

    def test_command_has_default_signals(self):
        self.declare()
        self.publish(b'x')
        out = self.good('lago-consume', '-q', self.queue, '-c', '1', 'grep', '-E', '^Sig(Ign|Blk)', '/proc/self/status')
        self.assertEqual([int(line.split()[1], 16) for line in out.decode().splitlines()], [0, 0])

    def test_commands_one_after_the_other(self):
        self.declare()
        self.publish(*(b'%d' % n for n in range(20)))
        out = self.good('lago-consume', '-q', self.queue, '-c', '20', '-p', '10', 'sh', '-c', 'echo "<$(cat)"; echo ">"')
        self.assertEqual(out.decode(), ''.join(f'<{n}\n>\n' for n in range(20)))

    def test_command_not_found(self):
        self.declare()
        self.publish(b'x')
        self.bad("cannot run '/no/such/command': no such file", 'lago-consume', '-q', self.queue, '/no/such/command')
        self.bad("cannot run '/etc/passwd': permission denied", 'lago-consume', '-q', self.queue, '--', '/etc/passwd')
        self.assertEqual(self.bodies(), [b'x'])

    def test_clusters(self):
        self.assertEqual(self.good('lago-consume', '-dxq', self.queue, '-Ac0', '--', 'cat', '--'), b'')
        self.bad('--bogus: unknown option', 'lago-consume', '-q', self.queue, '-dAx', '--bogus', 'cat')

    def test_arguments(self):
        self.good('lago-consume', '-q', self.queue, '-d', '--argument', 'x-expires=60000', '-c', '0')
        self.bad('for a queue that is declared', 'lago-consume', '-q', self.queue, '--argument', 'x-expires=60000')
        self.bad('NOT_FOUND', 'lago-consume', '-q', self.queue, '--passive')


class Declare(ToolsTest):
    def test_arguments(self):
        args = ['--argument', 'x-max-length=10', '--argument', 'x-single-active-consumer=true', '--argument', 'x-overflow=drop-head']
        self.declare(*args)
        self.declare(*args)  # the same again
        self.bad("'x-max-length'", 'lago-declare-queue', '-q', self.queue, '--argument', 'x-max-length=11', *args[2:])
        self.declare('--passive')

    def test_types(self):
        def refused(argument, words):
            self.bad(words, 'lago-declare-queue', '-q', self.queue, '--argument', argument)
        refused('x-max-length:string=10', 'x-max-length')  # the broker wants a number
        refused('x-max-length=ten', 'x-max-length')
        refused('x-max-length:int=ten', "no such value of type 'int'")
        refused('x-max-length:number=10', "no such value of type 'number'")
        refused('x-max-length', 'is no argument')
        refused('=10', 'is no argument')
        self.declare('--argument', 'x-max-length:int=10', '--argument', 'a:bool=false', '--argument', 'b:double=1.5',
                     '--argument', 'c:timestamp=1700000000', '--argument', 'd:string=10', '--argument', 'big=-9000000000',
                     '--argument', 'with:colon:string=a=b')

    def test_flags(self):
        self.bad('NOT_FOUND', 'lago-declare-queue', '-q', self.queue, '--passive')
        self.declare('--exclusive')
        self.bad('NOT_FOUND', 'lago-declare-queue', '-q', self.queue, '--passive')
        self.declare('--auto-delete')
        self.bad("'auto_delete'", 'lago-declare-queue', '-q', self.queue)


class Publish(ToolsTest):
    def test_many_lines(self):
        self.declare()
        text = b''.join(b'line %d\n' % n for n in range(100_000))
        self.good('lago-publish', '-r', self.queue, '-l', input=text)
        self.assertEqual(self.good('lago-consume', '-q', self.queue, '-c', '100000'), text)
        self.assertEqual(self.bodies(), [])

    def test_odd_lines(self):
        self.declare()
        lines = [b'\n', b'\0\n', b'x' * 3_000_000 + b'\n', b'\xff\xfe\r\n', b'y' * 65535 + b'\n', b'z' * 65536 + b'\n', b'end']
        self.good('lago-publish', '-r', self.queue, '-l', input=b''.join(lines))
        self.assertEqual(self.bodies(), lines)

    def test_line_by_line(self):
        """A line is published when it is there, not when the pipe is full."""
        self.declare()
        publisher = self.start('lago-publish', '-r', self.queue, '-l', stdin=subprocess.PIPE)
        consumer = self.start('lago-consume', '-q', self.queue)
        for line in b'one\n', b'two\n':
            publisher.stdin.write(line)
            publisher.stdin.flush()
            self.assertEqual(consumer.stdout.readline(), line)
        publisher.stdin.close()
        self.assertEqual(publisher.wait(timeout=LIMIT_S), 0)

    def test_big_bodies(self):
        self.declare()
        body = os.urandom(1 << 20) * 20
        self.good('lago-publish', '-r', self.queue, input=body)
        self.good('lago-publish', '-r', self.queue, input=body)
        self.assertTrue(self.good('lago-get', '-q', self.queue) == body)
        self.assertTrue(self.good('lago-consume', '-q', self.queue, '-c', '1', 'cat') == body)

    def test_memory_is_bounded(self):
        """300 MB of lines through 100 MB of address space beyond what the program has."""
        self.declare('--argument', 'x-max-length=10')
        if os.environ.get('TOOLS_BUILT', 'none') != 'none':
            self.skipTest('AddressSanitizer needs more')
        script = 'yes "$(head -c 1000 /dev/zero | tr "\\0" x)" | head -n 300000 | (ulimit -v 600000; exec "$0" -r "$1" -l)'
        code = subprocess.run(['sh', '-c', script, os.path.join(os.environ['TOOLS'], 'lago-publish'), self.queue], timeout=LIMIT_S,
                              check=False).returncode
        self.assertEqual(code, 0)

    def test_first_bad_line(self):
        self.declare('--argument', 'x-max-length=2', '--argument', 'x-overflow=reject-publish')
        self.bad(r'line 3: the broker refused .*; 2 of 5 lines are confirmed', 'lago-publish', '-r', self.queue, '-l',
                 input=b'1\n2\n3\n4\n5\n')
        self.assertEqual(self.bodies(), [b'1\n', b'2\n'])

    def test_headers(self):
        self.declare()
        self.bad('is no header', 'lago-publish', '-r', self.queue, '-b', 'x', '-H', ': x')
        self.bad('longer than 255', 'lago-publish', '-r', self.queue, '-b', 'x', '-H', 'n' * 256 + ': x')
        self.bad('longer than 255', 'lago-publish', '-r', 'k' * 256, '-b', 'x')

    def test_progress_on_a_terminal_only(self):
        self.declare()
        ours, theirs = os.openpty()
        process = self.start('lago-publish', '-r', self.queue, '-l', stdin=subprocess.PIPE, stderr=theirs)
        process.stdin.write(b'line\n')
        process.stdin.flush()
        shown = b''
        while b'confirmed 1' not in shown:
            shown += os.read(ours, 1000)
        self.assertIn(b'\rlago-publish: sent 1, confirmed 1', shown)
        process.stdin.close()
        self.assertEqual(process.wait(timeout=LIMIT_S), 0)
        os.close(ours)
        os.close(theirs)


if __name__ == '__main__':
    main()
