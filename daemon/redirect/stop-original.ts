/**
 * --stop-original: the originals are scaled to 0 (a bare pod is deleted) once the redirect stands, for queue consumers and
 * singletons. What to put back is in the Lease, and in the record map, before anything is stopped.
 */
import type {
  KubernetesObject,
  V1ConfigMap,
  V1ManagedFieldsEntry,
  V1OwnerReference,
  V1Pod,
} from '@kubernetes/client-node';
import { setTimeout as delay } from 'node:timers/promises';
import { BowlineError } from '../../api/errors.ts';
import type { CallOptions, Cluster, Patch } from '../cluster/cluster.ts';
import { configMaps, leases, pods } from '../cluster/resources.ts';
import { putBackManagers } from './managed-fields.ts';
import { keptPodName, metadata, recordAnnotation, sessionObjectName } from './objects.ts';
import type { SessionRecord } from './record.ts';
import { describe, isReady, resourceOf, type Workload, type WorkloadKind } from './workload.ts';

/** Refuses what cannot be stopped without harm, before anything is touched. */
export function checkStoppable(workload: Workload): void {
  if (workload.kind === 'DaemonSet') {
    throw new BowlineError(
      'WORKLOAD_UNSUPPORTED',
      `${describe(workload)} is a DaemonSet, which has no replica count, so its pods cannot be stopped.`,
      {
        hint: 'Leave out --stop-original: traffic through its Services is redirected all the same.',
      },
    );
  }
  const retention = (workload.object as { spec?: { persistentVolumeClaimRetentionPolicy?: { whenScaled?: string } } })
    .spec?.persistentVolumeClaimRetentionPolicy;
  if (workload.kind === 'StatefulSet' && retention?.whenScaled === 'Delete') {
    throw new BowlineError(
      'WORKLOAD_UNSUPPORTED',
      `${describe(workload)} deletes its volumes when it is scaled down (persistentVolumeClaimRetentionPolicy), so it is not stopped.`,
      {
        hint: 'Leave out --stop-original.',
      },
    );
  }
  const owner = workload.object.metadata?.ownerReferences?.find((reference) => reference.controller === true);
  if (owner !== undefined) {
    throw new BowlineError(
      'WORKLOAD_UNSUPPORTED',
      `${describe(workload)} is controlled by ${owner.kind}/${owner.name}, which would start it again.`,
      {
        hint: `Leave out --stop-original, or stop ${owner.kind}/${owner.name} yourself.`,
      },
    );
  }
}

/** The manifest of a bare pod as it can be created again: what the server filled in is left out. */
export function podManifest(pod: V1Pod): V1Pod {
  const { status: _status, metadata: was, spec } = pod;
  const { nodeName: _nodeName, ephemeralContainers: _ephemeral, ...kept } = spec!; // both refused or wrong in a new pod
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: was?.name ?? '',
      namespace: was?.namespace ?? '',
      ...(was?.generateName === undefined ? {} : { generateName: was.generateName }),
      ...(was?.labels === undefined ? {} : { labels: was.labels }),
      ...(was?.annotations === undefined ? {} : { annotations: was.annotations }),
      ...(was?.ownerReferences === undefined ? {} : { ownerReferences: was.ownerReferences }),
      ...(was?.finalizers === undefined ? {} : { finalizers: was.finalizers }),
    },
    spec: kept,
  };
}

/** The record of a session that stops its originals: what to put back. */
export function withStopped(record: SessionRecord, workload: Workload): SessionRecord {
  const managedFields = workload.object.metadata?.managedFields;
  return {
    ...record,
    stopped: {
      replicas: workload.replicas,
      ready: workload.pods.filter(isReady).length,
      ...(managedFields === undefined ? {} : { managedFields }),
    },
  };
}

export function stoppedPatch(stopped: SessionRecord): Patch {
  return { type: 'merge', body: { metadata: { annotations: { [recordAnnotation]: JSON.stringify(stopped) } } } };
}

/**
 * From what a bare pod is made again; `undefined` for a workload that has replicas. No Secret: whoever may read ConfigMaps
 * here may read pods too, and saw the same in the pod itself. A keeper that makes pods anew so needs no right to read Secrets.
 */
export function keptPod(workload: Workload, session: string, owners?: V1OwnerReference[]): V1ConfigMap | undefined {
  if (workload.kind !== 'Pod') return undefined;
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: metadata(session, workload.namespace, keptPodName(session), owners),
    data: { 'pod.json': JSON.stringify(podManifest(workload.object)) },
  };
}

export interface StopOptions extends CallOptions {
  signal: AbortSignal;
  owners: V1OwnerReference[];
  /** Milliseconds to wait until the originals are gone. */
  patience: number;
}

