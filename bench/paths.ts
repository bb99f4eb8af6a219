/**
 * The ways from a client to a sink that are compared. Each runs the same client program; they differ in where it runs, in
 * what it connects to, and in the process of the machine that carries its bytes.
 */
import { findNode } from '../test/cluster/node.ts';
import { inNetwork } from '../test/cluster/network.ts';
import { must } from '../test/cluster/run.ts';
import { original, workload, type Bed } from './bed.ts';
import type { Measured } from './client.ts';
import type { PathName } from './metrics.ts';
import { port } from './wire.ts';

export type Task = 'down' | 'up' | 'latency' | 'serial' | 'parallel50';

export interface Path {
  name: PathName;
  measure(task: Task, amount: number): Promise<Measured>;
  /** Process that carries the bytes on the machine. */
  carrier?: number;
}

const patience = 180_000;

/** From the machine to the original: by its name, by a forwarded port, and straight to the pod from the node it runs on. */
export async function outboundPaths(
  bed: Bed,
  daemon: number,
  forwarded: PortForward,
  signal: AbortSignal,
): Promise<Path[]> {
  const { cluster, machine, namespace } = bed;
  const fromMachine = async (host: string, to: number, task: Task, amount: number): Promise<Measured> => {
    const command = bed.onMachine('client.ts', task, host, String(to), String(amount));
    const { exitCode, stdout, stderr } = await machine.run(command, { signal, timeout: patience });
    if (exitCode !== 0) throw new Error(`${task} to ${host}:${to}: ${stderr.trim()}`);
    return JSON.parse(stdout) as Measured;
  };
  const paths: Path[] = [
    { name: 'bowline', carrier: daemon, measure: (task, amount) => fromMachine(original, port, task, amount) },
    {
      name: 'kubectl',
      carrier: forwarded.pid,
      measure: (task, amount) => fromMachine('127.0.0.1', forwarded.port, task, amount),
    },
  ];
  const node = cluster.instance === undefined ? undefined : findNode(cluster.instance);
  // The nodes of a cluster that was given cannot be entered; there is nothing to compare with then.
  if (node !== undefined) {
    const pod = await namespace.kubectl([
      'get',
      'pods',
      '-l',
      `app=${original}`,
      '-o',
      'jsonpath={.items[0].status.podIP}',
    ]);
    const client = [process.execPath, `${import.meta.dirname}/client.ts`];
    paths.push({
      name: 'pod',
      measure: async (task, amount) =>
        JSON.parse(
          await must(inNetwork(node.pid, [...client, task, pod, String(port), String(amount)]), {
            signal,
            timeout: patience,
          }),
        ) as Measured,
    });
  }
  return paths;
}

/** From a pod through a Service: the redirected one, which leads to the machine, and an untouched one. */
export function inboundPaths(bed: Bed, daemon: number, signal: AbortSignal): Path[] {
  const through = async (service: string, task: Task, amount: number): Promise<Measured> =>
    JSON.parse(
      await must(bed.inCaller('client.ts', task, service, String(port), String(amount)), { signal, timeout: patience }),
    ) as Measured;
  return [
    { name: 'bowline', carrier: daemon, measure: (task, amount) => through(workload, task, amount) },
    { name: 'pod', measure: (task, amount) => through(original, task, amount) },
  ];
}

export interface PortForward extends AsyncDisposable {
  readonly port: number;
  readonly pid: number;
}

/** `kubectl port-forward` as the developer would start it. */
export async function startPortForward(bed: Bed): Promise<PortForward> {
  const { cluster, machine, namespace } = bed;
  const child = machine.spawn([
    cluster.kubectlPath,
    `--namespace=${namespace.name}`,
    'port-forward',
    `deploy/${original}`,
    `:${port}`,
  ]);
  let said = '';
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  child.stderr?.on('data', (bytes: Buffer) => (said += bytes.toString()));
  const local = await new Promise<number>((resolve, reject) => {
    let text = '';
    child.stdout?.on('data', (bytes: Buffer) => {
      text = `${text}${bytes.toString()}`.slice(-1000);
      const match = /Forwarding from 127\.0\.0\.1:(\d+)/.exec(text);
      if (match !== null) resolve(Number(match[1]));
    });
    child.once('error', reject);
    child.once('close', () => reject(new Error(`kubectl port-forward ended: ${said.trim()}`)));
  });
  return {
    port: local,
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
