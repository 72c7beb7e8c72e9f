#!/usr/bin/env python3
"""Producers and consumers on lago, a broker of their own, a proxy between that breaks links, and faults: `run` has the options.

All that happens at random follows the seed: which faults, in what order, to whom; not when they meet which byte."""
import argparse
import glob
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import check

BROKER = os.environ.get('LAGO_TEST_BROKER', '')
QUEUE = 'lago.ledger'
PATIENCE_S = 120  # for what must happen: a node starts, everybody gets on
SKIPPED = 77
FRAMES = {'up': ('basic.publish', 'header', 'body', 'basic.ack', 'basic.consume', 'confirm.select', 'heartbeat'),
          'down': ('basic.deliver', 'header', 'body', 'basic.ack', 'basic.consume-ok', 'channel.open-ok', 'heartbeat')}


def now_us():
    return time.monotonic_ns() // 1000


def run(*command, check_=True):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S * 2)
    if check_ and done.returncode != 0:
        raise RuntimeError(f'{" ".join(command)}: {done.stderr.strip() or done.stdout.strip()}')
    return done.stdout


# ---------------------------------------------------------------- the broker

class Broker:
    def __init__(self, root, tls):
        options = (['-r', root] if root else []) + (['-t'] if tls else [])
        told = run(BROKER, 'start', '-w', str(os.getpid()), *options)
        self.told = dict(line.split('=', 1) for line in told.splitlines())
        self.directory, self.port = self.told['BROKER_DIR'], int(self.told['AMQP_PORT'])
        self.behind = int(self.told['AMQPS_PORT']) if tls else self.port  # the proxy
        self.version = self.told['BROKER_VERSION']

    def do(self, *words):
        return run(BROKER, words[0], self.directory, *words[1:])

    def ctl(self, *words):
        return self.do('ctl', '-q', *words)

    def url(self, port, host='127.0.0.1'):
        return f'amqp://guest:guest@{host}:{port}/%2f'

    def declare(self, kind):
        """A queue, and the node has written it down: RabbitMQ 3.x may forget one that is younger than its log."""
        import pika
        with pika.BlockingConnection(pika.URLParameters(self.url(self.port))) as connection:
            arguments = {'x-queue-type': kind} if kind != 'classic' else {}
            connection.channel().queue_declare(QUEUE, durable=True, arguments=arguments)
        if self.version.startswith('3.'):
            self.do('eval', 'mnesia:sync_log().')
        else:
            time.sleep(3)

    def await_acks(self):
        """Nobody has anything unacknowledged: the node has noticed the end of every consumer."""
        deadline = time.monotonic() + PATIENCE_S
        while (told := re.findall(r'^\d+$', self.ctl('list_queues', 'messages_unacknowledged'), re.MULTILINE)) != ['0']:
            if time.monotonic() > deadline:
                raise RuntimeError(f'{" ".join(told)} messages are unacknowledged, and no consumer is there')
            time.sleep(0.2)

    def drain(self, path, seconds):
        """What is left, by a client that is not lago; until the queue has been empty for so long."""
        import pika
        with pika.BlockingConnection(pika.URLParameters(self.url(self.port))) as connection, open(path, 'a', encoding='ascii') as file:
            channel = connection.channel()
            empty_since = None
            while not empty_since or time.monotonic() < empty_since + seconds:
                method, _, body = channel.basic_get(QUEUE, auto_ack=False)
                if method is None:
                    empty_since = empty_since or time.monotonic()
                    connection.sleep(0.1)
                    continue
                empty_since = None
                file.write(f'F {message_words(body, method.redelivered)} {now_us()} .\n')
                channel.basic_ack(method.delivery_tag)
            left = channel.queue_declare(QUEUE, passive=True).method.message_count
        if left:
            raise RuntimeError(f'{left} messages in a queue that is empty')

    def stop(self):
        run(BROKER, 'stop', self.directory, check_=False)


