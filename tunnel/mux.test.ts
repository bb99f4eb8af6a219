/** One end of a tunnel opposite a peer that is written by hand: what it says, in which order, and what it does not put up with. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { mock, test } from 'node:test';
import type { Channel, ChannelHandler } from './channel.ts';
import { frame, FrameReader, headerLength, writeHeader } from './frames.ts';
import type { FrameType } from './frames.ts';
import { join } from './join.ts';
import { Mux, retireAfter } from './mux.ts';
import type { MuxOptions } from './mux.ts';
import { leastUnderWay } from './pace.ts';
import { tcpPair } from './testbed.ts';
import { DialError } from './tunnel.ts';
import { firstWindow } from './window.ts';

interface Said {
  type: FrameType;
  channel: number;
  bytes: Buffer;
}

/** The peer: frames by hand, and all frames that the mux has said. */
async function start(options: Partial<MuxOptions> = {}) {
  const [near, far] = await tcpPair();
  const failed = Promise.withResolvers<string>();
  const mux = new Mux(near, { onHeard: () => {}, onFailure: failed.resolve, ...options });
  const frames: Said[] = [];
  const reader = new FrameReader({
    onData: (channel, bytes) => void frames.push({ type: frame.data, channel, bytes: Buffer.from(bytes) }),
    onFrame: (type, channel, payload) => void frames.push({ type, channel, bytes: Buffer.from(payload) }),
  });
  /** Reads until the mux has said what is looked for. */
  const hear = async (found: (said: Said) => boolean): Promise<Said[]> => {
    while (!frames.some(found)) {
      const chunk = far.read() as Buffer | null;
      if (chunk !== null) reader.push(chunk);
      else await once(far, 'readable');
    }
    return frames;
  };
  return {
    mux,
    near,
    far,
    hear,
    failed: failed.promise,
    async [Symbol.asyncDispose]() {
      near.destroy();
      far.destroy();
    },
  };
}

function say(far: Duplex, type: FrameType, channel: number, payload: Buffer | object = Buffer.alloc(0)): void {
  const bytes = payload instanceof Buffer ? payload : Buffer.from(JSON.stringify(payload));
  const header = Buffer.alloc(headerLength);
  writeHeader(header, 0, type, channel, bytes.length);
  far.write(Buffer.concat([header, bytes]));
}

/** Reads nothing of what comes. */
const deaf: ChannelHandler = { onAccept() {}, onData() {}, onEnd() {}, onDrain() {}, onClose() {} };

type Peer = Awaited<ReturnType<typeof start>>;
const violations: Record<string, { answers?: boolean; reason: RegExp; act: (peer: Peer) => void }> = {
  'more bytes than there was credit for': {
    answers: true,
    reason: /more bytes than there was credit for/,
    act({ far }) {
      say(far, frame.open, 1, {});
      for (let sent = 0; sent <= firstWindow; sent += 64 * 1024) say(far, frame.data, 1, Buffer.alloc(64 * 1024));
    },
  },
  'bytes for a channel that was never opened': {
    answers: true,
    reason: /channel 7 was never opened/,
    act: ({ far }) => say(far, frame.data, 7, Buffer.from('x')),
  },
  'a channel opened twice': {
    answers: true,
    reason: /channel 1 was opened before/,
    act({ far }) {
      say(far, frame.open, 1, {});
      say(far, frame.open, 1, {});
    },
  },
  'a request that is no JSON': {
    answers: true,
    reason: /no JSON/,
    act: ({ far }) => say(far, frame.open, 1, Buffer.from('{{')),
  },
  'bytes after the end': {
    answers: true,
    reason: /bytes after the end/,
    act({ far }) {
      say(far, frame.open, 1, {});
      say(far, frame.end, 1);
      say(far, frame.data, 1, Buffer.from('x'));
    },
  },
  'a second end': {
    answers: true,
    reason: /a second end/,
    act({ far }) {
      say(far, frame.open, 1, {});
      say(far, frame.end, 1);
      say(far, frame.end, 1);
    },
  },
  'an answer from the end that asks': {
    answers: true,
    reason: /an answer to nothing/,
    act({ far }) {
      say(far, frame.open, 1, {});
      say(far, frame.accept, 1);
    },
  },
  'a request to the end that asks': {
    reason: /this end does not answer/,
    act: ({ far }) => say(far, frame.open, 1, {}),
  },
  'bytes before the answer': {
    reason: /bytes before the answer/,
    act({ far, mux }) {
      mux.open({}).attach(deaf);
      say(far, frame.data, 1, Buffer.from('x'));
    },
  },
  'a refusal after the answer': {
    reason: /an answer to nothing/,
    act({ far, mux }) {
      mux.open({}).attach(deaf);
      say(far, frame.accept, 1);
      say(far, frame.refuse, 1, {});
    },
  },
  'a pong that no ping asked for': {
    reason: /a pong that no ping asked for/,
    act: ({ far }) => say(far, frame.pong, 0),
  },
  'no frames at all': {
    reason: /no frame of type/,
    act: ({ far }) => far.write('HTTP/1.1 200 OK\r\n\r\n'),
  },
};

