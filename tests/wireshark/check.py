#!/usr/bin/env python3
"""Let tshark judge what clients have sent: check.py RECORDING PORT SPECIFICATION all|some

No frame of theirs may be malformed to Wireshark's dissector, each octet must belong to a frame that it has decoded, and each
method that lago can send must be among them (`some`: unless the broker was not ours, so that tests were skipped). What is let
pass has its reason here.
"""
import collections
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

MARKER = re.compile(r'^lago-marker (\S+)')
MARKER_PORT = 9
PROTOCOL_HEADER_SIZE = 8  # "AMQP" 0 0 9 1, which Wireshark shows but does not count
FRAME_OVERHEAD = 8
FRAME_MAX = 131072  # RabbitMQ's; more than that cannot be the beginning of one frame
GOODBYES = {'connection.close', 'connection.close-ok'}  # who sends one has written all of his frames
FRAMES_MIN = 10000  # the tests send some 100,000; so few would mean that most was not decoded

# What Wireshark 4.0 does not know, in its own words.
UNKNOWN_TO_WIRESHARK = {
    'Unknown connection method 70': 'connection.update-secret came with RabbitMQ 3.8; Wireshark 4.0 has not heard of it',
}

# Programs that abort connections, or kill or freeze the broker, while something is being written. Elsewhere every frame is whole.
CUT_SHORT = {'test_broker_ends', 'test_broker_faults', 'test_broker_confirms', 'test_broker_loop', 'test_broker_connection'}

# Programs that say more in the segment of the protocol header, of which Wireshark 4.0 decodes nothing but that header. What they say
# there is what others say in segments of their own.
AHEAD = {'test_broker_fast_open'}

# Methods of clients that do not appear.
NOT_SENT = {
    'access.request': 'not in 0-9-1 any more; lago has no call for it',
    'basic.cancel-ok': "RabbitMQ's basic.cancel says no-wait",
    'basic.recover-async': 'deprecated by the specification; lago has basic.recover',
    'channel.flow-ok': 'RabbitMQ sends no channel.flow since 2.0',
}

# Expert items of the dissector itself; others in these packets are about TCP, or about what a body is.
AMQP_EXPERT = re.compile(r'^amqp\.(bad_|unknown\.|invalid\.|field_short$|array_type_unknown$|size_exceeds)')
SEVERITY_ERROR = 0x00800000

COLUMNS = ['frame.number', 'tcp.stream', 'tcp.len', 'tcp.seq', 'amqp.type', 'amqp.length', 'amqp.method.class', 'amqp.method.method',
           '_ws.malformed', '_ws.expert.severity', '_ws.expert.message', 'udp.payload']


