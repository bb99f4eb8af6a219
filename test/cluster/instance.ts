/**
 * One cluster of possibly several on this machine: its name, and everything that follows from it (folders, addresses,
 * names of network devices). Each holds a slot, a number, from which its subnets derive; the slots are links in
 * `slots/`, because making a link is atomic.
 */
import { mkdirSync, readdirSync, readlinkSync, rmdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';

const root = '/var/lib/bowline-test';
const slotsFolder = join(root, 'slots');
/** Not below `root`, which goes with the last cluster. */
export const locksFolder = '/run/lock';
const slots = 16;

/** One node of a cluster: where its state lies, and its addresses. */
export interface ClusterNode {
  /** Its name in Kubernetes, and its host name. */
  readonly nodeName: string;
  readonly folder: string;
  readonly logs: string;
  readonly containerdSocket: string;
  /** Process id of the node's first process, as this machine counts. */
  readonly pidFile: string;
  readonly nodeAddress: string;
  /** Its share of the cluster's range of pods. */
  readonly nodePods: string;
  /** Name of the cgroup below which the node's containers run. */
  readonly cgroup: string;
}

/** The cluster, and its first node, which has the control plane. */
export interface Instance extends ClusterNode {
  readonly name: string;
  /** The state of the cluster; removed by `down`. */
  readonly folder: string;
  readonly bin: string;
  readonly pki: string;
  readonly machines: string;
  /** The administrator's kubeconfig. */
  readonly kubeconfig: string;
  readonly slot: number;
  /** The cable between this machine and the first node. */
  readonly hostDevice: string;
  readonly hostAddress: string;
  readonly pods: string;
  readonly services: string;
  /** First address of the Service range: the Service `kubernetes`. */
  readonly apiService: string;
  readonly dnsService: string;
  /** The second node, which is there only while a test asks for it (worker.ts). */
  readonly worker: ClusterNode;
  /** The first node's address on the switch between the two. */
  readonly switchAddress: string;
}

/** BOWLINE_CLUSTER, or `bowline`. */
export function instanceName(environment: NodeJS.ProcessEnv = process.env): string {
  const name = environment['BOWLINE_CLUSTER'] ?? 'bowline';
  if (!/^[a-z][a-z0-9-]{0,30}$/.test(name) || name === 'slots') {
    throw new Error(`BOWLINE_CLUSTER=${name} is not a cluster name: use up to 31 of a-z, 0-9 and -, a letter first`);
  }
  return name;
}

/** The instance as it is, or undefined when there is none of this name. */
export function findInstance(name: string): Instance | undefined {
  const slot = takenSlots().get(name);
  return slot === undefined ? undefined : describe(name, slot);
}

/** The instance, with a slot taken for it when it has none yet. */
export function claimInstance(name: string): Instance {
  const found = findInstance(name);
  if (found !== undefined) return found;
  // `bowline` gets the first slot, so that the usual cluster has the usual addresses.
  for (let slot = name === 'bowline' ? 0 : 1; slot < slots; slot += 1) {
    try {
      mkdirSync(slotsFolder, { recursive: true, mode: 0o755 });
      symlinkSync(name, join(slotsFolder, String(slot)));
      return describe(name, slot);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
  throw new Error(
    `all ${slots} clusters of this machine are taken (${[...takenSlots().keys()].join(', ')}): end one with "npm run cluster -- down"`,
  );
}

/** Gives the slot back, and removes what is shared by all instances when this was the last one. */
export function releaseInstance(instance: Instance): void {
  rmSync(join(slotsFolder, String(instance.slot)), { force: true });
  removeIfEmpty(slotsFolder);
  removeIfEmpty(root);
}

function takenSlots(): Map<string, number> {
  const taken = new Map<string, number>();
  try {
    for (const slot of readdirSync(slotsFolder)) taken.set(readlinkSync(join(slotsFolder, slot)), Number(slot));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return taken;
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ENOTEMPTY') throw error;
  }
}

function describe(name: string, slot: number): Instance {
  const folder = join(root, name);
  const services = `10.${96 + slot}`;
  const pods = `10.${244 - slot}`;
  return {
    ...describeNode('node1', folder),
    name,
    bin: join(folder, 'bin'),
    pki: join(folder, 'pki'),
    machines: join(folder, 'machines'),
    kubeconfig: join(folder, 'kubeconfig'),
    slot,
    hostDevice: `bowline${slot}`,
    hostAddress: `10.200.${slot}.1`,
    nodeAddress: `10.200.${slot}.2`,
    pods: `${pods}.0.0/16`,
    nodePods: `${pods}.0.0/17`,
    services: `${services}.0.0/16`,
    apiService: `${services}.0.1`,
    dnsService: `${services}.0.10`,
    cgroup: `bowline-${name}`,
    worker: {
      ...describeNode('worker', join(folder, 'worker')),
      nodeAddress: `10.202.${slot}.2`,
      nodePods: `${pods}.128.0/17`,
      cgroup: `bowline-${name}-worker`,
    },
    switchAddress: `10.202.${slot}.1`,
  };
}

function describeNode(
  nodeName: string,
  folder: string,
): Pick<ClusterNode, 'nodeName' | 'folder' | 'logs' | 'containerdSocket' | 'pidFile'> {
  return {
    nodeName,
    folder,
    logs: join(folder, 'logs'),
    containerdSocket: join(folder, 'containerd.sock'),
    pidFile: join(folder, 'node.pid'),
  };
}