for (const [what, { answers = false, reason, act }] of Object.entries(violations))
  void test(`ends the tunnel, with a reason: ${what}`, async () => {
    await using peer = await start(answers ? { onOpen: (channel) => channel.attach(deaf) } : {});
    act(peer);
    assert.match(await peer.failed, reason);
    peer.mux.stop(new DialError('ECONNRESET', 'over', { tunnelEnded: true }));
    assert.equal(peer.mux.channels, 0);
  });

void test('what was under way to a channel that is closed is ignored', async () => {
  let opened: Channel | undefined;
  await using peer = await start({ onOpen: (channel) => (opened = channel) });
  const { mux, far, hear } = peer;
  say(far, frame.open, 1, {});
  say(far, frame.ping, 0);
  await hear(({ type }) => type === frame.pong);
  opened?.reset();
  assert.equal(mux.channels, 0);
  for (const type of [frame.end, frame.reset]) say(far, type, 1);
  say(far, frame.data, 1, Buffer.alloc(firstWindow / 4));
  say(far, frame.credit, 1, Buffer.alloc(4));
  say(far, frame.open, 2, {});
  say(far, frame.ping, 0);
  const said = await hear(({ type, channel }) => type === frame.reset && channel === 1);
  assert.equal(said.filter(({ type }) => type === frame.data).length, 0);
  await hear(() => said.filter(({ type }) => type === frame.pong).length === 2);
  assert.equal(mux.channels, 1);
});

void test('without credit nothing is sent, and the writer is told to wait', async () => {
  await using peer = await start();
  const { mux, far, hear } = peer;
  const channel = mux.open({});
  const drained = Promise.withResolvers<void>();
  channel.attach({ ...deaf, onDrain: drained.resolve });
  assert.equal(channel.write(Buffer.alloc(firstWindow + 1_000)), false);
  say(far, frame.ping, 0);
  const said = await hear(({ type }) => type === frame.pong);
  await hear(() => sizeOf(said, 1) === firstWindow);
  say(far, frame.ping, 0);
  await hear(() => said.filter(({ type }) => type === frame.pong).length === 2);
  assert.equal(sizeOf(said, 1), firstWindow);
  say(far, frame.credit, 1, Buffer.from([0, 0, 4, 0]));
  await hear(() => sizeOf(said, 1) === firstWindow + 1_000);
  await drained.promise;
});

/** Bytes of a channel. */
function sizeOf(said: Said[], id: number): number {
  return said
    .filter(({ type, channel }) => type === frame.data && channel === id)
    .reduce((all, { bytes }) => all + bytes.length, 0);
}

void test('a reader that stalls is granted nothing, one that keeps up more and more', async () => {
  const opened: Channel[] = [];
  await using peer = await start({
    onOpen(channel) {
      opened.push(channel);
      const keepsUp = channel.id === 2;
      channel.attach({ ...deaf, onData: (bytes) => keepsUp && channel.consumed(bytes.length) });
    },
  });
  const { far, hear } = peer;
  for (const id of [1, 2]) {
    say(far, frame.open, id, {});
    for (let sent = 0; sent < firstWindow; sent += 64 * 1024) say(far, frame.data, id, Buffer.alloc(64 * 1024));
  }
  say(far, frame.ping, 0);
  const said = await hear(({ type }) => type === frame.pong);
  const credits = said.filter(({ type }) => type === frame.credit);
  assert.deepEqual([...new Set(credits.map(({ channel }) => channel))], [2]);
  const granted = credits.reduce((all, { bytes }) => all + bytes.readUInt32BE(0), 0);
  assert.ok(granted > 2 * firstWindow, `${granted} bytes`);
});

void test('what the tunnel itself says overtakes bytes that wait, and channels take turns', async () => {
  await using peer = await start();
  const { mux, near, hear } = peer;
  const [large, small] = [mux.open({}), mux.open({})];
  for (const channel of [large, small]) channel.attach(deaf);
  large.write(Buffer.alloc(firstWindow));
  small.write(Buffer.from('short'));
  near.cork(); // the link takes a first write, and is busy with it
  await new Promise(setImmediate);
  mux.outbox.ping();
  small.reset();
  near.uncork();
  const said = await hear(({ type }) => type === frame.reset);
  assert.equal(sizeOf(said, small.id), 'short'.length, 'the short one waited for the large one');
  assert.ok(sizeOf(said, large.id) < firstWindow, 'the reset waited for the large one');
  assert.ok(said.some(({ type }) => type === frame.ping));
  await hear(() => sizeOf(said, large.id) === firstWindow);
});

