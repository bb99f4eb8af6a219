/**
 * What goes on in the cluster beside the tunnels while a connection stands: its Lease is renewed, and others' hands on
 * the Lease or on a redirected Service are noticed. Owns nothing; ends with the signal.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { BowlineError } from '../../api/errors.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { leases, services } from '../cluster/resources.ts';
import type { Log } from '../log.ts';
import { sessionLabel } from '../redirect/objects.ts';
import { leaseSeconds, microTime } from '../redirect/session-objects.ts';
import type { Session } from './session.ts';

/** The Lease is the session: without it somebody restored the workload, and it is not ours any more. */
export async function checkLease(cluster: Cluster, session: Session, signal: AbortSignal): Promise<void> {
  const { leaseName, leaseUid, namespace, name } = session;
  const lease = await cluster.find(leases, leaseName, namespace, { signal });
  if (lease !== undefined && (leaseUid === undefined || lease.metadata?.uid === leaseUid)) return;
  throw new BowlineError(
    'CONNECTION_NOT_FOUND',
    `The session of ${name} is no longer in the cluster: it was restored from elsewhere.`,
    { hint: 'Connect again if you still need it.' },
  );
}

/** Four times in the life of a Lease. One of the same name that is another session's is not touched. */
export async function renewLease(cluster: Cluster, session: Session, log: Log, signal: AbortSignal): Promise<void> {
  const { leaseName, leaseUid, namespace, name } = session;
  while (!signal.aborted) {
    const pause = (leaseSeconds * 1000 * (0.9 + Math.random() / 5)) / 4;
    await delay(pause, undefined, { signal, ref: false }).catch(() => undefined);
    if (signal.aborted) return;
    const body = [
      { op: 'test' as const, path: '/metadata/uid', value: leaseUid },
      { op: 'replace' as const, path: '/spec/renewTime', value: microTime(new Date()) },
    ];
    await cluster.patch(leases, leaseName, namespace, { type: 'json', body }, { signal }).catch((error: unknown) => {
      if (!signal.aborted) log.warn('renew-failed', { connection: name, reason: BowlineError.from(error).message });
    });
  }
}

/** Calls `onTaken` when a redirected Service no longer leads to the agent, so that it is not found only by the next proof. */
export async function noticeTakeovers(
  cluster: Cluster,
  session: Session,
  log: Log,
  onTaken: () => void,
  signal: AbortSignal,
): Promise<void> {
  const ours = new Set(session.proofs.map(({ service }) => service));
  if (ours.size === 0) return;
  try {
    for await (const event of cluster.watch(services, { namespace: session.namespace, signal })) {
      if (event.type === 'trouble') continue;
      for (const { metadata, spec } of event.type === 'reset' ? event.objects : [event.object]) {
        const gone = event.type === 'deleted' || spec?.selector?.[sessionLabel] !== session.id;
        if (ours.has(metadata?.name ?? '') && gone) onTaken();
      }
    }
  } catch (error) {
    if (!signal.aborted) log.warn('notice-ended', { connection: session.name, reason: String(error) });
  }
}
