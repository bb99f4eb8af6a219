/** What a connection through the tunnel looks like at both of its ends, over real sockets. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { dialTcp } from './dial.ts';
import { splice } from './splice.ts';
import { inboundPair, listen, outboundPair } from './testbed.ts';
import { DialError } from './tunnel.ts';
import type { TunnelStream } from './tunnel.ts';

/** Both tunnels as one: connects to a port of this machine through the far end. */
const ways = {
  async outbound() {
    const pair = await outboundPair();
    return Object.assign(pair, { connect: (port: number, host = '127.0.0.1') => pair.daemon.connect({ host, port }) });
  },
  async inbound() {
    const pair = await inboundPair(({ port, peer }) => dialTcp({ host: peer, port }));
    return Object.assign(pair, {
      connect: (port: number, host = '127.0.0.1') => pair.agent.connect({ port, peer: host }),
    });
  },
};

for (const [way, open] of Object.entries(ways)) {
  void test(`${way}: the caller ends first and is answered all the same`, async () => {
    await using pair = await open();
    await using server = await listen((socket) => void text(socket).then((said) => socket.end(`heard ${said}`)));
    const stream = pair.connect(server.port);
    stream.end('everything');
    assert.equal(await text(stream), 'heard everything');
    await noStreams(pair);
  });

  void test(`${way}: the server ends first and still hears the caller`, async () => {
    await using pair = await open();
    const heard = Promise.withResolvers<string>();
    await using server = await listen((socket) => {
      socket.end('welcome and goodbye');
      heard.resolve(text(socket));
    });
    const stream = pair.connect(server.port);
    assert.equal(await text(stream), 'welcome and goodbye');
    stream.end('after your end');
    assert.equal(await heard.promise, 'after your end');
    await noStreams(pair);
  });

  void test(`${way}: a local connection is refused, by its errno, within a second`, async () => {
    await using pair = await open();
    const free = await listen(() => {});
    await free[Symbol.asyncDispose]();
    const before = performance.now();
    const stream = pair.connect(free.port);
    stream.write('said before the answer');
    await assert.rejects(stream.established, { name: 'DialError', errno: 'ECONNREFUSED', tunnelEnded: false });
    assert.ok(performance.now() - before < 1_000);
    assert.ok(stream.destroyed);
    assert.equal((stream.errored as DialError).code, 'ECONNREFUSED');
    await noStreams(pair);
  });

  void test(`${way}: a refusal is never an end, however its frames arrive`, async () => {
    await using pair = await open();
    const refused = async (): Promise<void> => {
      const stream = pair.connect(1);
      let ended = false;
      stream.on('data', () => {}).on('end', () => (ended = true));
      stream.end('x');
      await new Promise((resolve) => stream.once('close', resolve));
      assert.equal(ended, false);
      assert.equal((stream.errored as DialError | null)?.errno, 'ECONNREFUSED');
    };
    for (let round = 0; round < 20; round += 1) await Promise.all(Array.from({ length: 20 }, refused));
  });

  void test(`${way}: a reset by the server is a reset for the caller`, async () => {
    await using pair = await open();
    await using server = await listen((socket) => socket.once('data', () => socket.resetAndDestroy()));
    const stream = pair.connect(server.port);
    stream.resume().end('x');
    const [error] = (await once(stream, 'error')) as [DialError];
    assert.deepEqual([error.name, error.errno, error.tunnelEnded], ['DialError', 'ECONNRESET', false]);
    assert.equal(stream.readableEnded, false, 'a cut must not look like an end');
    await noStreams(pair);
  });

  void test(`${way}: a reset by the caller is a reset for the server`, async () => {
    await using pair = await open();
    const reset = Promise.withResolvers<Error>();
    await using server = await listen((socket) => {
      socket.once('error', reset.resolve);
      socket.write('x');
    });
    const stream = pair.connect(server.port);
    await once(stream, 'data');
    stream.destroy();
    assert.equal(((await reset.promise) as NodeJS.ErrnoException).code, 'ECONNRESET');
    await noStreams(pair);
  });

  void test(`${way}: IPv6 loopback`, async () => {
    await using pair = await open();
    await using server = await listen((socket) => socket.end('six'), '::1');
    const stream = pair.connect(server.port, '::1');
    stream.end();
    assert.equal(await text(stream), 'six');
  });

  void test(`${way}: a program that joins through a local listener sees ends and resets as they are`, async () => {
    await using pair = await open();
    await using server = await listen((socket) => {
      socket.once('data', (data) => {
        if (String(data) === 'reset') socket.resetAndDestroy();
        else socket.end('done');
      });
    });
    const joined: Promise<void>[] = [];
    await using local = await listen((socket) => joined.push(splice(socket, pair.connect(server.port))));
    const polite = await dialTcp({ host: '127.0.0.1', port: local.port });
    polite.end('hello');
    assert.equal(await text(polite), 'done');
    const rude = await dialTcp({ host: '127.0.0.1', port: local.port });
    rude.write('reset');
    await assert.rejects(once(rude, 'data'), { code: 'ECONNRESET' });
    const refused = await listen((socket) => joined.push(splice(socket, pair.connect(1))));
    const caller = await dialTcp({ host: '127.0.0.1', port: refused.port });
    await assert.rejects(once(caller, 'data'), { code: 'ECONNRESET' });
    await refused[Symbol.asyncDispose]();
    await Promise.all(joined);
    await noStreams(pair);
  });

  void test(`${way}: 2,000 connections, 100 at a time, ended and reset, on one tunnel`, async () => {
    await using pair = await open();
    await using server = await listen((socket) => socket.pipe(socket));
    let left = 2_000;
    const caller = async (): Promise<void> => {
      while (left > 0) {
        left -= 1;
        const stream: TunnelStream = pair.connect(server.port);
        const word = `word ${left}`;
        if (left % 2 === 0) {
          stream.end(word);
          assert.equal(await text(stream), word);
        } else {
          stream.write(word);
          assert.equal(String((await once(stream, 'data'))[0]), word);
          stream.destroy();
        }
      }
    };
    await Promise.all(Array.from({ length: 100 }, caller));
    await noStreams(pair);
    const last = pair.connect(server.port);
    last.end('the same tunnel');
    assert.equal(await text(last), 'the same tunnel');
  });

  void test(`${way}: the end of the tunnel resets every stream, and says so`, async () => {
    await using pair = await open();
    const lost: Promise<unknown>[] = [];
    await using server = await listen((socket: Socket) => {
      lost.push(once(socket, 'data').catch((error: unknown) => error));
      socket.write('x');
    });
    const streams = Array.from({ length: 10 }, () => pair.connect(server.port));
    await Promise.all(streams.map((stream) => once(stream, 'data')));
    for (const pipe of pair.pipes) pipe.destroy();
    await Promise.all([pair.daemon.closed, pair.agent.closed]);
    for (const stream of streams) {
      assert.ok(stream.destroyed);
      assert.equal((stream.errored as DialError).tunnelEnded, true);
    }
    for (const error of await Promise.all(lost)) assert.equal((error as NodeJS.ErrnoException).code, 'ECONNRESET');
    assert.throws(() => pair.connect(server.port), { name: 'DialError', errno: 'EHOSTUNREACH', tunnelEnded: true });
    await noStreams(pair);
  });
}

