/**
 * The near end of every measurement: `node client.ts TASK HOST PORT AMOUNT`, a program of its own as users have it. Prints
 * one line of JSON. It is measured from its first request to its last answer; how long Node takes to start is not in it.
 */
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { down, echo, request, up } from './wire.ts';

/** What a task prints: MB/s, microseconds, or new connections a second. */
export type Measured = Record<string, number>;

const [task = '', name = '', port = '', amount = ''] = process.argv.slice(2);
/** Looked up once: to ask for a name costs the same on every path, and not every path has one. */
const { address: host } = await lookup(name);
const tasks: Record<string, (amount: number) => Promise<Measured>> = {
  down: receive,
  up: send,
  latency,
  serial: (count) => newConnections(count, 1),
  parallel50: (count) => newConnections(count, 50),
};

async function open(): Promise<Socket> {
  const socket = connect({ host, port: Number(port), noDelay: true });
  await once(socket, 'connect');
  socket.on('error', (error) => {
    throw error;
  });
  return socket;
}

async function receive(bytes: number): Promise<Measured> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let left = bytes;
  // Into one buffer, as programs do that move much: what is measured is the path and not the client's garbage.
  const onread = {
    buffer: Buffer.alloc(256 * 1024),
    callback(size: number) {
      left -= size;
      if (left <= 0) resolve();
      return true;
    },
  };
  const socket = connect({ host, port: Number(port), noDelay: true, onread });
  socket.on('error', reject);
  socket.on('close', () => reject(new Error(`closed with ${left} bytes to come`)));
  await once(socket, 'connect');
  const began = performance.now();
  socket.write(request(down, bytes));
  await promise;
  const rate = megabytesPerSecond(bytes, began);
  socket.end();
  return { rate };
}

async function send(bytes: number): Promise<Measured> {
  const block = Buffer.alloc(256 * 1024, 'x');
  const socket = await open();
  const answered = once(socket, 'data');
  const began = performance.now();
  socket.write(request(up, bytes));
  for (let left = bytes; left > 0; left -= block.length) {
    if (!socket.write(left < block.length ? block.subarray(0, left) : block)) await once(socket, 'drain');
  }
  await answered;
  const rate = megabytesPerSecond(bytes, began);
  socket.end();
  return { rate };
}

function megabytesPerSecond(bytes: number, began: number): number {
  return bytes / 1e6 / ((performance.now() - began) / 1000);
}

async function latency(count: number): Promise<Measured> {
  const socket = await open();
  socket.write(request(echo));
  const warmUp = Math.ceil(count / 10);
  const times: number[] = [];
  for (let n = 0; n < warmUp + count; n += 1) {
    const began = performance.now();
    socket.write('x');
    await once(socket, 'data');
    if (n >= warmUp) times.push((performance.now() - began) * 1000);
  }
  socket.end();
  times.sort((a, b) => a - b);
  const at = (part: number): number => times[Math.min(times.length - 1, Math.floor(times.length * part))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

/** Each one is connected, answered one byte and closed; some first ones that do not count warm all processes up. */
async function newConnections(count: number, atOnce: number): Promise<Measured> {
  await many(Math.max(atOnce, Math.ceil(count / 10)), atOnce);
  const began = performance.now();
  await many(count, atOnce);
  return { rate: count / ((performance.now() - began) / 1000) };
}

async function many(count: number, atOnce: number): Promise<void> {
  let left = count;
  const one = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const socket = await open();
      socket.write(request(echo) + 'x');
      await once(socket, 'data');
      socket.end();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}

const run = tasks[task];
if (run === undefined) throw new Error(`no task ${task}: ${Object.keys(tasks).join(', ')}`);
process.stdout.write(`${JSON.stringify(await run(Number(amount)))}\n`);