void test('no more is under way than the other end is known to take, whatever the credit', async () => {
  await using peer = await start();
  const { mux, far, hear } = peer;
  const channel = mux.open({});
  channel.attach(deaf);
  const size = 4 * leastUnderWay;
  say(far, frame.credit, 1, Buffer.from([0x7f, 0, 0, 0]));
  channel.write(Buffer.alloc(size));
  const said = await hear(({ type }) => type === frame.data);
  await hear(() => sizeOf(said, 1) >= leastUnderWay);
  say(far, frame.ping, 0);
  await hear(({ type }) => type === frame.pong);
  assert.equal(sizeOf(said, 1), leastUnderWay);
  let answered = 0;
  while (sizeOf(said, 1) < size) {
    const pings = said.filter(({ type }) => type === frame.ping).length;
    for (; answered < pings; answered += 1) say(far, frame.pong, 0);
    const before = said.length;
    await hear(() => said.length > before);
  }
});

void test('an end follows the last byte, and a reset drops what waits', async () => {
  await using peer = await start();
  const { mux, hear } = peer;
  const [polite, rude] = [mux.open({}), mux.open({})];
  for (const channel of [polite, rude]) channel.attach(deaf);
  polite.write(Buffer.from('last'));
  polite.end();
  rude.write(Buffer.from('never sent'));
  rude.reset();
  const said = await hear(({ type }) => type === frame.end);
  assert.deepEqual(
    said.map(({ type, channel }) => [type, channel]),
    [
      [frame.open, 1],
      [frame.open, 2],
      [frame.reset, 2],
      [frame.data, 1],
      [frame.end, 1],
    ],
  );
});

void test('a program that has ended and heard the end is let go, and what it said last still arrives', async () => {
  await using peer = await start();
  const { mux, far, hear } = peer;
  const [program, socket] = await tcpPair();
  socket.allowHalfOpen = true;
  const joined = join(socket, mux.open({}));
  const ended = once(socket, 'end');
  program.resume().write(Buffer.alloc(firstWindow));
  const heard = (all: Said[]): number =>
    all.reduce((sum, { type, bytes }) => sum + (type === frame.data ? bytes.length : 0), 0);
  const frames = await hear(() => true);
  await hear(() => heard(frames) === firstWindow);
  program.end('last'); // there is no credit for it
  await ended;
  const closed = once(program, 'end');
  say(far, frame.accept, 1);
  say(far, frame.end, 1);
  await closed;
  const credit = Buffer.alloc(4);
  credit.writeUInt32BE(4);
  say(far, frame.credit, 1, credit);
  await hear(({ type }) => type === frame.end || type === frame.reset);
  assert.equal(heard(frames), firstWindow + 4);
  assert.equal(frames.at(-1)?.type, frame.end);
  await joined;
});

void test('an answer that nobody waits for costs no write, and comes before the first byte', async () => {
  const opened = Promise.withResolvers<Channel>();
  await using peer = await start({ onOpen: opened.resolve });
  const { near, far, hear } = peer;
  say(far, frame.open, 1, {});
  const channel = await opened.promise;
  channel.accept(true);
  await new Promise(setImmediate);
  assert.equal(near.bytesWritten, 0);
  channel.write(Buffer.from('x'));
  const said = await hear(({ type }) => type === frame.data);
  assert.deepEqual(
    said.map(({ type }) => type),
    [frame.accept, frame.data],
  );
});

void test('the first bytes of a connection leave with its request, and its end with the next request', async () => {
  await using peer = await start();
  const { mux, near, hear } = peer;
  const write = mock.method(near, 'write');
  const channel = mux.open({});
  channel.attach(deaf);
  setImmediate(() => channel.write(Buffer.from('x'))); // as from a socket, which is read a turn later
  await hear(({ type }) => type === frame.data);
  assert.equal(write.mock.callCount(), 1);
  channel.end();
  setImmediate(() => mux.open({}));
  await hear(({ type, channel: id }) => type === frame.open && id === 2);
  assert.equal(write.mock.callCount(), 2);
});

void test('a tunnel whose numbers run out ends as soon as nothing is open on it', async () => {
  await using peer = await start({ used: retireAfter - 1 });
  const { mux, failed } = peer;
  const [first, second] = [mux.open({}), mux.open({})];
  first.reset();
  assert.equal(mux.channels, 1);
  assert.equal(second.closed, false);
  second.reset();
  assert.match(await failed, /served long enough/);
});
