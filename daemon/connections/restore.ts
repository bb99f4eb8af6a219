/**
 * `bowline restore`: puts back what sessions without a daemon left in a namespace, from the cluster's own records, on any
 * machine with the rights. By default only this user's own leftovers of this machine; `all` is everybody's.
 */
import type { KubernetesObject, V1Lease } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';
import type { Plan, RestoreRequest } from '../../api/schema.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import {
  configMaps,
  leases,
  pods,
  replicaSets,
  secrets,
  serviceAccounts,
  services,
  type Resource,
} from '../cluster/resources.ts';
import { describeHolder } from '../redirect/holder.ts';
import { claimLease } from '../redirect/lease.ts';
import { holderForRestore, keeperName, keptPodName, sessionLabel, type Identity } from '../redirect/objects.ts';
import { readOriginal, readRecord } from '../redirect/record.ts';
import { releaseSession } from '../redirect/release.ts';
import { forgetPatch, restorePatch } from '../redirect/services.ts';
import { findRecordMap } from '../redirect/session-record.ts';
import { describe, type WorkloadKind } from '../redirect/workload.ts';
import type { OnProgress } from './manager.ts';

const ownedBySession: Array<Resource<KubernetesObject>> = [replicaSets, pods, services, secrets];

interface Leftover {
  session: string;
  lease: V1Lease | undefined;
  owner: string;
  since: string;
}

export interface Restorer {
  identity: Identity;
  /** Sessions that this daemon holds; they are left alone. */
  held: Set<string>;
}

/** Sessions of the namespace that may be restored: not held by this daemon, and ours unless `all`. */
async function leftovers(
  cluster: Cluster,
  namespace: string,
  all: boolean,
  { identity, held }: Restorer,
  call: CallOptions,
): Promise<Leftover[]> {
  // In this order: a Lease is there before its Services are redirected, and until they are put back.
  const inNamespace = await cluster.list(services, { ...call, namespace });
  const ours = { ...call, namespace, labelSelector: 'app.kubernetes.io/managed-by=bowline' };
  const maps = await cluster.list(configMaps, ours);
  const found = await cluster.list(leases, ours);
  const withLease = found.flatMap((lease) => {
    const session = lease.metadata?.labels?.[sessionLabel];
    if (session === undefined) return [];
    const { user, host, since } = describeHolder(lease, undefined);
    return [{ session, lease, owner: `${user}@${host}`, since }];
  });
  // Whose Lease somebody deleted: what it said is in its map.
  const known = new Set(withLease.map(({ session }) => session));
  const withMap = maps.flatMap((map) => {
    const record = readRecord(map);
    if (record === undefined || known.has(record.session)) return [];
    const { session, user, host, since } = record;
    return [{ session, lease: undefined, owner: `${user}@${host}`, since }];
  });
  for (const { session } of withMap) known.add(session);
  // Without both its agent is gone, and its Services lead nowhere. Nobody holds such a session.
  const orphans = new Set(inNamespace.flatMap((service) => readOriginal(service)?.session ?? []));
  const me = `${identity.user}@${identity.host}`;
  return [
    ...[...withLease, ...withMap].filter(({ session, owner }) => !held.has(session) && (all || owner === me)),
    ...[...orphans]
      .filter((session) => !known.has(session) && !held.has(session))
      .map((session) => ({ session, lease: undefined, owner: 'an unknown owner', since: 'an unknown time' })),
  ];
}

