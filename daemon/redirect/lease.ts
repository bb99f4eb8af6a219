/**
 * The Lease of a session (https://kubernetes.io/docs/concepts/architecture/leases/). Its creation decides who has the
 * workload, its holder alone may change what the session made, its renewal says that he is there. Whoever ends a session
 * that is not his becomes its holder first, with what he saw as the precondition: so exactly one does, and the former
 * holder knows that it is not his any more.
 */
import type { V1Lease, V1OwnerReference } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { leases } from '../cluster/resources.ts';
import { holderOfSession, metadata, recordAnnotation, sessionLabel } from './objects.ts';
import { alreadyRedirected } from './refusals.ts';
import type { SessionRecord } from './record.ts';

/** MicroTime of the Kubernetes API: RFC 3339 with six digits. The declared type is what a client would parse it into. */
const microTime = (date: Date): Date => date.toISOString().replace('Z', '000Z') as unknown as Date;

/** `lapse`: seconds without renewal after which the session counts as gone. */
export function leaseObject(namespace: string, name: string, record: SessionRecord, lapse: number): V1Lease {
  const now = microTime(new Date(record.since));
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      ...metadata(record.session, namespace, name),
      annotations: { [recordAnnotation]: JSON.stringify(record) },
    },
    spec: {
      holderIdentity: holderOfSession(record, record.session),
      leaseDurationSeconds: lapse,
      acquireTime: now,
      renewTime: now,
    },
  };
}

export async function createLease(
  cluster: Cluster,
  lease: V1Lease,
  workload: { kind: string; name: string } | undefined,
  options: CallOptions,
): Promise<V1OwnerReference> {
  const { name = '', namespace = '' } = lease.metadata ?? {};
  let made: V1Lease;
  try {
    made = await cluster.create(leases, lease, options);
  } catch (error) {
    const holder = await cluster.find(leases, name, namespace, options);
    if (holder === undefined || workload === undefined) throw error;
    const session = lease.metadata?.labels?.[sessionLabel];
    if (holder.metadata?.labels?.[sessionLabel] !== session) {
      throw alreadyRedirected(workload, holder, await cluster.serverTime(options).catch(() => undefined));
    }
    made = holder; // our own: it was made, only the answer was lost
  }
  return leaseOwner(name, made.metadata?.uid);
}

/** The session's Lease as an owner of its objects. */
export function leaseOwner(name: string, uid = ''): V1OwnerReference {
  return { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', name, uid };
}

export interface HeldLease {
  name: string;
  namespace: string;
  uid: string;
  holder: string;
}

/** Says that the holder is there. CHANGED_MEANWHILE where the Lease is another one or has another holder, 404 where it is gone. */
export function renewLease(cluster: Cluster, held: HeldLease, options: CallOptions): Promise<V1Lease> {
  const body = [
    { op: 'test' as const, path: '/metadata/uid', value: held.uid },
    { op: 'test' as const, path: '/spec/holderIdentity', value: held.holder },
    { op: 'replace' as const, path: '/spec/renewTime', value: microTime(new Date()) },
  ];
  return cluster.patch(leases, held.name, held.namespace, { type: 'json', body }, options);
}

/**
 * Makes `holder` the holder of a Lease as it was seen. `undefined` where it is not so any more: renewed, taken by somebody
 * else, or gone. Holding it already is as good, so that a claim can be made again after a kill.
 */
export async function claimLease(
  cluster: Cluster,
  seen: V1Lease,
  holder: string,
  options: CallOptions,
): Promise<V1Lease | undefined> {
  const { metadata: { name = '', namespace = '', uid } = {}, spec } = seen;
  if (spec?.holderIdentity === holder) return seen;
  const body = [
    { op: 'test' as const, path: '/metadata/uid', value: uid },
    { op: 'test' as const, path: '/spec/holderIdentity', value: spec?.holderIdentity },
    { op: 'test' as const, path: '/spec/renewTime', value: spec?.renewTime },
    { op: 'replace' as const, path: '/spec/holderIdentity', value: holder },
    { op: 'replace' as const, path: '/spec/renewTime', value: microTime(new Date()) },
    { op: 'add' as const, path: '/spec/leaseTransitions', value: (spec?.leaseTransitions ?? 0) + 1 },
  ];
  try {
    return await cluster.patch(leases, name, namespace, { type: 'json', body }, options);
  } catch (error) {
    const { code, details } = BowlineError.from(error);
    if (code === 'CHANGED_MEANWHILE' || details?.['status'] === 404) return undefined;
    throw error;
  }
}
