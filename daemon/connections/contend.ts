/**
 * What a connect can do about a workload that is somebody else's: wait until it is free, or take it over. Both go by the
 * session that the refusal names.
 */
import { BowlineError } from '../../api/errors.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { leases } from '../cluster/resources.ts';
import { claimLease } from '../redirect/lease.ts';
import { holderForTakeOver, sessionLabel, type Identity } from '../redirect/objects.ts';
import { releaseSession } from '../redirect/release.ts';

export interface Contended {
  namespace: string;
  session: string;
  /** Who has it, in a sentence. */
  message: string;
}

/** What an ALREADY_REDIRECTED is about. */
export function contendedBy(error: BowlineError): Contended | undefined {
  const { session, namespace } = error.details ?? {};
  if (error.code !== 'ALREADY_REDIRECTED' || typeof session !== 'string' || typeof namespace !== 'string') {
    return undefined;
  }
  return { session, namespace, message: error.message };
}

export interface ContendOptions {
  signal: AbortSignal;
  onStep: (step: string, message: string) => void;
}

/** Resolves when the session is over; throws WAIT_TIMEOUT when it is not within `seconds`. */
export async function waitUntilFree(
  cluster: Cluster,
  { namespace, session, message }: Contended,
  { seconds, signal, onStep }: ContendOptions & { seconds: number },
): Promise<void> {
  onStep('wait', `waiting up to ${Math.round(seconds)} s until it is free: ${message}`);
  const late = AbortSignal.timeout(Math.round(seconds * 1000));
  const either = AbortSignal.any([signal, late]);
  const labelSelector = `${sessionLabel}=${session}`;
  try {
    for await (const event of cluster.watch(leases, { namespace, labelSelector, signal: either })) {
      if (event.type === 'deleted' || (event.type === 'reset' && event.objects.length === 0)) return;
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!late.aborted) throw error;
    throw new BowlineError('WAIT_TIMEOUT', `It did not become free in time. ${message}`, {
      hint: 'Wait longer with --wait-timeout SECONDS, or ask the owner.',
      details: { namespace, session },
    });
  }
}

/** Milliseconds that a release may take, beside starting the originals. */
const releaseLimit = 60_000;

/**
 * Ends somebody else's session in his place. As soon as its Lease is ours he knows that it is not his any more, and lets go
 * too; both do only what is left to be done.
 */
export async function takeOver(
  cluster: Cluster,
  { namespace, session }: Contended,
  { identity, patience, signal, onStep }: ContendOptions & { identity: Identity; patience: number },
): Promise<void> {
  const holder = holderForTakeOver(identity);
  for (let attempt = 0; ; attempt++) {
    const labelSelector = `${sessionLabel}=${session}`;
    const [lease] = await cluster.list(leases, { signal, namespace, labelSelector });
    const held = lease?.spec?.holderIdentity ?? '';
    onStep('take-over', lease === undefined ? `putting back session ${session}` : `taking over from ${held}`);
    const claimed = lease === undefined ? undefined : await claimLease(cluster, lease, holder, { signal });
    if (lease !== undefined && claimed === undefined) {
      if (attempt < 5) continue; // renewed between look and claim, or somebody else was faster
      throw new BowlineError('CHANGED_MEANWHILE', `The Lease of session ${session} changes all the time.`, {
        hint: 'Run the command again.',
      });
    }
    const leaseName = claimed?.metadata?.name ?? '';
    // Not cut off by the caller: from here on nobody else puts it back but a keeper.
    const limit = AbortSignal.timeout(patience + releaseLimit);
    await releaseSession(cluster, { session, holder, leaseName, namespace, drain: 0, patience, signal: limit, onStep });
    if (signal.aborted)
      throw new BowlineError(
        'CANCELLED',
        `Cancelled. Session ${session}, which had the workload, was ended and put back before; nothing is connected.`,
      );
    return;
  }
}
