/**
 * What a process of ours holds when all that nobody refers to any more is gone. The resident memory says little of that:
 * V8 collects when it likes, and gives back later or never. So the process is asked by its debugger, which Node opens at
 * SIGUSR1 on the machine's own loopback network, and which is closed again: nothing of the product is there for it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { Machine } from '../cluster/machine.ts';

/** Of one process after a round. */
export interface Held {
  /** Rounds that were done by then. */
  round: number;
  /**
   * Bytes that are referred to after two full collections: V8's heap, and buffers outside of it. Without the spaces of
   * bytecode and machine code, to which V8 adds for hours what has become worth compiling.
   */
  bytes: number;
  /** What keeps its event loop alive, by Node's names: `TCPSocketWrap`, `Timeout`. */
  handles: string[];
  /** Megabytes of its own that are resident. */
  resident: number;
  /** Open file descriptors. */
  files: number;
}

/** Throws when the process does not answer within a minute. */
export async function heldBy(machine: Machine, pid: number, round: number): Promise<Held> {
  const program = ['node', '--input-type=module', '--eval', ask, String(pid)];
  const { exitCode, stdout, stderr } = await machine.run(program, { user: 'root', timeout: 60_000 });
  if (exitCode !== 0) throw new Error(`process ${pid} does not say what it holds: ${stderr}`);
  const { bytes, handles } = JSON.parse(stdout) as Pick<Held, 'bytes' | 'handles'>;
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kilobytes = Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1]);
  const files = readdirSync(`/proc/${pid}/fd`).length;
  return { round, bytes, handles: handles.sort(), resident: Math.round(kilobytes / 1024), files };
}

/** Twice, because what a finalizer lets go of goes with the second collection. */
const ask = `
  import { setTimeout as delay } from 'node:timers/promises';
  const pid = Number(process.argv[1]);
  const targets = () => fetch('http://127.0.0.1:9229/json/list').then((answer) => answer.json(), () => undefined);
  process.kill(pid, 'SIGUSR1');
  let target;
  while ((target = (await targets())?.[0]) === undefined) await delay(20);
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  const closed = new Promise((resolve) => (socket.onclose = resolve));
  await new Promise((resolve) => (socket.onopen = resolve));
  const answers = new Map();
  let last = 0;
  socket.onmessage = ({ data }) => {
    const { id, result, error } = JSON.parse(data);
    answers.get(id)?.(error === undefined ? result : Promise.reject(new Error(error.message)));
  };
  const call = (method, params = {}) => new Promise((resolve) => {
    answers.set(++last, resolve);
    socket.send(JSON.stringify({ id: last, method, params }));
  });
  const evaluate = async (expression) =>
    (await call('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true })).result.value;
  for (let time = 0; time < 2; time += 1) {
    await call('HeapProfiler.collectGarbage');
    await evaluate('new Promise((resolve) => setImmediate(resolve, 0))');
  }
  const held = await evaluate(\`(() => {
    const spaces = process.getBuiltinModule('node:v8').getHeapSpaceStatistics();
    const data = spaces.filter(({ space_name }) => !/code|trusted|read_only/.test(space_name));
    const bytes = data.reduce((sum, { space_used_size }) => sum + space_used_size, process.memoryUsage().external);
    return { pid: process.pid, bytes, handles: process.getActiveResourcesInfo() };
  })()\`);
  if (held.pid !== pid) throw new Error('process ' + held.pid + ' answered instead');
  await evaluate("void setImmediate(() => process.getBuiltinModule('node:inspector').close())");
  await closed;
  while ((await targets()) !== undefined) await delay(20); // the next one listens on the same port
  console.log(JSON.stringify(held));
`;