def message_words(body, redelivered):
    """Of a message of book.h: producer, number, attempt, redelivered, intact."""
    import struct
    import zlib
    if len(body) < 32 or body[:4] != b'LAGO':
        return f'0 0 0 {int(redelivered)} 0'
    producer, number, attempt, size, _, crc = struct.unpack('>IQIIII', body[4:32])
    intact = size == len(body) and crc == zlib.crc32(body[:28] + bytes(4) + body[32:])
    return f'{producer} {number} {attempt} {int(redelivered)} {int(intact)}'


# ---------------------------------------------------------------- the proxy

class Proxy:
    """The program fault-proxy and its lines (tests/proxy/control.h)."""
    def __init__(self, build, directory, listen, port, seed):
        path = os.path.join(directory, 'proxy.sock')
        self.process = subprocess.Popen([os.path.join(build, 'tests/proxy/fault-proxy'), '--listen', f'{listen}:0', '--to', str(port), '--control', path,
                                         '--seed', str(seed)], stdin=subprocess.PIPE, stdout=open(os.path.join(directory, 'proxy.out'), 'w'))
        self.out = os.path.join(directory, 'proxy.out')
        self.control = socket.socket(socket.AF_UNIX)
        wait(lambda: os.path.exists(path) and 'listening' in read(self.out), 'the proxy listens', 20)
        self.control.connect(path)
        self.rest, self.answers, self.fired = '', [], set()
        self.port = int(re.search(r'listening \S+:(\d+)', read(self.out))[1])

    def listen(self, seconds):
        """Take what it says for so long, or until there is an answer."""
        self.control.settimeout(max(seconds, 0.001))
        try:
            came = self.control.recv(65536).decode()
        except TimeoutError:
            return
        if not came:
            raise RuntimeError('the proxy is gone')
        *lines, self.rest = (self.rest + came).split('\n')
        for line in lines:
            words = line.split()
            if len(words) > 2 and words[2] == 'fired':
                self.fired.add(int(words[1]))
            elif words and (words[0] in ('ok', 'wrong:') or (len(words) == 6 and words[2] == 'up' and words[4] == 'down')):
                self.answers.append(line)

    def ask(self, line):
        self.answers = []
        self.control.sendall(line.encode() + b'\n')
        deadline = time.monotonic() + 10
        while not self.answers or not self.answers[-1].startswith(('ok', 'wrong')):
            if time.monotonic() > deadline:
                raise RuntimeError(f'the proxy does not answer to {line}')
            self.listen(1)
        return self.answers

    def links(self):
        """Number, bytes up and down of those that are carried."""
        words = [line.split() for line in self.ask('links')[:-1]]
        return [(int(word[1]), int(word[3]), int(word[5])) for word in words]

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.control.close()


def read(path):
    with open(path, encoding='utf-8', errors='replace') as file:
        return file.read()


def wait(condition, what, seconds=PATIENCE_S):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f'waited too long until {what}')
        time.sleep(0.01)


# ---------------------------------------------------------------- a network of the clients' own

class Network:
    """A namespace whose only way out is one cable."""
    def __init__(self):
        number = os.getpid() % 60000
        self.name, self.cable = f'lago{number}', f'lg{number}'
        self.host = f'10.{200 + number % 50}.{number // 250 % 250}.1'
        client = self.host[:-1] + '2'
        try:
            run('ip', 'netns', 'add', self.name)
            run('ip', 'link', 'add', f'{self.cable}a', 'type', 'veth', 'peer', 'name', f'{self.cable}b', 'netns', self.name)
            run('ip', 'addr', 'add', f'{self.host}/24', 'dev', f'{self.cable}a')
            run('ip', 'link', 'set', f'{self.cable}a', 'up')
            self.inside('ip', 'addr', 'add', f'{client}/24', 'dev', f'{self.cable}b')
            self.inside('ip', 'link', 'set', f'{self.cable}b', 'up')
        except BaseException:
            self.stop()
            raise

    def inside(self, *command):
        return run('ip', 'netns', 'exec', self.name, *command)

    def cable_is(self, state):
        run('ip', 'link', 'set', f'{self.cable}a', state)

    def stop(self):
        run('ip', 'link', 'del', f'{self.cable}a', check_=False)
        run('ip', 'netns', 'del', self.name, check_=False)


