/** A dead pipe is noticed in time and nothing hangs on it; a slow one lives. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { startRelay } from './relay.ts';
import type { Relay } from './relay.ts';
import { listen, outboundPair, tcpPair } from './testbed.ts';
import type { DialError } from './tunnel.ts';

void test('a pipe that loses everything: both ends notice within 6 s, all streams are reset, none hangs', async () => {
  let relay: Relay | undefined;
  const pipes = await tcpPair(async (port) => (relay = await startRelay(port)));
  await using _relay = relay!;
  await using pair = await outboundPair({ pipes });
  await using server = await listen((socket) => socket.write('x'));
  const stream = pair.daemon.connect({ host: '127.0.0.1', port: server.port });
  await once(stream, 'data');
  while (!(pair.daemon.roundTrip > 0))
    await once(pair.pipes[0], 'data', { signal: AbortSignal.timeout(50) }).catch(() => {});

  relay!.swallow();
  const before = performance.now();
  const late = pair.daemon.connect({ host: '127.0.0.1', port: server.port });
  late.write('said into the dark');
  const reasons = await Promise.all([pair.daemon.closed, pair.agent.closed]);
  const waited = performance.now() - before;
  // Whoever notices first closes the pipe, and the other sees that.
  assert.match(reasons.join(), /nothing was heard from the other end for [45]/);
  assert.ok(waited > 4_000 && waited < 6_000, `${waited} ms`);
  assert.equal((stream.errored as DialError).tunnelEnded, true);
  await assert.rejects(late.established, { errno: 'ECONNRESET', tunnelEnded: true });
});

for (const direction of ['up', 'down'] as const) {
  void test(`a slow link that is saturated (${direction}) for many times the timeout stays alive`, async () => {
    const heartbeat = { interval: 100, timeout: 500 };
    let relay: Relay | undefined;
    const pipes = await tcpPair(async (port) => (relay = await startRelay(port, 3_000_000)));
    await using _relay = relay!;
    await using pair = await outboundPair({ pipes, heartbeat });
    const size = 9_000_000;
    await using server = await listen((socket) => {
      if (direction === 'down') socket.end(Buffer.alloc(size));
      else void text(socket).then((said) => socket.end(String(said.length)));
    });
    const before = performance.now();
    const stream = pair.daemon.connect({ host: '127.0.0.1', port: server.port });
    if (direction === 'down') {
      stream.end();
      assert.equal((await text(stream)).length, size);
    } else {
      // In pieces, as they come from a socket.
      const pieces = Array.from({ length: size / 60_000 }, () => Buffer.alloc(60_000));
      void Readable.from(pieces).pipe(stream);
      assert.equal(await text(stream), String(size));
    }
    assert.ok(performance.now() - before > 4 * heartbeat.timeout, 'the link was not slow enough for a test');
  });
}

void test('an idle tunnel stays alive', async () => {
  await using pair = await outboundPair({
    heartbeat: { interval: 50, timeout: 200 },
    call: () => Promise.resolve('alive'),
  });
  const ended = pair.daemon.closed.then(() => 'ended');
  const after = new Promise((resolve) => setTimeout(resolve, 1_000, 'alive'));
  assert.equal(await Promise.race([ended, after]), 'alive');
  assert.equal(await pair.daemon.call('x', {}), 'alive');
});
