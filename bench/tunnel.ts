/**
 * The tunnel alone, without a cluster: program -> local listener and daemon's end -> agent's end -> server, four processes
 * on loopback as users have them. Says MB/s, echo latency, connections a second, and CPU seconds per GB of both ends.
 * A relay without tunnel (`bare`) in the same place is the yardstick.
 */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { dialTcp, socketOptions } from '../tunnel/dial.ts';
import { collectBuffersEarly } from '../tunnel/memory.ts';
import { openOutbound, serveOutbound } from '../tunnel/outbound.ts';
import { splice } from '../tunnel/splice.ts';
import { listen, makeIdentities } from '../tunnel/testbed.ts';
import type { Identities } from '../tunnel/testbed.ts';

const megabytes = Number(process.env['MB'] ?? 1_024);
const seconds = 3;
const role = process.argv[2];
if (role === undefined) await main();
else await play(role);

/** One process: `server`, `agent`, `daemon` or `bare`; says its port, and its CPU time whenever asked. */
async function play(role: string): Promise<void> {
  collectBuffersEarly();
  let base = process.cpuUsage();
  process.on('message', (message) => {
    if (typeof message !== 'string') return;
    if (message === 'reset') base = process.cpuUsage();
    const used = process.cpuUsage(base);
    process.send?.({ cpu: (used.user + used.system) / 1e6, memory: process.memoryUsage.rss() / 1e6 });
  });
  const [setup] = (await once(process, 'message')) as [{ identities: Identities; target: number }];
  const target = { host: '127.0.0.1', port: setup.target };
  if (role === 'server') {
    // The first byte says what for: d(own), u(p), e(cho).
    const { port } = await listen((socket) => {
      socket.once('data', (first) => serve(socket, String.fromCharCode(first[0] ?? 0), first.subarray(1)));
    });
    process.send?.({ port });
  } else if (role === 'agent') {
    const { port } = await listen((pipe) => {
      void serveOutbound(pipe, setup.identities.agent, { call: () => Promise.resolve() });
    });
    process.send?.({ port });
  } else {
    const tunnel = role === 'daemon' ? await openOutbound(await dialTcp(target), setup.identities.daemon) : undefined;
    const { port } = await listen((socket) => {
      if (tunnel !== undefined) {
        void splice(socket, tunnel.connect({ host: '127.0.0.1', port: Number(process.env['SERVER']) }));
        return;
      }
      const far = net.connect({ ...target, ...socketOptions });
      void splice(socket, far);
    });
    process.send?.({ port });
  }
}

function serve(socket: net.Socket, what: string, rest: Buffer): void {
  if (what === 'e') {
    socket.write(rest);
    socket.pipe(socket);
  } else if (what === 'u') {
    socket.on('data', () => {});
    socket.on('end', () => socket.end('.'));
  } else {
    const chunk = Buffer.alloc(256 * 1024, 1);
    let left = megabytes * 4;
    const write = (): void => {
      while (left > 0) {
        left -= 1;
        if (!socket.write(chunk)) break;
      }
      if (left === 0) socket.end();
    };
    socket.on('drain', write);
    write();
  }
}

async function start(
  role: string,
  setup: object,
  env: Record<string, string> = {},
): Promise<{ port: number; child: ChildProcess }> {
  const child = fork(import.meta.filename, [role], { env: { ...process.env, ...env } });
  child.send(setup);
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  return { port, child };
}

async function cpu(child: ChildProcess, reset = false): Promise<{ cpu: number; memory: number }> {
  const answer = once(child, 'message');
  child.send(reset ? 'reset' : 'read');
  return (await answer)[0] as { cpu: number; memory: number };
}

async function main(): Promise<void> {
  const identities = await makeIdentities();
  const server = await start('server', { identities, target: 0 });
  const agent = await start('agent', { identities, target: 0 });
  const daemon = await start('daemon', { identities, target: agent.port }, { SERVER: String(server.port) });
  const bare = await start('bare', { identities, target: server.port });
  for (const [name, path] of [
    ['bare', bare],
    ['tunnel', daemon],
    ['tunnel', daemon],
    ['bare', bare],
    ['tunnel', daemon],
  ] as const) {
    const ends = name === 'bare' ? [bare.child] : [daemon.child, agent.child];
    for (const direction of ['down', 'up'] as const) {
      for (const end of ends) await cpu(end, true);
      const rate = await transfer(path.port, direction);
      const used = await Promise.all(ends.map((end) => cpu(end)));
      say(
        name,
        direction,
        `${rate.toFixed(0)} MB/s`,
        ...used.map((end) => `${((end.cpu * 1024) / megabytes).toFixed(2)} s/GB ${end.memory.toFixed(0)} MB`),
      );
    }
    const times = await echo(path.port);
    say(name, 'echo', `p50 ${times.p50.toFixed(0)} us`, `p99 ${times.p99.toFixed(0)} us`);
    for (const parallel of [1, 50]) {
      for (const end of ends) await cpu(end, true);
      const rate = await connections(path.port, parallel);
      const used = await Promise.all(ends.map((end) => cpu(end)));
      say(
        name,
        `conn x${parallel}`,
        `${rate.toFixed(0)}/s`,
        ...used.map((end) => `${((end.cpu * 1e6) / (rate * seconds)).toFixed(0)} us each`),
      );
    }
  }
  for (const { child } of [server, agent, daemon, bare]) child.kill();
}

function say(...parts: string[]): void {
  process.stdout.write(`${parts.map((part) => part.padEnd(14)).join(' ')}\n`);
}

async function transfer(port: number, direction: 'down' | 'up'): Promise<number> {
  const socket = await dialTcp({ host: '127.0.0.1', port });
  const before = performance.now();
  if (direction === 'down') {
    socket.end('d');
    socket.on('data', () => {});
  } else {
    socket.on('data', () => {});
    const chunk = Buffer.alloc(256 * 1024, 1);
    socket.write('u');
    for (let left = megabytes * 4; left > 0; left -= 1) if (!socket.write(chunk)) await once(socket, 'drain');
    socket.end();
  }
  await once(socket, 'end');
  return megabytes / ((performance.now() - before) / 1_000);
}

async function echo(port: number): Promise<{ p50: number; p99: number }> {
  const socket = await dialTcp({ host: '127.0.0.1', port });
  socket.write('e');
  const times: number[] = [];
  for (let count = 0; count < 3_000; count += 1) {
    const before = performance.now();
    socket.write('x');
    await once(socket, 'data');
    times.push((performance.now() - before) * 1_000);
  }
  socket.destroy();
  times.sort((a, b) => a - b);
  return { p50: times[1_500] ?? 0, p99: times[2_970] ?? 0 };
}

async function connections(port: number, parallel: number): Promise<number> {
  const until = performance.now() + seconds * 1_000;
  let count = 0;
  const worker = async (): Promise<void> => {
    while (performance.now() < until) {
      const socket = await dialTcp({ host: '127.0.0.1', port });
      socket.end('ex');
      socket.on('data', () => {});
      await once(socket, 'end');
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  return count / seconds;
}
