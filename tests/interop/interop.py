#!/usr/bin/env python3
"""lago and another client through a broker (AMQP_URL): interop.py PEER CLIENT BUILD_DIR     PEER: lago's peer, CLIENT: pika, go, node

What lago publishes the other reads as it was meant, what the other publishes lago reads letter by letter, what lago forwards comes
back to the other as it went; and queues that one has declared with arguments of each type are the same to the other. Every message
has a name, which a failure tells with both readings. Seeded: LAGO_INTEROP_SEED=N repeats a run. 77: the client is not to be had."""
import decimal
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
SKIPPED = 77
LIMIT_S = 120
FRAME_MAX = 131072
RANDOM_MESSAGES = 2000
AMQPLIB = 'amqplib@0.10.4'
TEXTS = ['content_type', 'content_encoding', 'correlation_id', 'reply_to', 'message_id', 'type', 'app_id', 'cluster_id']


def skip(why):
    print(f'skipped: {why}')
    sys.exit(SKIPPED)


# ---------------------------------------------------------------- the other clients: how to start them, what they can say


class Client:
    writes = reads = 'tbBsIlfdDSxTFAV'  # letters of tables
    texts = TEXTS
    keeps_order = True
    keeps_empty = True  # tells an empty property from none

    def value(self, letter, content):
        """What it says that it has read."""
        if letter == 'F':
            return ['table', self.table(content)]
        if letter == 'A':
            return ['array', [self.value(*item) for item in content]]
        return self.scalar(letter, content)

    def table(self, fields):
        told = [[name, self.value(*value)] for name, value in fields]
        return told if self.keeps_order else sorted(told)

    def properties(self, described):
        return {name: self.table(value) if name == 'headers' else value for name, value in described.items()
                if self.keeps_empty or value not in ('', '0', [])}


class Pika(Client):
    """Debian's pika 1.2. Its reader has faults of its own: b is read without its sign, B with one, l without one, and floats are cut
    to whole numbers; it is asked only for what it reads right. It writes int as I or l by size, never b, B, s, f or d."""
    writes = 'tIlDSxTFAV'
    reads = 'tbBsuIilDSxTFAV'

    def __init__(self, _):
        self.python = next((p for p in ('/usr/bin/python3', sys.executable) if os.path.exists(p) and
                            subprocess.run([p, '-c', 'import pika'], capture_output=True).returncode == 0), None)
        if not self.python:
            skip('no Python here has pika (Debian: python3-pika)')
        self.command = [self.python, '-B', os.path.join(HERE, 'peer_pika.py')]

    def can_read(self, letter, content):
        if letter in 'bl':
            return int(content) >= 0
        return letter != 'B' or int(content) < 128

    def can_write(self, letter, content):
        """Whether it chooses this letter, or can hold the value at all: decimals are normalized, their value has a sign."""
        if letter == 'I':
            return -2**31 <= int(content) < 2**31
        if letter == 'l':
            return not -2**31 <= int(content) < 2**31
        if letter == 'D':
            return decimal_is_normal(content)
        return letter != 'S' or is_utf8(content)

    def scalar(self, letter, content):
        if letter == 't':
            return ['bool', content]
        if letter in 'bBsuIil':
            return ['int', content]
        if letter == 'D':
            scale, number = content.split(':')
            return ['decimal', str(decimal.Decimal(struct.unpack('>i', struct.pack('>I', int(number)))[0]) *
                                   decimal.Decimal(10)**-int(scale))]
        if letter == 'T':
            return ['time', content]
        return ['void', ''] if letter == 'V' else ['bytes', content]