void test('outbound: an unknown name, an unreachable network and a silent host each give their errno', async () => {
  await using pair = await outboundPair({ dial: (target, signal) => dialTcp(target, { signal, timeout: 300 }) });
  const before = performance.now();
  await assert.rejects(pair.daemon.connect({ host: 'no-such-name.invalid', port: 80 }).established, {
    errno: 'ENOTFOUND',
  });
  assert.ok(performance.now() - before < 1_000);
  await using full = await fullListener();
  await assert.rejects(pair.daemon.connect({ host: '127.0.0.1', port: full.port }).established, { errno: 'ETIMEDOUT' });
});

void test('outbound: the dial is given up when the caller goes', async () => {
  const aborted = Promise.withResolvers<void>();
  await using pair = await outboundPair({
    dial: (_target, signal) => {
      signal.addEventListener('abort', () => aborted.resolve());
      return new Promise(() => {});
    },
  });
  const stream = pair.daemon.connect({ host: 'anywhere', port: 1 });
  while (pair.agent.streams === 0)
    await once(pair.pipes[1], 'data', { signal: AbortSignal.timeout(20) }).catch(() => {});
  stream.destroy();
  await aborted.promise;
  await assert.rejects(stream.established, DialError);
});

void test('outbound: control calls carry JSON, failures their message, and can be cancelled', async () => {
  const called: unknown[] = [];
  await using pair = await outboundPair({
    call: async (name, body) => {
      called.push(name);
      if (name === 'fail') throw new Error('it was not to be');
      if (name === 'wait') await new Promise(() => {});
      return { name, body };
    },
  });
  assert.deepEqual(await pair.daemon.call('echo', { a: ['ä', 1] }), { name: 'echo', body: { a: ['ä', 1] } });
  await assert.rejects(pair.daemon.call('fail', {}), { message: 'it was not to be' });
  const cancel = new AbortController();
  const waiting = pair.daemon.call('wait', {}, cancel.signal);
  cancel.abort(new Error('enough'));
  await assert.rejects(waiting, { message: 'enough' });
  const lost = pair.daemon.call('wait', {});
  pair.pipes[1].destroy();
  await assert.rejects(lost, { name: 'DialError', tunnelEnded: true });
});

