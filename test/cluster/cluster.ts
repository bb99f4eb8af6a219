/**
 * Brings the cluster of an instance up and down, and says where it is. Owns the state folder: what is in it is rebuilt
 * by `up` when it is not whole, so nothing in it is ever repaired.
 */
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { buildBinaries, kubernetesPrograms, kubernetesVersion } from './binary.ts';
import { configureCluster, configureNode } from './configuration.ts';
import { importImages, loadedImages, makeArchives } from './image-import.ts';
import { claimInstance, findInstance, locksFolder, releaseInstance } from './instance.ts';
import { kubectl } from './kubectl.ts';
import { locked } from './lock.ts';
import { removeMachines } from './machine-registry.ts';
import { connectNode, disconnectNode } from './network.ts';
import { findNode, logTails, startNode, stopNode } from './node.ts';
import { run } from './run.ts';
import { waitUntil } from './wait.ts';
import { removeLeftWorker, removeWorker } from './worker.ts';
import type { Binaries, Report } from './binary.ts';
import type { Archive } from './images.ts';
import type { Instance } from './instance.ts';

export interface UpOptions {
  report: Report;
  signal?: AbortSignal | undefined;
}

/** Makes the cluster run, whatever state it is in. Ready when resolved: pods can be made, and names are answered. */
export async function up(name: string, options: UpOptions): Promise<Instance> {
  requireRoot();
  return await locked(locksFolder, name, options, () => bringUp(name, options));
}

/** Leaves nothing of the cluster but the cache. Right when it is half up, broken or not there too. */
export async function down(name: string, options: UpOptions): Promise<void> {
  requireRoot();
  await locked(locksFolder, name, options, () => bringDown(name, options));
}

async function bringUp(name: string, options: UpOptions): Promise<Instance> {
  const { report, signal } = options;
  const binaries = await buildBinaries(report, signal);
  const began = performance.now();
  const archives = await makeArchives(binaries, signal);
  const found = findInstance(name);
  if (found !== undefined && findNode(found) !== undefined) {
    if (readIfThere(join(found.folder, 'binaries')) !== binaries.key) {
      report(`note: cluster ${name} runs older programs than this checkout's; "down" and "up" renew it`);
    }
    await waitReady(found, signal);
    await removeLeftWorker(found);
    await importImages(found, archives, signal);
    report(`cluster ${name} is up (${found.nodeAddress})`);
    return found;
  }
  if (found !== undefined) {
    report(`cluster ${name} is not whole, starting afresh`);
    await bringDown(name, options);
  }
  const instance = claimInstance(name);
  try {
    await start(instance, binaries, archives, signal);
  } catch (error) {
    const said = logTails(instance);
    await bringDown(name, { report });
    throw new Error(`the cluster did not start: ${error instanceof Error ? error.message : String(error)}${said}`, {
      cause: error,
    });
  }
  report(
    `cluster ${name} is up (${instance.nodeAddress}), ready after ${((performance.now() - began) / 1000).toFixed(1)} s`,
  );
  return instance;
}

async function start(instance: Instance, binaries: Binaries, archives: Archive[], signal?: AbortSignal): Promise<void> {
  mkdirSync(instance.bin, { recursive: true });
  place(binaries.kubernetes, join(instance.bin, 'kubernetes'));
  place(binaries.nodeInit, join(instance.bin, 'node-init'));
  for (const program of kubernetesPrograms) symlinkSync('kubernetes', join(instance.bin, program));
  writeFileSync(join(instance.folder, 'binaries'), binaries.key);
  await configureCluster(instance);
  const table = configureNode(instance, instance);
  const connect = (pid: number): Promise<void> => connectNode(instance, pid, signal);
  await startNode({ instance, node: instance, table, connect });
  await Promise.all([importImages(instance, archives, signal), startNames(instance, signal)]);
  await waitReady(instance, signal);
}

async function bringDown(name: string, options: UpOptions): Promise<void> {
  const instance = findInstance(name);
  if (instance === undefined) {
    options.report(`there is no cluster ${name}`);
    return;
  }
  await removeMachines(instance.machines, findNode(instance)?.pid);
  await stopNode(instance, options.signal);
  await removeWorker(instance);
  await disconnectNode(instance);
  rmSync(instance.folder, { recursive: true, force: true });
  releaseInstance(instance);
  options.report(`cluster ${name} is down`);
}

export interface Status {
  instance: Instance;
  running: boolean;
  ready: boolean;
  version: string;
  images: string[];
}

export async function status(name: string): Promise<Status | undefined> {
  const instance = findInstance(name);
  if (instance === undefined) return undefined;
  const running = findNode(instance) !== undefined;
  const ready = running && (await isReady(instance).catch(() => false));
  return { instance, running, ready, version: kubernetesVersion, images: Object.keys(loadedImages(instance)).sort() };
}

/** CoreDNS is a program of the node, so its Service has no selector: its endpoint is written here. */
async function startNames(instance: Instance, signal?: AbortSignal): Promise<void> {
  const ports = [
    { name: 'dns', port: 53, protocol: 'UDP' },
    { name: 'dns-tcp', port: 53, protocol: 'TCP' },
  ];
  const objects = {
    apiVersion: 'v1',
    kind: 'List',
    items: [
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'kube-dns', namespace: 'kube-system' },
        spec: { clusterIP: instance.dnsService, ports },
      },
      {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: {
          name: 'kube-dns-node',
          namespace: 'kube-system',
          labels: { 'kubernetes.io/service-name': 'kube-dns' },
        },
        addressType: 'IPv4',
        endpoints: [{ addresses: [instance.nodeAddress], conditions: { ready: true } }],
        ports,
      },
    ],
  };
  await waitUntil(
    async () => {
      await kubectl(instance, ['apply', '-f', '-'], { input: JSON.stringify(objects), signal });
      return true;
    },
    { what: 'API server', interval: 250, timeout: 60_000, signal },
  );
}

async function waitReady(instance: Instance, signal?: AbortSignal): Promise<void> {
  await waitUntil(() => isReady(instance), { what: 'Kubernetes', interval: 200, timeout: 60_000, signal });
}

/** The node takes pods, the namespace `default` has its ServiceAccount (no pod without), and CoreDNS has read the Services. */
async function isReady(instance: Instance): Promise<boolean> {
  const [node, account, names] = await Promise.all([
    run([
      join(instance.bin, 'kubectl'),
      '--kubeconfig',
      instance.kubeconfig,
      'get',
      'node',
      instance.nodeName,
      '-o',
      'jsonpath={.status.conditions[?(@.type=="Ready")].status}',
    ]),
    run([
      join(instance.bin, 'kubectl'),
      '--kubeconfig',
      instance.kubeconfig,
      'get',
      'serviceaccount',
      'default',
      '-n',
      'default',
      '-o',
      'name',
    ]),
    fetch(`http://${instance.nodeAddress}:8090/ready`, { signal: AbortSignal.timeout(1000) }).catch(() => undefined),
  ]);
  return node.stdout === 'True' && account.exitCode === 0 && names?.ok === true;
}

/** Not a symbolic link: the cache may lie in a home that only its owner can look into, and the users of machines run kubectl. */
function place(program: string, target: string): void {
  try {
    linkSync(program, target);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
    copyFileSync(program, target);
  }
}

function readIfThere(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

function requireRoot(): void {
  if (process.getuid?.() !== 0) {
    throw new Error(
      'the test cluster needs root (namespaces, mounts, cgroups): run this as root, or set BOWLINE_TEST_KUBECONFIG to use a cluster that is there',
    );
  }
}
