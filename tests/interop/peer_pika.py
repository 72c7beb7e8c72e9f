#!/usr/bin/env python3
"""pika's side: as peer.c, but what it reads is told in pika's own types, for it forgets the letters.

    peer_pika.py publish|consume|declare QUEUE [COUNT]      77: this Python has no pika"""
import calendar
import datetime
import decimal
import json
import os
import struct
import sys
import zlib

try:
    import pika
except ImportError:
    sys.exit(77)

TEXTS = ('content_type', 'content_encoding', 'correlation_id', 'reply_to', 'expiration', 'message_id', 'type', 'user_id', 'app_id',
         'cluster_id')


def text(value):
    return bytes.fromhex(value).decode('utf-8')


def to_python(value):
    letter, content = value
    if letter == 't':
        return content == '1'
    if letter in 'Il':
        return int(content)
    if letter == 'D':
        scale, number = content.split(':')
        return decimal.Decimal(int(number)).scaleb(-int(scale))
    if letter == 'S':
        return text(content)
    if letter == 'x':
        return bytes.fromhex(content)
    if letter == 'T':
        return datetime.datetime.utcfromtimestamp(int(content))
    if letter == 'F':
        return {text(name): to_python(item) for name, item in content}
    if letter == 'A':
        return [to_python(item) for item in content]
    assert letter == 'V', letter
    return None


def from_python(value):
    if isinstance(value, bool):
        return ['bool', str(int(value))]
    if isinstance(value, int):
        return ['int', str(value)]
    if isinstance(value, decimal.Decimal):
        return ['decimal', str(value)]
    if isinstance(value, str):
        return ['bytes', value.encode('utf-8').hex()]
    if isinstance(value, bytes):
        return ['bytes', value.hex()]
    if isinstance(value, datetime.datetime):
        return ['time', str(calendar.timegm(value.utctimetuple()))]
    if isinstance(value, dict):
        return ['table', [[name.encode('utf-8').hex() if isinstance(name, str) else name.hex(), from_python(item)] for name, item in value.items()]]
    if isinstance(value, list):
        return ['array', [from_python(item) for item in value]]
    assert value is None, value
    return ['void', '']


def body(size, seed):
    return bytes((seed + i * 131 + (i >> 8) * 17) & 255 for i in range(size)) if size < 65536 else big_body(size, seed)


def big_body(size, seed):
    """The same, a run of 256 bytes at a time: each is the first one plus a constant."""
    rows = [bytes((start + i * 131) & 255 for i in range(256)) for start in range(256)]
    return b''.join(rows[(seed + row * (256 * 131 + 17)) & 255] for row in range(size // 256 + 1))[:size]


def properties_of(described):
    p = pika.BasicProperties()
    for name, value in described.items():
        if name in TEXTS:
            setattr(p, name, text(value))
        elif name == 'headers':
            p.headers = {text(key): to_python(item) for key, item in value}
        else:
            setattr(p, name, int(value))
    return p


def describe(p):
    result = {}
    for name in TEXTS:
        value = getattr(p, name)
        if value is not None:
            result[name] = (value.encode('utf-8') if isinstance(value, str) else value).hex()
    for name in ('delivery_mode', 'priority', 'timestamp'):
        if getattr(p, name) is not None:
            result[name] = str(getattr(p, name))
    if p.headers is not None:
        result['headers'] = from_python(p.headers)[1]
    return result


def main():
    command, queue = sys.argv[1:3]
    connection = pika.BlockingConnection(pika.URLParameters(os.environ['AMQP_URL']))
    channel = connection.channel()
    if command == 'publish':
        channel.confirm_delivery()
        for line in sys.stdin:
            described = json.loads(line)
            channel.basic_publish('', queue, body(described['size'], described['seed']), properties_of(described['properties']),
                                  mandatory=True)
    elif command == 'declare':
        arguments = {text(key): to_python(item) for key, item in json.loads(sys.stdin.readline())}
        channel.queue_declare(queue, durable=True, arguments=arguments)
    else:
        channel.basic_qos(prefetch_count=50)
        count = int(sys.argv[3])
        for method, properties, content in channel.consume(queue, inactivity_timeout=30):
            assert method is not None, 'nothing came for 30 s'
            print(json.dumps({'properties': describe(properties), 'size': len(content), 'crc32': zlib.crc32(content)}))
            channel.basic_ack(method.delivery_tag)
            count -= 1
            if count == 0:
                break
    connection.close()


main()
