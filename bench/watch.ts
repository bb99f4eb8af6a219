/**
 * Says who answers at a Service, each time that this changes, and ends when it is the one that is waited for:
 * `node watch.ts HOST PORT NAME`. Runs in a pod; a new connection every few milliseconds, one at a time.
 */
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { request, who } from './wire.ts';

const [host = '', port = '', awaited = ''] = process.argv.slice(2);
const patience = 2_000;

function ask(): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect({ host, port: Number(port), noDelay: true });
    socket.setTimeout(patience, () => socket.destroy());
    socket.on('connect', () => socket.write(request(who)));
    socket.on('data', (bytes: Buffer) => (answer += bytes.toString()));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(answer === '' ? 'nobody' : answer));
  });
}

let last = '';
const deadline = performance.now() + 120_000;
while (last !== awaited) {
  const now = await ask();
  if (now !== last) process.stdout.write(`${now}\n`);
  last = now;
  if (performance.now() > deadline) throw new Error(`${awaited} did not answer in time`);
  if (last !== awaited) await delay(5);
}
