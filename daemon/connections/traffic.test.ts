/** Connections from the cluster against a program that comes and goes, with real sockets. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { test } from 'node:test';
import type { Tie } from './tie.ts';
import { Traffic } from './traffic.ts';

const gone = new AbortController().signal;

/** A program on a port that stays its own while it does not listen: an open connection keeps it from everybody else. */
async function startProgram(): Promise<AsyncDisposable & { port: number; stop(): void; listen(): Promise<void> }> {
  const servers: Server[] = [];
  let port = 0;
  const listen = async (): Promise<void> => {
    const server = createServer((socket) => socket.on('error', () => undefined));
    servers.push(server);
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  };
  await listen();
  const accepted = once(servers[0]!, 'connection');
  const kept = connect(port, '127.0.0.1');
  const [far] = (await accepted) as [ReturnType<typeof connect>];
  return {
    port,
    listen,
    stop: () => void servers.pop()!.close(),
    async [Symbol.asyncDispose]() {
      for (const server of servers) server.close();
      kept.destroy();
      far.destroy();
    },
  };
}

function trafficOf(local: number, request: { ifDown: 'refuse' | 'original' }, stopped = false) {
  const events: string[] = [];
  const tie = {
    name: 'shop/api',
    state: 'connected',
    log: { info: () => undefined },
    session: { ports: [{ local, remote: 80, services: [] }], request, originals: { replicas: 1, stopped } },
    changed: (event: string) => events.push(event),
  };
  const traffic = new Traffic(tie as unknown as Tie);
  const ask = async (): Promise<string> => {
    try {
      (await traffic.accept({ port: 80, peer: '10.0.0.1:1' }, gone)).destroy();
      return 'answered';
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? String(error);
    }
  };
  const callers = (): string[] | undefined => traffic.down?.map((port) => port.callers);
  const ended = (): boolean[] | undefined => traffic.down?.map((port) => port.stopped);
  return { traffic, ask, events, callers, ended };
}

void test('a port that refused is down until it answers; before the first answer the originals have its callers', async () => {
  await using program = await startProgram();
  const { traffic, ask, events, callers, ended } = trafficOf(program.port, { ifDown: 'refuse' });
  program.stop();
  assert.equal(traffic.down, undefined, 'nobody has looked');
  assert.equal(await ask(), 'EHOSTUNREACH');
  assert.deepEqual(callers(), ['originals']);
  const first = traffic.down;
  assert.deepEqual(ended(), [false], 'it has not come up yet');
  await ask();
  assert.deepEqual(traffic.down, first, 'since the first refusal');
  assert.equal(events.length, 1, 'said once');
  await program.listen();
  assert.equal(await ask(), 'answered');
  assert.equal(traffic.down, undefined);
  program.stop();
  assert.equal(await ask(), 'ECONNREFUSED');
  assert.deepEqual(callers(), ['reset']);
  assert.deepEqual(ended(), [true]);
  assert.equal(events.length, 3);
  assert.deepEqual(traffic.counts, { inbound: 1, outbound: 0, toOriginals: 2 });
});

void test('a look finds out without a request', async () => {
  await using program = await startProgram();
  const { traffic, events, callers } = trafficOf(program.port, { ifDown: 'refuse' });
  await traffic.look();
  assert.equal(traffic.down, undefined);
  assert.deepEqual(events, []);
  program.stop();
  // Where the system does not say who listens, only a refusal is known.
  if (process.platform !== 'linux') await traffic.accept({ port: 80, peer: '10.0.0.1:1' }, gone).catch(() => undefined);
  await traffic.look();
  assert.deepEqual(callers(), ['originals']);
  await program.listen();
  await traffic.look();
  assert.equal(traffic.down, undefined);
  assert.equal(events.length, 2);
});

void test('what callers get: the originals with --if-down original, nobody when they are stopped', async () => {
  await using program = await startProgram();
  const original = trafficOf(program.port, { ifDown: 'original' });
  const stopped = trafficOf(program.port, { ifDown: 'original' }, true);
  for (const { ask } of [original, stopped]) assert.equal(await ask(), 'answered');
  program.stop();
  for (const { ask } of [original, stopped]) assert.equal(await ask(), 'ECONNREFUSED');
  assert.deepEqual([original.callers(), stopped.callers()], [['originals'], ['reset']]);
  assert.deepEqual([original.traffic.counts.toOriginals, stopped.traffic.counts.toOriginals], [1, 0]);
});
