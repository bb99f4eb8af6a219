/** The reader of frames takes what a correct peer sends, however it is cut, and nothing else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frame, FrameReader, headerLength, maxData, maxMessage, ProtocolError, writeHeader } from './frames.ts';
import type { FrameType } from './frames.ts';

function write(type: FrameType, channel: number, payload = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(headerLength);
  writeHeader(header, 0, type, channel, payload.length);
  return Buffer.concat([header, payload]);
}

/** What the reader makes of the chunks: DATA of one channel in a row as one. */
function read(chunks: Iterable<Buffer>): string[] {
  const seen: { type: number; channel: number; bytes: Buffer[] }[] = [];
  const reader = new FrameReader({
    onData(channel, bytes) {
      const last = seen.at(-1);
      if (last?.type === frame.data && last.channel === channel) last.bytes.push(Buffer.from(bytes));
      else seen.push({ type: frame.data, channel, bytes: [Buffer.from(bytes)] });
    },
    onFrame: (type, channel, payload) => void seen.push({ type, channel, bytes: [Buffer.from(payload)] }),
  });
  for (const chunk of chunks) reader.push(chunk);
  return seen.map(({ type, channel, bytes }) => `${type} ${channel} ${Buffer.concat(bytes).toString('hex')}`);
}

const conversation = [
  write(frame.ping, 0),
  write(frame.open, 1, Buffer.from('{"call":"x"}')),
  write(frame.data, 1, Buffer.from('abc')),
  write(frame.end, 1),
  write(frame.open, 0xffffffff, Buffer.from('{}')),
  write(frame.credit, 0xffffffff, Buffer.from([0, 1, 0, 0])),
  write(frame.data, 0xffffffff, Buffer.alloc(300, 7)),
  write(frame.reset, 0xffffffff),
  write(frame.pong, 0),
];

function* cut(bytes: Buffer, size: () => number): Generator<Buffer> {
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + size());
    yield bytes.subarray(at, end);
    at = end;
  }
}

void test('frames are the same however they are cut', () => {
  const bytes = Buffer.concat(conversation);
  const whole = read([bytes]);
  assert.equal(whole.length, conversation.length);
  assert.equal(whole[2], '4 1 616263');
  for (let size = 1; size < bytes.length; size += 1)
    assert.deepEqual(read(cut(bytes, () => size)), whole, `by ${size}`);
});

for (const [what, bytes] of Object.entries({
  'a type that does not exist': write(10 as FrameType, 1),
  'type 0': Buffer.alloc(headerLength),
  'plain HTTP': Buffer.from('GET / HTTP/1.1\r\n\r\n'),
  'bytes for the tunnel itself': write(frame.data, 0, Buffer.from('x')),
  'a ping on a channel': write(frame.ping, 1),
  'no bytes': write(frame.data, 1),
  'too many bytes': write(frame.data, 1, Buffer.alloc(maxData + 1)),
  'an open without a request': write(frame.open, 1),
  'an open with too long a request': write(frame.open, 1, Buffer.alloc(maxMessage + 1)),
  'an end with a payload': write(frame.end, 1, Buffer.from('x')),
  'a credit of the wrong size': write(frame.credit, 1, Buffer.from([1, 2, 3])),
}))
  void test(`refused: ${what}`, () => {
    assert.throws(() => read([bytes]), ProtocolError);
  });

void test('whatever arrives is read or refused', () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const random = randomFrom(seed);
  for (let round = 0; round < 5_000; round += 1) {
    const bytes = Buffer.concat(conversation);
    for (let count = random(8); count > 0; count -= 1) bytes[random(bytes.length)] = random(256);
    const garbled = random(4) === 0 ? Buffer.from(bytes.map(() => random(256))) : bytes;
    try {
      read(cut(garbled, () => 1 + random(64)));
    } catch (error) {
      assert.ok(error instanceof ProtocolError, `seed ${seed}, round ${round}: ${String(error)}`);
    }
  }
});

/** Mulberry32: the same numbers for the same seed, below `limit`. */
function randomFrom(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}