void test('outbound: an opened stream is accepted by its first read or write, refused with a message, and carries bytes', async () => {
  await using pair = await outboundPair({
    open: async (name, body, stream) => {
      if (name === 'refuse') throw new Error(`it was not to be: ${JSON.stringify(body)}`);
      if (name === 'speak') stream.end('at once');
      else stream.end(`heard ${await text(stream)}`);
    },
  });
  await assert.rejects(pair.daemon.open('refuse', { a: 'ä' }), { message: 'it was not to be: {"a":"ä"}' });
  const speaks = await pair.daemon.open('speak', {});
  speaks.end();
  assert.equal(await text(speaks), 'at once');
  const listens = await pair.daemon.open('listen', {});
  listens.end('everything');
  assert.equal(await text(listens), 'heard everything');
  await noStreams(pair);
});

void test('outbound: an opened stream is reset by the one and by the other', async () => {
  const gone = Promise.withResolvers<void>();
  await using pair = await outboundPair({
    open: async (name, _body, stream, signal) => {
      signal.addEventListener('abort', () => gone.resolve());
      stream.write('x');
      if (name === 'fail') {
        await once(stream, 'data');
        throw new Error('too late for a message');
      }
      await gone.promise;
    },
  });
  const failed = await pair.daemon.open('fail', {});
  failed.resume().write('now');
  await assert.rejects(once(failed, 'end'), { name: 'DialError', errno: 'ECONNRESET' });
  const cancel = new AbortController();
  const cancelled = await pair.daemon.open('wait', {}, cancel.signal);
  cancel.abort(new Error('enough'));
  assert.equal(cancelled.errored?.message, 'enough');
  await gone.promise;
  await assert.rejects(pair.daemon.open('wait', {}, cancel.signal), { message: 'enough' });
  await noStreams(pair);
});

void test('inbound: a proof is answered by the tunnel itself, nothing is dialled', async () => {
  await using pair = await inboundPair(() => assert.fail('dialled'));
  const stream = pair.agent.connect({ port: 80, peer: 'x', probe: 'token' });
  stream.end();
  assert.equal(await text(stream), 'token');
});

/** A listener whose queue is full: its host is there, and does not answer. */
async function fullListener(): Promise<{ port: number } & AsyncDisposable> {
  const { spawn } = await import('node:child_process');
  const { createInterface } = await import('node:readline');
  const program = `
    const s = require('net').createServer();
    s.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => process.stdout.write(s.address().port + '\\n'));`;
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const port = Number((await once(createInterface(child.stdout), 'line'))[0]);
  child.kill('SIGSTOP');
  // While it runs it would take connections from its queue.
  while (!/\) T /.test(await readFile(`/proc/${child.pid}/stat`, 'utf8'))) await new Promise(setImmediate);
  const fillers = Array.from({ length: 8 }, () => net.connect(port, '127.0.0.1').on('error', () => {}));
  await Promise.all(fillers.slice(0, 2).map((filler) => once(filler, 'connect')));
  return {
    port,
    async [Symbol.asyncDispose]() {
      for (const filler of fillers) filler.destroy();
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

/** No stream is left on either end. */
async function noStreams(pair: { daemon: { streams: number }; agent: { streams: number } }): Promise<void> {
  const until = performance.now() + 5_000;
  while (pair.daemon.streams + pair.agent.streams > 0) {
    assert.ok(performance.now() < until, `${pair.daemon.streams} and ${pair.agent.streams} streams are left`);
    await new Promise(setImmediate);
  }
}