export async function planRestore(
  cluster: Cluster,
  request: RestoreRequest,
  restorer: Restorer,
  signal: AbortSignal,
): Promise<Plan> {
  const namespace = request.namespace ?? cluster.defaultNamespace;
  const call: CallOptions = { signal };
  const actions: Plan['actions'] = [];
  for (const { session, lease, owner, since } of await leftovers(cluster, namespace, request.all, restorer, call)) {
    const whose = `session ${session} of ${owner} since ${since}`;
    const found = await findRecordMap(cluster, namespace, session, call);
    const said = lease ?? found;
    const record = said === undefined ? undefined : readRecord(said);
    const ownUids = new Set([lease?.metadata?.uid, found?.metadata?.uid]);
    const onlyOurs = ({ metadata }: KubernetesObject): boolean =>
      metadata?.ownerReferences?.every(({ uid }) => ownUids.has(uid)) === true;
    if (record?.stopped !== undefined && record.workload !== undefined) {
      const { kind, name } = record.workload;
      const object = describe({ kind: kind as WorkloadKind, name });
      const again = {
        verb: 'create',
        object,
        why: `${whose}: the pod as it was`,
        body: { configMap: keptPodName(session) },
      } as const;
      const scaled = { verb: 'scale', object, why: whose, body: { replicas: record.stopped.replicas } } as const;
      actions.push(kind === 'Pod' ? again : scaled);
    }
    for (const service of await cluster.list(services, { ...call, namespace })) {
      const original = readOriginal(service);
      if (original?.session === session)
        actions.push({
          verb: 'patch',
          object: `services/${service.metadata?.name}`,
          why: whose,
          body: [...restorePatch(service, original), ...forgetPatch(service, original)],
        });
    }
    const labelSelector = `${sessionLabel}=${session}`;
    for (const resource of ownedBySession) {
      for (const object of await cluster.list(resource, { ...call, namespace, labelSelector })) {
        actions.push({ verb: 'delete', object: `${resource.plural}/${object.metadata?.name}`, why: whose });
      }
    }
    for (const map of await cluster.list(configMaps, {
      ...call,
      namespace,
      labelSelector: 'app.kubernetes.io/managed-by=bowline',
    })) {
      if (onlyOurs(map) || map.metadata?.uid === found?.metadata?.uid)
        actions.push({ verb: 'delete', object: `configmaps/${map.metadata?.name}`, why: whose });
    }
    const account = await cluster.find(serviceAccounts, keeperName, namespace, call).catch(() => undefined);
    if (account !== undefined && onlyOurs(account))
      actions.push({
        verb: 'delete',
        object: `serviceaccounts/${keeperName}`,
        why: `${whose}: the keeper, and what it owns`,
      });
    if (lease !== undefined) actions.push({ verb: 'delete', object: `leases/${lease.metadata?.name}`, why: whose });
  }
  return { actions, warnings: [] };
}

export async function restoreAll(
  cluster: Cluster,
  request: RestoreRequest,
  restorer: Restorer,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<string[]> {
  const namespace = request.namespace ?? cluster.defaultNamespace;
  const call: CallOptions = { signal };
  const started = performance.now();
  const onStep = (step: string, message: string): void =>
    onProgress({ type: 'step', step, message, seconds: Math.round(performance.now() - started) / 1000 });
  const done: string[] = [];
  const failed: string[] = [];
  for (const { session, lease, owner } of await leftovers(cluster, namespace, request.all, restorer, call)) {
    onStep('session', `restoring session ${session} of ${owner}`);
    try {
      const holder = holderForRestore(restorer.identity);
      const claimed = lease === undefined ? undefined : await claimLease(cluster, lease, holder, call);
      if (lease !== undefined && claimed === undefined) {
        throw new BowlineError('CHANGED_MEANWHILE', 'its machine gave a sign, or somebody else ends it.');
      }
      const leaseName = claimed?.metadata?.name ?? '';
      done.push(
        ...(await releaseSession(cluster, {
          session,
          holder,
          leaseName,
          namespace,
          drain: 0,
          patience: 60_000,
          signal,
          onStep,
        })),
      );
    } catch (error) {
      signal.throwIfAborted();
      failed.push(`session ${session} of ${owner}: ${BowlineError.from(error).message}`);
    }
  }
  if (failed.length > 0)
    throw new BowlineError('API_ERROR', `Not everything could be restored: ${failed.join('; ')}`, {
      hint: 'Run the command again.',
      details: { restored: done },
    });
  return done;
}
