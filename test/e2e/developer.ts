/**
 * A developer at a machine in front of a cluster with a namespace of his own: where the tests of the command start.
 * Everything is done by the command itself and by ordinary programs on the machine; `whole` then compares cluster and
 * hosts file with what they were before.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants } from 'node:os';
import { startMachine, type CommandOptions, type Machine } from '../cluster/machine.ts';
import { createNamespace, type TestNamespace } from '../cluster/namespace.ts';
import { diffSnapshots, snapshot } from '../cluster/snapshot.ts';
import { useCluster, type TestCluster } from '../cluster/test-cluster.ts';
import type { ChildProcess } from 'node:child_process';
import type { V1Pod } from '@kubernetes/client-node';
import type { Connection, DaemonStatus } from '../../api/schema.ts';
import type { RunResult } from '../cluster/run.ts';
import { sessionLabel } from '../../daemon/redirect/objects.ts';

export interface Developer extends AsyncDisposable {
  readonly cluster: TestCluster;
  readonly namespace: TestNamespace;
  readonly machine: Machine;
  /** Runs `bowline ARGS` to its end. */
  bowline(args: string[], options?: Parameters<Machine['run']>[1]): Promise<RunResult>;
  /** The same, for a command that must succeed; its standard output. */
  must(args: string[], options?: Parameters<Machine['run']>[1]): Promise<string>;
  /** The same, for a command that prints one JSON document. */
  json<T>(args: string[]): Promise<T>;
  /** Starts `bowline ARGS`, so that it can be watched and signalled. */
  start(args: string[], options?: CommandOptions): ChildProcess;
  /** A line of shell on the machine that must succeed; its standard output, trimmed. */
  sh(script: string, options?: Parameters<Machine['run']>[1]): Promise<string>;
  status(): Promise<DaemonStatus>;
  /** The connection of that name, or the only one. */
  connection(name?: string): Promise<Connection>;
  /** Takes cluster and hosts file as they are; what is answered compares with that, once it has come to rest. */
  whole(...others: TestNamespace[]): Promise<() => Promise<void>>;
}

export interface DeveloperOptions {
  /** Name of the machine and start of the namespace's. */
  name: string;
  helper: boolean;
}

export async function startDeveloper({ name, helper }: DeveloperOptions): Promise<Developer> {
  await using undo = new AsyncDisposableStack();
  const cluster = await useCluster((line) => process.stderr.write(`${line}\n`));
  const namespace = undo.use(await createNamespace(cluster, { prefix: name }));
  const machine = undo.use(await startMachine({ cluster, name }));
  const withImage = (options?: Parameters<Machine['run']>[1]) => ({
    ...options,
    env: { BOWLINE_AGENT_IMAGE: cluster.nodeImage, NO_COLOR: '1', ...options?.env },
  });
  const command = (args: string[]): string[] => [`${machine.checkout}/bowline`, ...args];

  const bowline: Developer['bowline'] = (args, options) => machine.run(command(args), withImage(options));
  const must: Developer['must'] = async (args, options) =>
    succeeded(`bowline ${args.join(' ')}`, await bowline(args, options));
  const status = async (): Promise<DaemonStatus> => JSON.parse(await must(['status', '--json'])) as DaemonStatus;
  // All its processes end with the machine, but not the agent of a connection that a failed test left.
  undo.defer(async () => void (await bowline(['daemon', 'stop']).catch(() => undefined)));
  if (helper) await must(['helper', 'install']);
  const kept = undo.move();
  return {
    cluster,
    namespace,
    machine,
    bowline,
    must,
    json: async <T>(args: string[]) => JSON.parse(await must([...args, '--json'])) as T,
    start: (args, options) => machine.spawn(command(args), withImage(options)),
    sh: async (script, options) => succeeded(script, await machine.run(['sh', '-c', script], options)).trim(),
    status,
    async connection(name) {
      const { connections } = await status();
      const found = connections.filter((each) => name === undefined || each.name === name);
      assert.equal(
        found.length,
        1,
        `one connection ${name ?? ''} among ${connections.map(({ name }) => name).join(', ')}`,
      );
      return found[0]!;
    },
    async whole(...others) {
      const namespaces = [namespace, ...others];
      const look = (): Promise<Awaited<ReturnType<typeof snapshot>>[]> =>
        Promise.all(namespaces.map((each) => snapshot(cluster, each.name)));
      const before = { cluster: await look(), hosts: machine.hosts() };
      return async () => {
        await Promise.all(namespaces.map(sidecarsHaveEnded));
        const after = await look();
        const difference = before.cluster.map((each, index) => diffSnapshots(each, after[index]!)).join('');
        assert.equal(difference, '', 'the cluster is not as it was');
        assert.equal(machine.hosts(), before.hosts, 'the hosts file is not as it was');
      };
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** A release leaves the clones of sidecars that take their time to kubelet. What stays all the same the comparison shows. */
async function sidecarsHaveEnded(namespace: TestNamespace): Promise<void> {
  const none = async (): Promise<boolean> => {
    const { items } = await namespace.get<{ items: V1Pod[] }>('pods', '-l', sessionLabel);
    return items.every(
      ({ metadata, spec }) => metadata?.deletionTimestamp === undefined || spec?.containers.length === 1,
    );
  };
  await namespace.waitFor('the end of such pods', none, { timeout: 20_000 }).catch(() => undefined);
}

/** Until a started program has said something; when it ends instead, with what it said of that. */
export async function speaks(child: ChildProcess): Promise<void> {
  const words: string[] = [];
  child.stderr?.on('data', (chunk: Buffer) => words.push(chunk.toString()));
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once('data', () => resolve());
    child.once('close', (code) => reject(new Error(`it ended with status ${code}: ${words.join('')}`)));
  });
}

/** The exit status of a started command, 128 + number for a signal, and what it said. */
export async function ended(child: ChildProcess): Promise<RunResult> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const signal = AbortSignal.timeout(60_000);
  const [code, killedBy] = (await once(child, 'close', { signal }).catch(() => {
    throw new Error(`it did not end within 60 s; until then it said: ${stdout}${stderr}`);
  })) as [number | null, NodeJS.Signals | null];
  const exitCode = code ?? 128 + (killedBy === null ? 0 : constants.signals[killedBy]);
  return { exitCode, stdout, stderr };
}

function succeeded(what: string, { exitCode, stdout, stderr }: RunResult): string {
  assert.equal(exitCode, 0, `${what}: exit status ${exitCode}\n${stdout}${stderr}`);
  return stdout;
}