def network_is_possible():
    return os.geteuid() == 0 and shutil.which('ip') is not None and subprocess.run(
        ['ip', 'netns', 'list'], capture_output=True, check=False).returncode == 0


# ---------------------------------------------------------------- the clients

class Client:
    """A producer or a consumer: started, killed and started again on the same ledger."""
    def __init__(self, rig, kind, number, words):
        self.book = os.path.join(rig.directory, f'{kind[:4]}.{number}.led')
        url = f'://guest:guest@{rig.address}:{rig.proxy.port}/%2f?heartbeat={rig.options.heartbeat}&connection_attempts=1&stack_timeout=4&socket_timeout=3'
        url = f'amqps{url}&cacertfile={rig.broker.told["BROKER_CACERT"]}' if rig.options.tls else f'amqp{url}'
        who = [str(number), QUEUE] if kind == 'producer' else [QUEUE]
        self.kind = kind
        self.command = [os.path.join(rig.options.build, f'tests/ledger/ledger-{kind}'), url, self.book, *who, *words]
        if rig.network:
            self.command = ['ip', 'netns', 'exec', rig.network.name, *self.command]
        self.errors = open(os.path.join(rig.directory, f'{kind}.{number}.err'), 'a', encoding='utf-8')
        self.letter = 'A' if kind == 'producer' else 'D'
        self.offset = self.count = 0
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.errors)

    def progress(self):
        """Messages that were confirmed, or came."""
        if self.process.poll() is not None:
            raise RuntimeError(f'{self.book} ended with {self.process.returncode}: {read(self.errors.name)[-500:]}')
        if not os.path.exists(self.book):
            return 0  # it has just been started
        with open(self.book, 'rb') as file:
            file.seek(self.offset)
            came = file.read()
        self.offset += len(came)
        self.count += came.count(b'\n' + self.letter.encode() + b' ')
        return self.count

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ask_to_end(self):
        self.process.send_signal(signal.SIGTERM)

    def is_done(self):
        return self.process.poll() is not None


# ---------------------------------------------------------------- faults

