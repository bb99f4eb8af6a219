/**
 * What goes on in the cluster beside the tunnels while a connection stands: its Lease is renewed, and others' hands on
 * the Lease or on a redirected Service are noticed. Owns nothing; ends with the signal.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { V1Lease } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { leases, services } from '../cluster/resources.ts';
import type { Log } from '../log.ts';
import { renewLease } from '../redirect/lease.ts';
import { keeperAnnotation, keeperHolder, originalsServiceName, sessionLabel } from '../redirect/objects.ts';
import type { Session } from './session.ts';

/**
 * Why a session is not ours any more, or `undefined`: the Lease is the session, and its holder has it. `silent`:
 * milliseconds since it was renewed last; what was silent for longer than its lapse may have been restored by a keeper.
 */
export function lossOf(session: Session, lease: V1Lease | undefined, silent: number): BowlineError | undefined {
  const { id, holder: own, name, request, namespace } = session;
  const ours = lease?.metadata?.labels?.[sessionLabel] === id;
  const holder = lease?.spec?.holderIdentity ?? '';
  if (ours && holder === own) return undefined;
  if (ours ? holder === keeperHolder : silent > request.lapseSeconds * 1000) {
    return new BowlineError(
      'SESSION_LAPSED',
      `${name} gave no sign for ${request.lapseSeconds} s (asleep, offline or stopped), so everything of it was put back in the cluster.`,
      { hint: 'Connect again if you still need it.' },
    );
  }
  const owner = holder.slice(0, holder.lastIndexOf('/'));
  if (lease === undefined || holder.endsWith('/restore')) {
    return new BowlineError(
      'CONNECTION_NOT_FOUND',
      `The session of ${name} is no longer in the cluster: ${lease === undefined ? 'its Lease was deleted, or it' : 'it'} was restored from elsewhere${owner === '' ? '' : ` by ${owner}`}.`,
      { hint: 'Connect again if you still need it.' },
    );
  }
  return new BowlineError('TAKEN_OVER', `${name} was taken over by ${owner}.`, {
    hint: `Its requests go there now. \`bowline list -n ${namespace}\` shows who has what; --wait connects when it is free again.`,
    details: { holder: owner },
  });
}

export interface LeaseWatch {
  /** As it is now: its Lease may have been made again. */
  session(): Session;
  /** Milliseconds since the Lease was last renewed; sleep of the machine counts. */
  silent(): number;
  onRenewed(): void;
  /** It could not be renewed and is tried again: no network, no login, or more. */
  onTrouble(): void;
  /** There is no Lease any more. */
  onGone(): void;
  /** The session is not ours any more; `loss` says why. */
  onLoss(loss: BowlineError): void;
  /** A keeper watches the Lease, and says which. */
  onKeeper(keeper: string): void;
}

/** Renews the Lease, and sees at once when it is somebody else's or gone. */
export async function keepLease(cluster: Cluster, log: Log, signal: AbortSignal, watch: LeaseWatch): Promise<void> {
  const { leaseName: name, namespace, holder, request } = watch.session();
  /** Four times in the life of a Lease, with jitter; more often while it fails. */
  const renew = async (): Promise<void> => {
    let pause = 0;
    while (!signal.aborted) {
      await delay(pause, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      const spread = 0.9 + Math.random() / 5;
      const interval = (request.lapseSeconds * 1000) / 4;
      try {
        const { leaseUid: uid = '' } = watch.session();
        await renewLease(cluster, { name, namespace, uid, holder }, { signal, timeout: Math.min(interval, 15_000) });
        watch.onRenewed();
        pause = interval * spread;
      } catch (error) {
        if (signal.aborted) return;
        pause = Math.min(interval, 2000) * spread;
        log.warn('renew-failed', { connection: watch.session().name, reason: BowlineError.from(error).message });
        watch.onTrouble();
        const lease = await cluster.find(leases, name, namespace, { signal }).catch(() => 'unknown' as const);
        if (lease !== 'unknown') judge(lease, watch);
      }
    }
  };
  await Promise.all([renew(), watchLease(cluster, log, watch, signal)]);
}

function judge(lease: V1Lease | undefined, watch: LeaseWatch): void {
  if (lease === undefined) return watch.onGone();
  const loss = lossOf(watch.session(), lease, watch.silent());
  if (loss !== undefined) watch.onLoss(loss);
}

async function watchLease(cluster: Cluster, log: Log, to: LeaseWatch, signal: AbortSignal): Promise<void> {
  const session = to.session();
  const place = { namespace: session.namespace, fieldSelector: `metadata.name=${session.leaseName}` };
  try {
    for await (const event of cluster.watch(leases, { ...place, signal })) {
      if (event.type === 'trouble') continue;
      const lease = event.type === 'reset' ? event.objects[0] : event.type === 'deleted' ? undefined : event.object;
      const keeper = lease?.metadata?.annotations?.[keeperAnnotation];
      if (keeper !== undefined) to.onKeeper(keeper);
      judge(lease, to);
    }
  } catch (error) {
    if (!signal.aborted) log.warn('notice-ended', { connection: session.name, reason: String(error) });
  }
}

/**
 * Calls `onTaken` when a redirected Service no longer leads to the agent, or the way to the originals was deleted, so that it is
 * not found only by the next proof.
 */
export async function noticeTakeovers(
  cluster: Cluster,
  session: Session,
  log: Log,
  onTaken: () => void,
  signal: AbortSignal,
): Promise<void> {
  const ours = new Set(session.proofs.map(({ service }) => service));
  if (session.target === undefined) return;
  const originals = originalsServiceName(session.id);
  try {
    for await (const event of cluster.watch(services, { namespace: session.namespace, signal })) {
      if (event.type === 'trouble') continue;
      for (const { metadata, spec } of event.type === 'reset' ? event.objects : [event.object]) {
        const gone = event.type === 'deleted' || spec?.selector?.[sessionLabel] !== session.id;
        const { name = '' } = metadata ?? {};
        if ((ours.has(name) && gone) || (name === originals && event.type === 'deleted')) onTaken();
      }
    }
  } catch (error) {
    if (!signal.aborted) log.warn('notice-ended', { connection: session.name, reason: String(error) });
  }
}
