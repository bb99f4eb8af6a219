/** 1 GiB each way, unharmed, with a reader that stalls meanwhile: the writer waits, and memory stays bounded. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { once } from 'node:events';
import { test } from 'node:test';
import { listen, outboundPair } from './testbed.ts';

const size = 1024 ** 3;
const chunk = randomBytes(1024 * 1024);
/** Window of the stream, twice over, and what the sockets on the way hold. */
const bound = 64 * 1024 ** 2;

const expected = ((): string => {
  const hash = createHash('sha256');
  for (let sent = 0; sent < size; sent += chunk.length) hash.update(chunk);
  return hash.digest('hex');
})();

for (const direction of ['down', 'up'] as const) {
  void test(`1 GiB ${direction}`, async () => {
    await using pair = await outboundPair();
    const accepted = Promise.withResolvers<Duplex>();
    await using server = await listen((socket) => accepted.resolve(socket));
    const stream = pair.daemon.connect({ host: '127.0.0.1', port: server.port });
    const [writer, reader] = direction === 'down' ? [await accepted.promise, stream] : [stream, await accepted.promise];
    const memory = process.memoryUsage();
    const progress = { sent: 0 };
    const writing = write(writer, progress);

    // Nobody reads: the writer comes to a halt.
    const held = await standstill(progress);
    assert.ok(held < bound, `${held} bytes were taken although nobody reads`);
    assert.ok(occupied() - memory.external - memory.arrayBuffers < 3 * bound, 'memory grew without bound');

    const hash = createHash('sha256');
    let peak = 0;
    let read = 0;
    for await (const data of reader as AsyncIterable<Buffer>) {
      hash.update(data);
      read += data.length;
      peak = Math.max(peak, progress.sent - read);
    }
    reader.end();
    await writing;
    assert.equal(hash.digest('hex'), expected);
    assert.ok(peak < bound, `${peak} bytes were under way`);
  });
}

void test('many streams, both ways at once, more than all buffers on the way hold: no end waits for the other', async () => {
  await using pair = await outboundPair();
  await using server = await listen((socket) => socket.pipe(socket));
  await Promise.all(
    Array.from({ length: 100 }, async () => {
      const stream = pair.daemon.connect({ host: '127.0.0.1', port: server.port });
      for (let count = 0; count < 3; count += 1) stream.write(chunk);
      stream.end();
      let read = 0;
      for await (const data of stream as AsyncIterable<Buffer>) read += data.length;
      assert.equal(read, 3 * chunk.length);
    }),
  );
});

async function write(writer: Duplex, progress: { sent: number }): Promise<void> {
  while (progress.sent < size) {
    const more = writer.write(chunk);
    progress.sent += chunk.length;
    if (!more) await once(writer, 'drain');
  }
  writer.end();
}

/** How much was sent when nothing more is for half a second. */
async function standstill(progress: { sent: number }): Promise<number> {
  for (;;) {
    const before = progress.sent;
    await new Promise((resolve) => setTimeout(resolve, 500));
    if (progress.sent === before && before > 0) return before;
  }
}

function occupied(): number {
  const { external, arrayBuffers } = process.memoryUsage();
  return external + arrayBuffers;
}