class Rig:
    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        self.random = random.Random(options.seed)
        self.done = {}
        self.broker = self.proxy = self.network = None
        self.clients = []

    def start(self):
        options = self.options
        self.broker = Broker(options.rabbitmq, options.tls)
        self.broker.declare(options.queue)
        if options.links:
            self.network = Network()
        self.address = self.network.host if self.network else '127.0.0.1'
        self.proxy = Proxy(options.build, self.directory, self.address, self.broker.behind, options.seed)
        for way in ('up', 'down'):  # as in a real network there is always something on its way, and lost with the link
            self.proxy.ask(f'new {way} latency_ms=2 jitter_ms=3')
        for number in range(1, options.producers + 1):
            words = [f'rate={options.rate}', *(['publisher'] if number % 2 == 0 else []), *(['big'] if number == 1 else [])]
            self.clients.append(Client(self, 'producer', number, words + ([options.control] if options.control else [])))
        for number in range(1, options.consumers + 1):
            self.clients.append(Client(self, 'consumer', number, [f'seed={options.seed * 10 + number}']))

    def stop(self):
        for client in self.clients:
            client.kill()
        for part in (self.proxy, self.broker, self.network):
            if part:
                part.stop()

    def note(self, line):
        with open(os.path.join(self.directory, 'faults.led'), 'a', encoding='ascii') as file:
            file.write(f'{line} {now_us()} .\n')

    def pause(self, least, most):
        time.sleep(self.random.uniform(least, most))

    def go_on(self, more=20):
        """Each producer gets on, and somebody consumes: the fault is over, the next one meets a running system."""
        producers = [client for client in self.clients if client.kind == 'producer']
        before = {client: client.progress() for client in self.clients}
        came = sum(before[client] for client in self.clients if client.kind == 'consumer')

        def moves():
            now = {client: client.progress() for client in self.clients}
            return all(now[client] >= before[client] + more for client in producers) and \
                sum(now[client] for client in self.clients if client.kind == 'consumer') >= came + more
        wait(moves, 'messages go on')

    def kill(self):
        begin = now_us()
        self.broker.do('kill9')
        self.note(f'kill {begin} {now_us()}')
        self.broker.do('up')

    def halt(self):
        self.broker.do('pause')
        self.pause(0.05, 2.5 * self.options.heartbeat if self.random.random() < 0.3 else 0.5)
        self.broker.do('resume')

    def alarm(self):
        self.broker.ctl('set_vm_memory_high_watermark', 'absolute', '1MB')
        self.pause(0.1, 1)
        self.broker.ctl('set_vm_memory_high_watermark', '0.4')

    def close(self):
        if self.random.random() < 0.5:
            self.broker.ctl('close_all_connections', 'the ledger wants it')
            return
        pids = [line.split()[0] for line in self.broker.ctl('list_connections', 'pid').splitlines() if line.startswith('<')]
        if pids:
            run(BROKER, 'ctl', self.broker.directory, '-q', 'close_connection', self.random.choice(pids), 'the ledger wants it', check_=False)

    def cut_words(self):
        way = self.random.choice(('up', 'down'))
        act = self.random.choice(('close', 'reset', 'reset'))
        if self.random.random() < 0.5:
            return f'{way} act={act} byte={self.random.randrange(self.random.choice((50, 2000, 60000)))}'
        if self.options.tls:
            return f'{way} act={act} record={self.random.choice(("any", "application_data"))} nth={self.random.randint(1, 9)} offset={self.random.randrange(60)}'
        return f'{way} act={act} frame={self.random.choice(FRAMES[way])} nth={self.random.randint(1, 5)} offset={self.random.randrange(60)}'

    def cut(self, count):
        """So many cuts; several links are cut at a time, each as soon as it is up."""
        waiting, cuts = {}, 0
        deadline = time.monotonic() + PATIENCE_S
        while cuts < count:
            for number, up, _ in self.proxy.links():
                if number not in waiting and (up > 600 or self.random.random() < 0.1) and cuts + len(waiting) < count:
                    if self.proxy.ask(f'link {number} {self.cut_words()}')[-1] == 'ok':
                        waiting[number] = time.monotonic()
            self.proxy.listen(0.02)
            cuts += len(self.proxy.fired & waiting.keys())
            late = [number for number, since in waiting.items() if time.monotonic() > since + 1]
            for number in late:
                if number not in self.proxy.fired and self.proxy.ask(f'end {number} reset')[-1] == 'ok':
                    cuts += 1  # the frame that it waited for has not come
            for number in [*late, *self.proxy.fired]:
                waiting.pop(number, None)
            self.proxy.fired.clear()
            for client in self.clients:
                client.progress()
            if time.monotonic() > deadline + count:
                raise RuntimeError('links do not come back')

    def client_kill(self):
        client = self.random.choice(self.clients)
        client.kill()
        self.pause(0, 0.1)
        client.start()

    def link(self):
        self.network.cable_is('down')
        self.pause(0.1, 2.5 * self.options.heartbeat if self.random.random() < 0.5 else 0.8)
        self.network.cable_is('up')

    def plan(self):
        options = self.options
        plan = ['kill'] * options.kills + ['halt'] * options.stops + ['alarm'] * options.alarms + ['close'] * options.closes + \
            ['client_kill'] * options.client_kills + ['link'] * (options.links if self.network else 0)
        each = 10 if options.cuts > 50 else max(1, options.cuts)
        plan += [('cut', min(each, options.cuts - done)) for done in range(0, options.cuts, each)]
        self.random.shuffle(plan)
        return plan

    def break_all(self):
        began = time.monotonic()
        self.go_on()
        for fault in self.plan():
            kind, *words = fault if isinstance(fault, tuple) else (fault, )
            getattr(self, kind)(*words)
            self.done[kind] = self.done.get(kind, 0) + (words[0] if words else 1)
            self.go_on()
            self.pause(0, 0.1)
        while time.monotonic() < began + self.options.seconds:
            time.sleep(0.1)
            for client in self.clients:
                client.progress()

    def settle(self):
        """Everything that is still open comes to its end; nobody has anything unacknowledged; what is left is counted."""
        producers = [client for client in self.clients if client.kind == 'producer']
        consumers = [client for client in self.clients if client.kind == 'consumer']
        for client in producers:
            client.ask_to_end()
        wait(lambda: all(client.is_done() for client in producers), 'all producers have ended')
        seen = [0, time.monotonic()]

        def quiet():
            count = sum(client.progress() for client in consumers)
            if count != seen[0]:
                seen[:] = count, time.monotonic()
            return time.monotonic() > seen[1] + 1
        wait(quiet, 'nothing comes any more', PATIENCE_S * 10)
        for client in consumers:
            client.ask_to_end()
        wait(lambda: all(client.is_done() for client in consumers), 'all consumers have ended')
        for client in self.clients:
            if client.process.returncode != 0:
                raise RuntimeError(f'{client.book} ended with {client.process.returncode}: {read(client.errors.name)[-500:]}')
        self.broker.await_acks()
        self.broker.drain(os.path.join(self.directory, 'drain.led'), self.options.drain)


