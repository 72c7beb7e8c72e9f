// amqplib's side: as peer.c; what it reads is told in JavaScript's types, which know one kind of number.
'use strict';
const amqp = require('amqplib');
const readline = require('readline');

const TEXTS = { content_type: 'contentType', content_encoding: 'contentEncoding', correlation_id: 'correlationId', reply_to: 'replyTo',
  expiration: 'expiration', message_id: 'messageId', type: 'type', user_id: 'userId', app_id: 'appId', cluster_id: 'clusterId' };
const NUMBERS = { delivery_mode: 'deliveryMode', priority: 'priority', timestamp: 'timestamp' };
const INTEGERS = { b: 'int8', s: 'int16', I: 'int32', l: 'int64' };

const text = (hex) => Buffer.from(hex, 'hex').toString('utf8');
const hex = (string) => Buffer.from(string, 'utf8').toString('hex');

function toJs([letter, content]) {
  if (letter in INTEGERS) return { '!': INTEGERS[letter], value: Number(content) };
  switch (letter) {
    case 't': return content === '1';
    case 'f': return { '!': 'float', value: Buffer.from(content, 'hex').readFloatBE() };
    case 'd': return { '!': 'double', value: Buffer.from(content, 'hex').readDoubleBE() };
    case 'D': {
      const [places, digits] = content.split(':').map(Number);
      return { '!': 'decimal', value: { places, digits } };
    }
    case 'S': return text(content);
    case 'x': return Buffer.from(content, 'hex');
    case 'T': return { '!': 'timestamp', value: Number(content) };
    case 'F': return toTable(content);
    case 'A': return content.map(toJs);
    default: return null;
  }
}

function toTable(fields) {
  const table = {};
  for (const [name, value] of fields) table[text(name)] = toJs(value);
  return table;
}

function fromJs(value) {
  if (value === null) return ['void', ''];
  if (typeof value === 'boolean') return ['bool', value ? '1' : '0'];
  if (typeof value === 'string') return ['bytes', hex(value)];
  if (Buffer.isBuffer(value)) return ['bytes', value.toString('hex')];
  if (Array.isArray(value)) return ['array', value.map(fromJs)];
  if (typeof value === 'number') {
    const bits = Buffer.alloc(8);
    bits.writeDoubleBE(value);
    return ['number', bits.toString('hex')];
  }
  if (value['!'] === 'timestamp') return ['time', String(value.value)];
  if (value['!'] === 'decimal') return ['decimal', `${value.value.places}:${value.value.digits}`];
  return ['table', fromTable(value)];
}

// Objects put names that look like numbers first: names are sorted.
function fromTable(table) {
  return Object.keys(table).map((name) => [hex(name), fromJs(table[name])]).sort((a, b) => (a[0] < b[0] ? -1 : 1));
}

function makeBody(size, seed) {
  const body = Buffer.alloc(size);
  for (let i = 0; i < size; i++) body[i] = (seed + i * 131 + (i >> 8) * 17) & 255;
  return body;
}

const CRC = Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});
function crc32(bytes) {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = CRC[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function propertiesOf(described) {
  const p = {};
  for (const [name, value] of Object.entries(described)) {
    if (name in TEXTS) p[TEXTS[name]] = text(value);
    else if (name in NUMBERS) p[NUMBERS[name]] = Number(value);
    else p.headers = toTable(value);
  }
  return p;
}

function describe(p) {
  const result = {};
  for (const [name, its] of Object.entries(TEXTS)) if (p[its] !== undefined) result[name] = hex(p[its]);
  for (const [name, its] of Object.entries(NUMBERS)) if (p[its] !== undefined) result[name] = String(p[its]);
  if (p.headers !== undefined) result.headers = fromTable(p.headers);
  return result;
}

async function main() {
  const [command, queue, count] = process.argv.slice(2);
  // its own default is 4096, and a header frame cannot be split
  const connection = await amqp.connect(`${process.env.AMQP_URL}?frameMax=131072`);
  const channel = await connection.createConfirmChannel();
  const lines = readline.createInterface({ input: process.stdin });
  if (command === 'publish') {
    for await (const line of lines) {
      const m = JSON.parse(line);
      channel.sendToQueue(queue, makeBody(m.size, m.seed), propertiesOf(m.properties));
      if (m.size > 65536) await channel.waitForConfirms();
    }
    await channel.waitForConfirms();
  } else if (command === 'declare') {
    for await (const line of lines) await channel.assertQueue(queue, { durable: true, arguments: toTable(JSON.parse(line)) });
  } else {
    await channel.prefetch(50);
    await new Promise((resolve, reject) => {
      let left = Number(count);
      const patience = setTimeout(() => reject(new Error('nothing came for 60 s')), 60000);
      channel.consume(queue, (m) => {
        console.log(JSON.stringify({ properties: describe(m.properties), size: m.content.length, crc32: crc32(m.content) }));
        channel.ack(m);
        if (--left > 0) return;
        clearTimeout(patience);
        resolve();
      });
    });
  }
  await channel.close(); // else what it has buffered, acks too, is lost
  await connection.close();
}

main().catch((error) => {
  console.error(`peer_node: ${error.message}`);
  process.exit(1);
});