class Go(Client):
    """Debian's amqp091-go 1.5: knows no u and no i (its reader closes the connection), no cluster_id, and takes empty for absent."""
    reads = 'tbBsIlfdDSxTFAV'
    texts = [name for name in TEXTS if name != 'cluster_id']
    keeps_order = keeps_empty = False

    def __init__(self, build_dir):
        go = shutil.which('go')
        source = '/usr/share/gocode/src/github.com/rabbitmq/amqp091-go'
        if not go or not os.path.isdir(source):
            skip('no Go with amqp091-go here (Debian: golang-go, golang-github-rabbitmq-amqp091-go-dev)')
        program = os.path.join(build_dir, 'peer_go')
        environment = {**os.environ, 'GO111MODULE': 'off', 'GOPATH': '/usr/share/gocode', 'GOCACHE': os.path.join(build_dir, 'go-cache'),
                       'GOFLAGS': ''}
        done = subprocess.run([go, 'build', '-o', program, os.path.join(HERE, 'peer.go')], env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            skip(f'peer.go does not build: {done.stderr[-500:]}')
        self.command = [program]

    def can_read(self, _letter, _content):
        return True

    can_write = can_read

    def value(self, letter, content):
        if letter == 'F':
            return ['F', self.table(content)]
        if letter == 'A':
            return ['A', [self.value(*item) for item in content]]
        return [letter, content]


class Node(Client):
    """npm's amqplib: all numbers are doubles, so whole ones are exact up to 2^53; knows no B, u and i; decimals have no sign; offers no
    way to send a cluster_id, and always sends headers."""
    writes = reads = 'tbsIlfdDSxTFAV'
    texts = [name for name in TEXTS if name != 'cluster_id']
    keeps_order = False

    def __init__(self, build_dir):
        node, npm = shutil.which('node'), shutil.which('npm')
        if not node or not npm:
            skip('no node and npm here')
        modules = os.path.join(build_dir, 'node_modules')
        if not os.path.isdir(os.path.join(modules, 'amqplib')):
            done = subprocess.run([npm, 'install', '--no-audit', '--no-fund', '--prefix', build_dir, AMQPLIB], capture_output=True,
                                  text=True, timeout=LIMIT_S)
            if done.returncode != 0:
                skip(f'npm cannot install {AMQPLIB} (no network?)')
        self.environment = {'NODE_PATH': modules}
        self.command = [node, os.path.join(HERE, 'peer_node.js')]

    def can_read(self, letter, content):
        if letter in 'lT':
            return abs(int(content)) <= 2**53
        return letter != 'S' or is_utf8(content)

    can_write = can_read

    def scalar(self, letter, content):
        if letter == 't':
            return ['bool', content]
        if letter in 'bsIl':
            return ['number', struct.pack('>d', int(content)).hex()]
        if letter == 'f':
            return ['number', struct.pack('>d', struct.unpack('>f', bytes.fromhex(content))[0]).hex()]
        if letter == 'd':
            return ['number', content]
        if letter == 'D':
            return ['decimal', content]
        if letter == 'T':
            return ['time', content]
        return ['void', ''] if letter == 'V' else ['bytes', content]


def is_utf8(content):
    try:
        bytes.fromhex(content).decode('utf-8')
        return True
    except UnicodeDecodeError:
        return False


def decimal_is_normal(content):
    scale, number = map(int, content.split(':'))
    return number < 2**31 and (number % 10 != 0 or number == 0 and scale == 0) and (scale > 0 or number < 10)


# ---------------------------------------------------------------- messages


def text(value):
    return value.encode('utf-8').hex()


EDGES = [('t', ('0', '1')), ('b', ('-128', '-1', '0', '127')), ('B', ('0', '127', '128', '255')), ('s', ('-32768', '-1', '32767')),
         ('u', ('0', '65535')), ('I', ('-2147483648', '-1', '0', '2147483647')), ('i', ('0', '4294967295')),
         ('l', ('-9223372036854775808', '-2147483649', '2147483648', '9007199254740992', '9223372036854775807', '-1')),
         ('f', ('00000000', '3fc00000', 'c0200000', '7f7fffff')), ('d', ('0000000000000000', '3ff8000000000000', 'c002000000000000',
                                                                           '7fefffffffffffff', '0000000000000001')),
         ('D', ('0:0', '2:12345', '1:1', '255:7', '0:7')), ('S', ('', text('x'), text('größer €'), '610062', text('y' * 5000))),
         ('x', ('', '00ff01', 'ab' * 3000)), ('T', ('0', '1700000000', '253402300799')), ('V', ('void',)),
         ('A', ([], [['I', '7'], ['S', text('seven')], ['A', [['t', '1']]], ['F', [[text('n'), ['I', '42']]]]])),
         ('F', ([], [[text('deeper'), ['F', [[text('deepest'), ['F', []]]]]]]))]


def usable(client, letter, content, both):
    """Whether the client reads (and, for both ways, writes) this value as it is."""
    if letter not in client.reads or both and letter not in client.writes:
        return False
    if letter == 'F':
        return all(usable(client, *value, both) for _, value in content)
    if letter == 'A':
        return all(usable(client, *value, both) for value in content)
    return client.can_read(letter, content) and (not both or client.can_write(letter, content))


def random_value(rng, client, both, depth=0):
    while True:
        letter, contents = rng.choice(EDGES)
        if letter in 'FA' and depth < 3:
            items = [random_value(rng, client, both, depth + 1) for _ in range(rng.randrange(4))]
            return [letter, [[text(f'{i}k'), item] for i, item in enumerate(items)] if letter == 'F' else items]
        content = rng.choice(contents)
        if usable(client, letter, content, both):
            return [letter, content]


def named_messages(client, both):
    yield 'nothing at all', {}, 0
    for size in (1, FRAME_MAX - 9, FRAME_MAX - 8, FRAME_MAX - 7, 2 * FRAME_MAX, 1 << 20, 20 << 20):
        yield f'a body of {size} bytes', {}, size
    for name in client.texts:
        for value in ('', 'x', 'größer', 'z' * 255):
            if value or client.keeps_empty:
                yield f'{name} of {len(value)} characters', {name: text(value)}, 3
    yield 'user_id', {'user_id': text('guest')}, 3
    yield 'expiration', {'expiration': text('600000')}, 3
    for name, values in (('delivery_mode', '12'), ('priority', ('1', '9', '255')), ('timestamp', ('1', '1700000000'))):
        for value in values:
            yield f'{name} {value}', {name: value}, 3
    yield 'all properties', {**{name: text(name) for name in client.texts}, 'delivery_mode': '2', 'priority': '5', 'timestamp': '1700000000',
                             'headers': [[text('n'), ['I', '42']]]}, 10
    for letter, contents in EDGES:
        for content in contents:
            if usable(client, letter, content, both):
                yield f'header {letter} {str(content)[:40]}', {'headers': [[text('h'), [letter, content]]]}, 3
    yield 'a name of 255 bytes', {'headers': [[text('n' * 255), ['I', '1']]]}, 3


def random_messages(rng, client, both):
    for i in range(RANDOM_MESSAGES):
        properties = {name: text(''.join(rng.choice('aä€0 ') for _ in range(rng.randrange(1, 40)))) for name in client.texts
                      if rng.random() < 0.3}
        for name, highest in (('delivery_mode', 2), ('priority', 255), ('timestamp', 2**32)):
            if rng.random() < 0.3:
                properties[name] = str(rng.randrange(1, highest + 1))
        if rng.random() < 0.7:
            headers = [[text(f'h{j}'), random_value(rng, client, both)] for j in range(rng.randrange(1, 8))]
            properties['headers'] = headers
        yield f'random message {i}', properties, rng.choice((0, 1, rng.randrange(300), rng.randrange(20000)))


def messages_for(client, both, seed):
    rng = random.Random(seed)
    result = [*named_messages(client, both), *random_messages(rng, client, both)]
    return [(name, properties, size, rng.randrange(256)) for name, properties, size in result]


# ---------------------------------------------------------------- running


class Run:
    def __init__(self, peer, client):
        self.lago, self.client, self.failures, self.compared = [peer], client, 0, 0

    def call(self, who, *args, lines=()):
        command = self.lago if who == 'lago' else self.client.command
        environment = {**os.environ, **getattr(self.client, 'environment', {})}
        done = subprocess.run([*command, *args], input='\n'.join(lines) + '\n' if lines else '', capture_output=True, text=True,
                              timeout=LIMIT_S, env=environment)
        if done.returncode != 0 or 'ERROR: ' in done.stderr:
            raise RuntimeError(f'{who} {" ".join(args)}: exit code {done.returncode}\n{done.stderr[-3000:]}')
        return done.stdout.splitlines()

    def publish(self, who, queue, messages):
        lines = [json.dumps({'properties': properties, 'size': size, 'seed': seed}) for _, properties, size, seed in messages]
        self.call(who, 'publish', queue, lines=lines)

    def consume(self, who, queue, messages):
        return [json.loads(line) for line in self.call(who, 'consume', queue, str(len(messages)))]

    def compare(self, title, messages, expected, found):
        if len(found) != len(messages):
            self.fail(title, 'how many', len(messages), len(found))
        for (name, _, size, seed), wanted, message in zip(messages, expected, found):
            self.compared += 1
            headers = message['properties'].get('headers')
            if headers is not None and not self.client.keeps_order:
                message['properties']['headers'] = sort_tables(headers)
                wanted = {**wanted, 'headers': sort_tables(wanted.get('headers', []))}
            if message['properties'] != wanted:
                self.fail(title, name, wanted, message['properties'])
            if (message['size'], message['crc32']) != (size, crc32_of(size, seed)):
                self.fail(title, f'{name}: body', (size, crc32_of(size, seed)), (message['size'], message['crc32']))

    def fail(self, title, name, expected, found):
        self.failures += 1
        if self.failures <= 20:
            print(f'{title}: {name}\n    expected {str(expected)[:600]}\n    found    {str(found)[:600]}')


def sort_tables(fields):
    def value(item):
        kind, content = item
        if kind in ('F', 'table'):
            return [kind, sort_tables(content)]
        return [kind, [value(each) for each in content]] if kind in ('A', 'array') else item

    return sorted([name, value(item)] for name, item in fields)


CRCS = {}


def crc32_of(size, seed):
    import zlib
    if (size, seed) not in CRCS:
        rows = [bytes((start + i * 131) & 255 for i in range(256)) for start in range(256)]
        CRCS[size, seed] = zlib.crc32(b''.join(rows[(seed + row * (256 * 131 + 17)) & 255] for row in range(size // 256 + 1))[:size])
    return CRCS[size, seed]


def main():
    peer, name, build_dir = sys.argv[1:4]
    if not os.environ.get('AMQP_URL'):
        skip('no broker: AMQP_URL is not set')
    os.makedirs(build_dir, exist_ok=True)
    client = {'pika': Pika, 'go': Go, 'node': Node}[name](build_dir)
    seed = int(os.environ.get('LAGO_INTEROP_SEED') or random.randrange(1 << 30))
    print(f'seed {seed}')
    run = Run(peer, client)
    queues = [f'lago.interop.{uuid.uuid4()}' for _ in range(2)]
    a, b = queues
    for queue in queues:
        run.call('lago', 'declare', queue, lines=['[]'])
    try:
        exchange_messages(run, name, a, b, seed)
        declare_the_same(run, name, queues)
    finally:
        for queue in queues:
            run.call('lago', 'delete', queue)
    print(f'{run.compared} messages compared, {run.failures} differ')
    sys.exit(1 if run.failures else 0)


def exchange_messages(run, name, a, b, seed):
    client = run.client
    messages = messages_for(client, False, seed)
    told = [client.properties(properties) for _, properties, _, _ in messages]
    run.publish('lago', a, messages)
    run.compare(f'lago to {name}', messages, told, run.consume(name, a, messages))
    messages = messages_for(client, True, seed)
    run.publish(name, a, messages)
    run.compare(f'{name} to lago', messages, [properties for _, properties, _, _ in messages], run.consume('lago', a, messages))
    messages = messages[:len(messages) // 2]
    told = [client.properties(properties) for _, properties, _, _ in messages]
    run.publish(name, a, messages)
    run.call('lago', 'forward', a, b, str(len(messages)))
    run.compare(f'{name} through lago to {name}', messages, told, run.consume(name, b, messages))


def declare_the_same(run, name, queues):
    """A queue with arguments of each type, declared by one and again by the other: the broker compares them, letters included."""
    arguments = [['x-max-length', ['l', '3000000000']], ['x-message-ttl', ['I', '600000']], ['x-dead-letter-exchange', ['S', text('amq.fanout')]],
                 ['x-single-active-consumer', ['t', '1']], ['x-overflow', ['S', text('reject-publish')]]]
    line = json.dumps([[text(key), value] for key, value in arguments])
    for first, second in (('lago', name), (name, 'lago')):
        queue = f'lago.interop.{uuid.uuid4()}'
        queues.append(queue)
        run.call(first, 'declare', queue, lines=[line])
        run.call(second, 'declare', queue, lines=[line])
        run.compared += 1


if __name__ == '__main__':
    main()
