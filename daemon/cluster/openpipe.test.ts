/** The choice of the way, with a server that refuses what a test wants refused. The ways themselves are tested on a real cluster. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { WebSocketServer } from 'ws';
import { BowlineError } from '../../api/errors.ts';
import { silentLog } from '../log.ts';
import { createPipeMemory, createPipeOpener } from './openpipe.ts';
import { portForward } from './portforward.ts';
import { startTestServer, transportTo } from './testing/apiserver.ts';
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { PipeMemory, PipeOpener } from './openpipe.ts';
import type { TestServer } from './testing/apiserver.ts';

const pod = { namespace: 'shop', name: 'agent', port: 47101 };

interface Gateway {
  /** Status with which `pods/proxy` is refused for an upgrade name; undefined lets it through. */
  proxy?: (upgrade: string) => [number, string] | undefined;
  /** What happens to a port-forward. */
  forward?: (ws: WebSocket) => void;
  asked: string[];
}

async function startGateway(gateway: Gateway): Promise<TestServer> {
  const server = await startTestServer((_request, response) => response.writeHead(404).end());
  const sockets = new WebSocketServer({ noServer: true });
  server.server.on('upgrade', (request, socket: Socket, head: Buffer) => {
    socket.on('error', () => {});
    if (request.url?.includes('/portforward?')) {
      gateway.asked.push('port-forward');
      // The first messages come with the 101, in one piece.
      socket.cork();
      sockets.handleUpgrade(request, socket, head, (ws) => (gateway.forward ?? answerUpgrade)(ws));
      return socket.uncork();
    }
    const upgrade = request.headers.upgrade ?? '';
    gateway.asked.push(upgrade);
    const refusal = gateway.proxy?.(upgrade);
    if (refusal === undefined)
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: x\r\n\r\nhello');
    else
      socket.end(`HTTP/1.1 ${refusal[0]} No\r\ncontent-length: ${Buffer.byteLength(refusal[1])}\r\n\r\n${refusal[1]}`);
  });
  return server;
}

/** Prefixes of both channels, then the agent's 101, all in one go. */
function answerUpgrade(ws: WebSocket): void {
  ws.send(Buffer.from([0, 0xfd, 0xb7]));
  ws.send(Buffer.from([1, 0xfd, 0xb7]));
  ws.once('message', () =>
    ws.send(
      Buffer.concat([
        Buffer.of(0),
        Buffer.from('HTTP/1.1 101 x\r\nconnection: Upgrade\r\nupgrade: bowline\r\n\r\nhello'),
      ]),
    ),
  );
}