def read_options():
    parser = argparse.ArgumentParser(prog='tests/ledger/run', description='see the top of tests/ledger/run')
    faults = 'kills', 'stops', 'alarms', 'closes', 'cuts', 'client_kills', 'links'
    for name in (*faults, 'seconds'):
        parser.add_argument(f'--{name.replace("_", "-")}', type=int, default=0)
    parser.add_argument('--queue', choices=('classic', 'quorum'), default='classic')
    parser.add_argument('--rabbitmq', default='')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--producers', type=int, default=2)
    parser.add_argument('--consumers', type=int, default=2)
    parser.add_argument('--rate', type=int, default=1000)
    parser.add_argument('--heartbeat', type=int, default=2)
    parser.add_argument('--drain', type=float, default=3)
    parser.add_argument('--control', choices=('no-confirms', 'off-by-one'), default='')
    parser.add_argument('--tls', type=int, choices=(0, 1), default=0)
    parser.add_argument('--keep', default='')
    parser.add_argument('--build', default='')
    options = parser.parse_args()
    if options.control and not any(getattr(options, name) for name in faults):
        options.kills, options.cuts = 2, 40 # who is careless loses nothing while nothing breaks
    return options


def words_of(rig):
    names = {'kill': 'kills', 'halt': 'stops', 'alarm': 'alarms', 'close': 'forced closes', 'cut': 'cuts', 'client_kill': 'client kills', 'link': 'links down'}
    return ''.join(f', {rig.done[kind]:,} {name}' for kind, name in names.items() if rig.done.get(kind))


def verdict_of(options, rig):
    verdict = check.Ledger(rig.directory).judge()
    check.show(verdict, 3 if options.control else 10)
    print(', '.join(f'{name} {count:,}' for name, count in sorted(verdict.counts.items())))
    lossy = bool(verdict.problems['lost'])
    words = f'{verdict.line()}{words_of(rig)}; {options.queue} queue{" over TLS" if options.tls else ""}, RabbitMQ {rig.broker.version}, seed {options.seed}'
    if not options.control:
        print(f'ledger: {words}')
        return 0 if verdict.good() else 1
    print(f'ledger, control {options.control}: {words}: the loss was {"found" if lossy else "NOT FOUND"}')
    return 0 if lossy else 1


def main():
    options = read_options()
    if not BROKER:
        print('LAGO_TEST_BROKER is not set: no broker to be had')
        return SKIPPED
    if options.links and (options.tls or not network_is_possible()):
        print('links are not cut: that takes root and iproute2, and certificates know no address but 127.0.0.1')
        options.links = 0
    directory = options.keep or tempfile.mkdtemp(prefix='lago-ledger.')
    os.makedirs(directory, exist_ok=True)
    for kind in ('led', 'err', 'out', 'sock'):
        for old in glob.glob(os.path.join(directory, f'*.{kind}')):
            os.unlink(old)
    rig = Rig(options, directory)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    good = False
    try:
        rig.start()
        rig.break_all()
        rig.settle()
        good = verdict_of(options, rig) == 0
    except RuntimeError as error:
        print(f'ledger: {error}; seed {options.seed}')
    finally:
        rig.stop()
        if good and not options.keep:
            shutil.rmtree(directory)
        elif not good:
            print(f'the ledgers are in {directory}')
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
