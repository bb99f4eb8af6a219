/**
 * A second node for the tests that ask for one: programs, images and namespaces as the first has them, pods of a range of its
 * own, a cable to the first. It can be lost, as a machine whose power fails. A cluster has one at a time; one that a killed
 * test left goes with the next start of anything on the cluster, or with the cluster.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildBinaries } from './binary.ts';
import { configureNode } from './configuration.ts';
import { importImages, makeArchives } from './image-import.ts';
import { locksFolder } from './instance.ts';
import { kubectl } from './kubectl.ts';
import { locked } from './lock.ts';
import { connectWorker, cutWorker, disconnectWorker } from './network.ts';
import { findNode, logTails, startNode, stopNode } from './node.ts';
import { readRecord, recordProcess, writeRecord } from './processes.ts';
import { waitUntil } from './wait.ts';
import type { Instance } from './instance.ts';
import type { ProcessRecord } from './processes.ts';
import type { TestCluster } from './test-cluster.ts';

export interface Worker extends AsyncDisposable {
  /** Its name in Kubernetes. */
  readonly name: string;
  /**
   * Power off. Its programs get no signal that they could act on, and nobody hears of it: the link is silent from the same
   * moment on. For Kubernetes it is there until it has missed its signs of life, which takes 50 s.
   */
  stop(): Promise<void>;
}

const quiet = { report: (): void => undefined };

/** Resolves when it takes pods. What still runs on it when it is disposed is removed from the cluster by force. */
export async function startWorker(cluster: TestCluster, signal?: AbortSignal): Promise<Worker> {
  const { instance } = cluster;
  if (instance === undefined) throw new Error('a given cluster gets no second node from here');
  const { worker } = instance;
  const options = { ...quiet, signal };
  await locked(locksFolder, instance.name, options, async () => {
    const owner = ownerOf(instance);
    if (owner !== undefined)
      throw new Error(`the worker of cluster ${instance.name} is in use by process ${owner.pid}`);
    await removeWorker(instance);
    try {
      await start(instance, signal);
    } catch (error) {
      const said = logTails(worker);
      await removeWorker(instance);
      throw new Error(`the worker did not start: ${error instanceof Error ? error.message : String(error)}${said}`, {
        cause: error,
      });
    }
  });
  return {
    name: worker.nodeName,
    async stop() {
      // First: the kernel closes the connections of the processes that it kills, which would be a sign.
      await cutWorker(pidOf(instance));
      await stopNode(worker);
    },
    [Symbol.asyncDispose]: () => locked(locksFolder, instance.name, quiet, () => removeWorker(instance)),
  };
}

async function start(instance: Instance, signal?: AbortSignal): Promise<void> {
  const { worker } = instance;
  mkdirSync(worker.folder, { recursive: true });
  writeRecord(ownerFile(instance), recordProcess(process.pid));
  const table = configureNode(instance, worker);
  const first = pidOf(instance);
  const connect = (pid: number): Promise<void> => connectWorker(instance, first, pid, signal);
  await startNode({ instance, node: worker, table, connect });
  const archives = await makeArchives(await buildBinaries(quiet.report, signal), signal);
  await importImages(worker, archives, signal);
  const ready = ['get', 'node', worker.nodeName, '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'];
  const isReady = async (): Promise<boolean> => (await kubectl(instance, ready, { signal })) === 'True';
  await waitUntil(isReady, { what: 'the worker', interval: 200, timeout: 60_000, signal });
}

/** Ends the worker that a killed test run has left. */
export async function removeLeftWorker(instance: Instance): Promise<void> {
  if (existsSync(instance.worker.folder) && ownerOf(instance) === undefined) await removeWorker(instance);
}

/** Ends its processes and takes away all of it on this machine, whatever is there; of the cluster too while that one runs. */
export async function removeWorker(instance: Instance): Promise<void> {
  const { worker } = instance;
  if (!existsSync(worker.folder)) return;
  await stopNode(worker);
  const first = findNode(instance);
  if (first !== undefined) {
    await disconnectWorker(first.pid);
    await forgetWorker(instance);
  }
  rmSync(worker.folder, { recursive: true, force: true });
}

/** Nobody else would say that its pods have ended. */
async function forgetWorker(instance: Instance): Promise<void> {
  const { nodeName } = instance.worker;
  await kubectl(instance, ['delete', 'node', nodeName, '--ignore-not-found']);
  const its = ['--all-namespaces', `--field-selector=spec.nodeName=${nodeName}`];
  await kubectl(instance, ['delete', 'pods', ...its, '--grace-period=0', '--force']);
}

function pidOf(instance: Instance): number {
  const first = findNode(instance);
  if (first === undefined) throw new Error(`cluster ${instance.name} does not run`);
  return first.pid;
}

const ownerFile = ({ worker }: Instance): string => join(worker.folder, 'owner');
const ownerOf = (instance: Instance): ProcessRecord | undefined => readRecord(ownerFile(instance));