async function startOpener(
  gateway: Gateway,
  memory: PipeMemory = createPipeMemory(),
  now = Date.now,
): Promise<PipeOpener & AsyncDisposable> {
  const server = await startGateway(gateway);
  const transport = await transportTo(server);
  const opener = createPipeOpener({ transport, key: 'test', memory, log: silentLog, now });
  return {
    ...opener,
    async [Symbol.asyncDispose]() {
      transport[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

const forbidden = JSON.stringify({
  kind: 'Status',
  reason: 'Forbidden',
  message: 'User "jane" cannot get resource "pods/proxy"',
});

test('pods/proxy where it works, with nothing else asked', async () => {
  const gateway: Gateway = { asked: [] };
  await using opener = await startOpener(gateway);
  const { kind, stream } = await opener.open(pod, '/outbound');
  assert.equal(kind, 'pods/proxy');
  assert.equal(String((await once(stream, 'data'))[0]), 'hello');
  assert.deepEqual(gateway.asked, ['bowline']);
});

test('a gateway that knows WebSocket only gets that name', async () => {
  const gateway: Gateway = {
    asked: [],
    proxy: (upgrade) => (upgrade === 'websocket' ? undefined : [400, '<html>bad request</html>']),
  };
  await using opener = await startOpener(gateway);
  assert.equal((await opener.open(pod, '/outbound')).kind, 'pods/proxy');
  assert.deepEqual(gateway.asked, ['bowline', 'websocket']);
});

for (const [why, status, body, asked] of [
  ['the right is missing', 403, forbidden, ['bowline', 'port-forward']],
  ['the path is not there', 404, 'not found', ['bowline', 'websocket', 'port-forward']],
  ['the method is not allowed', 405, 'no', ['bowline', 'websocket', 'port-forward']],
  ['the pod is out of reach', 502, 'bad gateway', ['bowline', 'websocket', 'port-forward']],
] as const) {
  test(`port-forward when ${why}; remembered, and the better way tried again later`, async () => {
    const gateway: Gateway = { asked: [], proxy: () => [status, body] };
    const memory = createPipeMemory();
    let now = 0;
    await using opener = await startOpener(gateway, memory, () => now);
    const { kind, stream } = await opener.open(pod, '/outbound');
    assert.equal(kind, 'port-forward');
    assert.equal(String((await once(stream, 'data'))[0]), 'hello', 'the port prefixes are no data');
    assert.deepEqual(gateway.asked, asked);
    assert.equal(memory.get('test'), 'port-forward');

    gateway.asked.splice(0);
    await opener.open(pod, '/outbound');
    assert.deepEqual(gateway.asked, ['port-forward']);

    gateway.asked.splice(0);
    now = 31 * 60_000;
    gateway.proxy = () => undefined;
    assert.equal((await opener.open(pod, '/outbound')).kind, 'pods/proxy');
    assert.equal(memory.get('test'), 'pods/proxy');
  });
}

test('a remembered way that no longer works is left for the other', async () => {
  const gateway: Gateway = { asked: [], forward: (ws) => ws.terminate() };
  const memory = createPipeMemory();
  memory.set('test', 'port-forward');
  await using opener = await startOpener(gateway, memory);
  assert.equal((await opener.open(pod, '/outbound')).kind, 'pods/proxy');
  assert.equal(memory.get('test'), 'pods/proxy');
});

test('nothing is remembered of a pod that does not answer at all', async () => {
  const memory = createPipeMemory();
  const gateway: Gateway = {
    asked: [],
    proxy: () => [503, 'no endpoints'],
    forward: (ws) => ws.send(Buffer.concat([Buffer.from([1, 0xfd, 0xb7]), Buffer.from('connection refused')])),
  };
  await using opener = await startOpener(gateway, memory);
  await assert.rejects(opener.open(pod, '/outbound'), (error) => {
    assert.ok(error instanceof BowlineError);
    assert.equal(error.code, 'PIPE_FAILED');
    assert.match(error.message, /no endpoints.*connection refused/);
    return true;
  });
  assert.equal(memory.get('test'), undefined);
});

test('a way that never answers is left in time, and an abort ends everything', async () => {
  const gateway: Gateway = { asked: [], proxy: () => [503, 'x'], forward: () => {} };
  await using opener = await startOpener(gateway);
  await assert.rejects(opener.open(pod, '/outbound', { timeout: 100 }), { code: 'PIPE_FAILED' });
  const abort = new AbortController();
  const opening = opener.open(pod, '/outbound', { signal: abort.signal });
  abort.abort(new Error('enough'));
  await assert.rejects(opening, /enough/);
});

test('a port-forward holds back: neither side is read faster than the other takes it', async () => {
  const { promise: joined, resolve } = Promise.withResolvers<WebSocket>();
  await using server = await startGateway({
    asked: [],
    forward: (ws) => {
      ws.send(Buffer.from([0, 0xfd, 0xb7]));
      ws.send(Buffer.from([1, 0xfd, 0xb7]));
      resolve(ws);
    },
  });
  using transport = await transportTo(server);
  const stream = await portForward(transport, pod);
  const ws = await joined;

  // Nobody reads here: what the server sends stays with the server.
  const frame = Buffer.alloc(64 * 1024);
  for (let sent = 0; sent < 32 * 1024 * 1024; sent += frame.length) ws.send(frame);
  await until(() => stream.readableLength >= stream.readableHighWaterMark);
  await atRest(() => ws.bufferedAmount);
  assert.ok(ws.bufferedAmount > 0);
  assert.ok(stream.readableLength < 4 * 1024 * 1024, `${stream.readableLength} bytes have piled up`);

  // Nobody reads there: writers here have to wait.
  ws.pause();
  let taken = 0;
  const piece = Buffer.alloc(256 * 1024);
  const write = (): void => void stream.write(piece, () => (taken += piece.length));
  for (let i = 0; i < 128; i++) write();
  await until(() => taken > 0);
  await atRest(() => taken);
  assert.ok(taken < 128 * piece.length, 'the peer reads nothing, and yet everything is gone');

  stream.resume();
  ws.resume();
  await until(() => taken === 128 * piece.length);
  stream.destroy();
});

test('a port-forward that is cut resets its reader; end() closes it', async () => {
  const sockets: WebSocket[] = [];
  await using server = await startGateway({ asked: [], forward: (ws) => void sockets.push(ws) });
  using transport = await transportTo(server);
  const cut = await portForward(transport, pod);
  const failed = once(cut, 'error');
  sockets[0]?.terminate();
  assert.equal(((await failed)[0] as NodeJS.ErrnoException).code, 'ECONNRESET');

  const ended = await portForward(transport, pod);
  const said: Buffer[] = [];
  const ws = sockets[1];
  ws?.on('message', (message: Buffer) => said.push(message));
  const closed = once(ws ?? server.server, 'close');
  ended.end('last words');
  await closed;
  assert.equal(Buffer.concat(said).toString(), '\0last words');
});

/** Waits until a number stays what it is for a while. */
async function atRest(measure: () => number): Promise<void> {
  let last = measure();
  let same = 0;
  await until(() => {
    same = measure() === last ? same + 1 : 0;
    last = measure();
    return same === 20;
  });
}

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 5000;
  while (!condition()) {
    if (Date.now() > end) assert.fail('waited too long');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