def tshark(*arguments):
    result = subprocess.run(['tshark', *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if result.returncode != 0:
        sys.exit('tshark: ' + result.stderr.decode(errors='replace').strip())
    return result.stdout.decode(errors='replace').splitlines()


def expert_fields():
    names = sorted({line.split('\t')[2] for line in tshark('-G', 'fields') if line.startswith('F\t')})
    found = [name for name in names if AMQP_EXPERT.match(name)]
    if 'amqp.bad_length' not in found or 'amqp.field_short' not in found:
        sys.exit('this tshark names its findings otherwise: ' + ' '.join(found))
    return found


def read_packets(recording, port, experts):
    columns = COLUMNS + experts
    arguments = ['-r', recording, '-d', f'tcp.port=={port},amqp', '-o', 'tcp.reassemble_out_of_order:TRUE',
                 '-Y', f'tcp.dstport=={port} || udp.dstport=={MARKER_PORT}', '-T', 'fields', '-E', 'aggregator=|']
    for column in columns:
        arguments += ['-e', column]
    for line in tshark(*arguments):
        cells = line.split('\t')
        yield dict(zip(columns, cells + [''] * (len(columns) - len(cells))))


class Judge:
    def __init__(self, names, experts):
        self.names = names  # (class, method): name
        self.experts = experts
        self.program = ''
        self.program_of = {}  # of a stream
        self.methods = collections.Counter()
        self.frames = collections.Counter()
        self.excused = collections.Counter()
        self.ended = set()  # streams with a goodbye
        self.cut_short = collections.Counter()  # of a program's streams
        self.ahead = collections.Counter()
        self.faults = []
        self.bytes = 0
        self.segments = collections.defaultdict(list)  # of a stream: where in it, and how many octets
        self.decoded = collections.Counter()  # octets of a stream in decoded frames

    def fault(self, packet, what):
        program = self.program_of.get(packet['tcp.stream'], self.program)
        self.faults.append(f"packet {packet['frame.number']}, stream {packet['tcp.stream']}, {program}: {what}")

    def take(self, packet):
        if packet['udp.payload']:
            found = MARKER.match(bytes.fromhex(packet['udp.payload'].replace(':', '')).decode(errors='replace'))
            self.program = found.group(1) if found else self.program
        elif packet['tcp.stream']:
            self.take_segment(packet)

    def take_segment(self, packet):
        self.program_of.setdefault(packet['tcp.stream'], self.program)
        if not packet['tcp.len']:
            self.fault(packet, 'not a TCP segment')
            return
        if packet['tcp.len'] != '0':
            self.segments[packet['tcp.stream']].append((int(packet['tcp.seq']), int(packet['tcp.len'])))
        self.look_for_errors(packet)
        self.count_frames(packet)

    def look_for_errors(self, packet):
        messages = packet['_ws.expert.message'].split('|')
        severities = [int(cell, 0) for cell in packet['_ws.expert.severity'].split('|') if cell]
        for message, severity in zip(messages, severities):
            if message in UNKNOWN_TO_WIRESHARK:
                self.excused[message] += 1
            elif severity >= SEVERITY_ERROR:
                self.fault(packet, message)
        excused = any(message in UNKNOWN_TO_WIRESHARK for message in messages)
        for name in self.experts:
            if packet[name] and not (excused and name.startswith('amqp.unknown.')):
                self.fault(packet, name)
        if packet['_ws.malformed']:
            self.fault(packet, 'malformed: ' + packet['_ws.malformed'])

    def count_frames(self, packet):
        ahead = int(packet['tcp.len']) - PROTOCOL_HEADER_SIZE
        if packet['tcp.seq'] == '1' and ahead > 0 and not packet['amqp.type'] and self.program in AHEAD:
            self.decoded[packet['tcp.stream']] += ahead
            self.ahead[self.program] += 1
        self.frames.update(cell for cell in packet['amqp.type'].split('|') if cell)
        self.decoded[packet['tcp.stream']] += sum(int(cell) + FRAME_OVERHEAD for cell in packet['amqp.length'].split('|') if cell)
        classes, methods = packet['amqp.method.class'].split('|'), packet['amqp.method.method'].split('|')
        if len(classes) != len(methods):
            if 'Unknown connection method 70' not in packet['_ws.expert.message']:
                self.fault(packet, 'classes and methods do not match')
            return
        for pair in zip(classes, methods):
            if pair[0]:
                self.methods[self.names.get(pair, f'{pair[0]}.{pair[1]}')] += 1
            if self.names.get(pair) in GOODBYES:
                self.ended.add(packet['tcp.stream'])

    def check_streams(self):
        for stream, segments in self.segments.items():
            end = 1  # relative numbers: the SYN was 0
            for start, size in sorted(segments):
                if start > end:
                    self.faults.append(f'stream {stream}, {self.program_of[stream]}: octets {end} to {start} were not captured')
                end = max(end, start + size)
            self.bytes += end - 1
            self.check_end(stream, end - 1 - PROTOCOL_HEADER_SIZE - self.decoded[stream])

    def check_end(self, stream, left):
        program = self.program_of[stream]
        if left == 0:
            return
        if program in CUT_SHORT and stream not in self.ended and 0 < left < FRAME_MAX:
            self.cut_short[program] += 1
        else:
            self.faults.append(f'stream {stream}, {program}: {left} octets belong to no frame')

    def check_methods(self, want_all):
        for name in self.names.values():
            if name in NOT_SENT and self.methods[name]:
                self.faults.append(f'{name} is sent after all: {NOT_SENT[name]}')
            if want_all and name not in NOT_SENT and not self.methods[name]:
                self.faults.append(f'{name} was not sent by any test')
        for name in self.methods:
            if name not in self.names.values():
                self.faults.append(f'{name} is no method of clients')
        if want_all and sum(self.frames.values()) < FRAMES_MIN:
            self.faults.append(f'only {sum(self.frames.values())} frames')

    def report(self):
        kinds = {'1': 'method', '2': 'header', '3': 'body', '8': 'heartbeat'}
        frames = ', '.join(f'{count} {kinds.get(kind, kind)}' for kind, count in sorted(self.frames.items()))
        print(f'{self.bytes} octets of {len(self.program_of)} connections, {sum(self.frames.values())} frames: {frames}')
        for name in self.names.values():
            print(f'{self.methods[name]:8} {name}' + (f': {NOT_SENT[name]}' if name in NOT_SENT else ''))
        for what, count in self.excused.items():
            print(f'let pass {count} times: {what}: {UNKNOWN_TO_WIRESHARK[what]}')
        for program, count in self.cut_short.items():
            print(f'let pass {count} times in {program}: the last frame cut short, by an abort or a broker that died')
        for program, count in self.ahead.items():
            print(f'let pass {count} times in {program}: frames in the segment of the protocol header, where Wireshark does not look')
        print('\n'.join(self.faults[:40]) or 'no fault found')
        if len(self.faults) > 40:
            print(f'and {len(self.faults) - 40} more')


def client_methods(specification):
    names = {}
    for cls in ElementTree.parse(specification).getroot().findall('class'):
        for method in cls.findall('method'):
            if any(chassis.get('name') == 'server' for chassis in method.findall('chassis')):
                names[cls.get('index'), method.get('index')] = f"{cls.get('name')}.{method.get('name')}"
    return names


def main(recording, port, specification, extent):
    experts = expert_fields()
    judge = Judge(client_methods(specification), experts)
    for packet in read_packets(recording, port, experts):
        judge.take(packet)
    judge.check_streams()
    judge.check_methods(extent == 'all')
    judge.report()
    return 1 if judge.faults else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
