/** Ties and unties as a user does, and measures how long it takes and what the processes hold while nothing happens. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { machineName, machinePort, workload, type Bed } from './bed.ts';
import { memoryInContainer, memoryOf } from './processes.ts';
import type { Samples } from './results.ts';
import { port } from './wire.ts';

/** Milliseconds. */
const patience = 120_000;
const settled = 1_000;
const settledAtMost = 10_000;

/** Measures a connect; resolves when the command has ended and the machine answers. */
export async function measureConnect(bed: Bed, samples: Samples | undefined, signal: AbortSignal): Promise<void> {
  await using watch = await watchWorkload(bed, machineName, signal);
  await watch.says(workload);
  const began = performance.now();
  const where = [
    '--namespace',
    bed.namespace.name,
    '--port',
    `${machinePort}:${port}`,
    '--agent-image',
    bed.cluster.nodeImage,
  ];
  const [answered, ended] = await Promise.all([
    watch.says(machineName),
    bed.bowline('connect', `deploy/${workload}`, ...where).then(() => performance.now()),
  ]);
  samples?.add('connect.seconds', 'bowline', (answered - began) / 1000);
  samples?.add('connect.command.seconds', 'bowline', (ended - began) / 1000);
}

/** Measures a disconnect of a connection with nothing open; resolves when the originals answer again. */
export async function measureDisconnect(bed: Bed, samples: Samples | undefined, signal: AbortSignal): Promise<void> {
  const began = performance.now();
  const lines = await bed.bowline('disconnect', '--all', '--json');
  samples?.add('disconnect.seconds', 'bowline', (performance.now() - began) / 1000);
  const steps = lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string; step?: string; seconds?: number });
  const at = (step: string): number => steps.find((each) => each.step === step)?.seconds ?? Number.NaN;
  samples?.add('disconnect.after-drain.seconds', 'bowline', at('released') - at('remove'));
  await using watch = await watchWorkload(bed, workload, signal);
  await watch.says(workload);
}

/** Short commands, as the shell waits for them; connected. */
export async function measureCommands(bed: Bed, samples: Samples): Promise<void> {
  for (const [metric, command] of [
    ['command.version', '--version'],
    ['command.status', 'status'],
  ] as const) {
    await bed.bowline(command);
    const began = performance.now();
    await bed.bowline(command);
    samples.add(metric, 'bowline', performance.now() - began);
  }
}

export interface Connected {
  daemon: number;
  helper: number;
  agent: { pod: string; container: string };
}

export async function findProcesses(bed: Bed): Promise<Connected> {
  const { machine } = bed;
  const status = JSON.parse(await bed.bowline('status', '--json')) as {
    daemon: { pid: number };
    connections: Array<{ agent?: { pod: string }; target?: { container: string } }>;
  };
  const [connection] = status.connections;
  const uid = (await machine.run(['id', '-u'])).stdout.trim();
  return {
    daemon: status.daemon.pid,
    helper: Number(readFileSync(machine.path(`/var/lib/bowline/${uid}.pid`), 'utf8')),
    agent: { pod: connection?.agent?.pod ?? '', container: connection?.target?.container ?? '' },
  };
}

/** Idle: when the memory of the daemon no longer changes. */
export async function measureMemory(bed: Bed, samples: Samples, signal: AbortSignal): Promise<void> {
  const { daemon, helper, agent } = await findProcesses(bed);
  let resident = memoryOf(daemon);
  for (let waited = 0; waited < settledAtMost; waited += settled) {
    await delay(settled, undefined, { signal });
    const now = memoryOf(daemon);
    const change = Math.abs(now - resident);
    resident = now;
    if (change < 0.5) break;
  }
  samples.add('memory.daemon', 'bowline', resident);
  samples.add('memory.helper', 'bowline', memoryOf(helper));
  const { kubectlPath, kubeconfig } = bed.cluster;
  const exec = ['exec', `--namespace=${bed.namespace.name}`, agent.pod, `--container=${agent.container}`, '--'];
  samples.add('memory.agent', 'bowline', await memoryInContainer([kubectlPath, `--kubeconfig=${kubeconfig}`, ...exec]));
}

interface Watch extends AsyncDisposable {
  /** Resolves with the moment at which that one was heard of. */
  says(name: string): Promise<number>;
}

/** Asks from the pod that calls, through the Service of the workload, until `until` has answered. */
async function watchWorkload(bed: Bed, until: string, signal: AbortSignal): Promise<Watch> {
  const [program = '', ...args] = bed.inCaller('watch.ts', workload, String(port), until);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], signal });
  child.on('error', () => undefined); // aborted; who waits is told by the end
  let complaint = '';
  child.stderr.on('data', (bytes: Buffer) => (complaint += bytes.toString()));
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const heard = new Map<string, number>();
  const waiting = new Map<string, (at: number) => void>();
  createInterface(child.stdout).on('line', (name) => {
    const now = performance.now();
    heard.set(name, now);
    waiting.get(name)?.(now);
  });
  return {
    says(name) {
      const at = heard.get(name);
      if (at !== undefined) return Promise.resolve(at);
      return new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`${name} did not answer at ${workload} within ${patience / 1000} s`)),
          patience,
        );
        waiting.set(name, (at) => {
          clearTimeout(timer);
          resolve(at);
        });
        void ended.then(() => {
          clearTimeout(timer);
          reject(new Error(`nobody watches ${workload} any more: ${complaint.trim()}`));
        });
      });
    },
    async [Symbol.asyncDispose]() {
      child.kill();
      await ended;
    },
  };
}