export async function stopOriginals(
  cluster: Cluster,
  workload: Workload,
  leaseName: string,
  record: SessionRecord,
  options: StopOptions,
): Promise<SessionRecord> {
  const { namespace, name, kind } = workload;
  const call: CallOptions = {}; // changes are not cut off half way
  const stopped = withStopped(record, workload);
  const kept = keptPod(workload, record.session, options.owners);
  if (kept !== undefined) await cluster.create(configMaps, kept, call);
  await cluster.patch(configMaps, sessionObjectName(record.session), namespace, stoppedPatch(stopped), call);
  await cluster.patch(leases, leaseName, namespace, stoppedPatch(stopped), call);
  if (kind === 'Pod') {
    await cluster.delete(pods, name, namespace, { ...call, preconditions: { uid: workload.uid } });
  } else {
    const body = [
      { op: 'test' as const, path: '/metadata/uid', value: workload.uid },
      { op: 'test' as const, path: '/spec/replicas', value: workload.replicas },
      { op: 'replace' as const, path: '/spec/replicas', value: 0 },
    ];
    await cluster.patch(resourceOf(kind), name, namespace, { type: 'json', body }, call);
  }
  const uids = new Set(workload.pods.map((pod) => pod.metadata?.uid));
  const until = Date.now() + options.patience;
  while ((await cluster.list(pods, { ...call, namespace })).some((pod) => uids.has(pod.metadata?.uid))) {
    if (Date.now() > until) break; // they end by themselves; the caller has said so
    await delay(250, undefined, { signal: options.signal });
  }
  return stopped;
}

/**
 * Starts the originals again and waits until as many are ready as before (bounded by `patience` milliseconds). May be run
 * again after a kill. What somebody else deleted, made or scaled meanwhile is theirs. Answers what was done.
 */
export async function startOriginals(
  cluster: Cluster,
  namespace: string,
  record: SessionRecord,
  options: CallOptions & { patience: number; signal: AbortSignal },
): Promise<string | undefined> {
  if (record.stopped === undefined || record.workload === undefined) return undefined;
  const workload = { kind: record.workload.kind as WorkloadKind, name: record.workload.name };
  const { replicas, ready = replicas, managedFields } = record.stopped;
  const call: CallOptions = { signal: options.signal };
  const started =
    workload.kind === 'Pod'
      ? await createPod(cluster, namespace, record, options)
      : await scaleUp(cluster, namespace, workload, replicas, call);
  if (!started) return undefined;
  if (managedFields !== undefined) {
    const saved = managedFields as V1ManagedFieldsEntry[];
    await putBackManagers(cluster, resourceOf(workload.kind), workload.name, namespace, saved, call);
  }
  await originalsReady(cluster, namespace, workload, ready, options);
  return `${describe(workload)} started again with ${replicas} ${replicas === 1 ? 'replica' : 'replicas'}`;
}

/** False where what runs there is somebody else's now. */
async function scaleUp(
  cluster: Cluster,
  namespace: string,
  { kind, name }: { kind: WorkloadKind; name: string },
  replicas: number,
  call: CallOptions,
): Promise<boolean> {
  for (let attempt = 0; ; attempt++) {
    const existing = await cluster.find(resourceOf(kind), name, namespace, call);
    const current = (existing as { spec?: { replicas?: number } } | undefined)?.spec?.replicas;
    if (existing === undefined || replicas === 0) return false;
    if (current !== 0) return current === replicas;
    const body = [
      { op: 'test' as const, path: '/spec/replicas', value: 0 },
      { op: 'replace' as const, path: '/spec/replicas', value: replicas },
    ];
    try {
      await cluster.patch<KubernetesObject>(resourceOf(kind), name, namespace, { type: 'json', body }, call);
      return true;
    } catch (error) {
      if (attempt >= 3) throw error;
    }
  }
}

/** The same for a bare pod. */
async function createPod(
  cluster: Cluster,
  namespace: string,
  record: SessionRecord,
  { patience, signal }: { patience: number; signal: AbortSignal },
): Promise<boolean> {
  const { name } = record.workload!;
  const kept = await cluster.find(configMaps, keptPodName(record.session), namespace, { signal });
  const text = kept?.data?.['pod.json'];
  if (text === undefined) return false;
  // The one that was deleted may still be ending: only when it is gone its name is free.
  for (const until = Date.now() + patience; ;) {
    const existing = await cluster.find(pods, name, namespace, { signal });
    if (existing === undefined) break;
    if (existing.metadata?.deletionTimestamp === undefined) return true;
    if (Date.now() > until) {
      throw new BowlineError(
        'API_ERROR',
        `Pod ${name} in namespace ${namespace} is still ending, so it cannot be made again.`,
        {
          hint: `When it is gone, \`bowline restore -n ${namespace}\` makes it again: its manifest is kept in ConfigMap ${keptPodName(record.session)}.`,
        },
      );
    }
    await delay(100, undefined, { signal });
  }
  await cluster.create(pods, JSON.parse(text) as V1Pod, { signal });
  return true;
}

async function originalsReady(
  cluster: Cluster,
  namespace: string,
  workload: { kind: WorkloadKind; name: string },
  wanted: number,
  options: { patience: number; signal: AbortSignal },
): Promise<void> {
  const until = Date.now() + options.patience;
  while (Date.now() < until) {
    const object = await cluster.find(resourceOf(workload.kind), workload.name, namespace, { signal: options.signal });
    if (object === undefined) return;
    const ready =
      workload.kind === 'Pod'
        ? Number(isReady(object))
        : ((object as { status?: { readyReplicas?: number } }).status?.readyReplicas ?? 0);
    if (ready >= wanted) return;
    await delay(100, undefined, { signal: options.signal });
  }
}
