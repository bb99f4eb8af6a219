/**
 * What somebody deleted or changed of a session that still is ours: its Lease, the way to the originals and the agent's Secret
 * are made again as they were, a Service with another selector is his, and without its ReplicaSet the session is lost, to be connected
 * anew. Owns nothing.
 */
import type { V1Lease } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';
import { leases, replicaSets, services } from '../cluster/resources.ts';
import { createLease, leaseObject } from '../redirect/lease.ts';
import { originalsServiceName, sessionLabel, sessionObjectName } from '../redirect/objects.ts';
import { readOriginal, readRecord } from '../redirect/record.ts';
import { restoreService } from '../redirect/services.ts';
import { createOriginalsService, createSecret, originalsService, sessionSecret } from '../redirect/session-objects.ts';
import { findRecordMap, sessionOwners } from '../redirect/session-record.ts';
import type { Tie } from './tie.ts';
import { lossOf } from './upkeep.ts';

export interface Mended extends Tie {
  /** Milliseconds since the Lease was last renewed; sleep of the machine counts. */
  silent(): number;
  /** The session is not ours any more, or cannot go on. */
  lose(loss: BowlineError): void;
  /** The Lease was made again. */
  saveLease(uid: string): Promise<void>;
  /** Saved before what is left of ours on these Services goes: they are somebody else's from here on. */
  saveYielded(services: string[]): Promise<void>;
}

/** Throws when `signal` is aborted, also by the loss that is found here. `timeout` in milliseconds. */
export async function confirmOurs(tie: Mended, signal: AbortSignal, timeout = 15_000): Promise<void> {
  const { cluster, session } = tie;
  const find = (): Promise<V1Lease | undefined> =>
    cluster.find(leases, session.leaseName, session.namespace, { signal, timeout });
  let lease = await find();
  if (lease === undefined) {
    if (await mendLease(tie, { signal, timeout })) return;
    lease = await find();
  }
  const loss = lossOf(session, lease, tie.silent());
  if (loss !== undefined) tie.lose(loss);
  signal.throwIfAborted();
}

/**
 * Makes the Lease again that somebody deleted, from what the record map says. False where there is nothing to make it from, as
 * whoever ends a session removes the map first; where somebody else has the workload by now; after a lapse.
 */
async function mendLease(tie: Mended, options: { signal: AbortSignal; timeout: number }): Promise<boolean> {
  const { cluster, session, log } = tie;
  const { id, namespace, leaseName, target, request } = session;
  if (tie.silent() > request.lapseSeconds * 1000) return false;
  const map = await findRecordMap(cluster, namespace, id, options);
  const record = map === undefined ? undefined : readRecord(map);
  if (record === undefined) return false;
  options.signal.throwIfAborted();
  try {
    const lease = leaseObject(namespace, leaseName, record, request.lapseSeconds);
    const { uid } = await createLease(cluster, lease, target, {}); // not cut off half way: a release waits for it
    await tie.saveLease(uid);
  } catch (error) {
    if (BowlineError.from(error).code === 'ALREADY_REDIRECTED') return false;
    throw error;
  }
  log.warn('lease-made-again', { connection: tie.name });
  return true;
}

/**
 * A Service to which somebody gave another selector is his. What is left of ours on it goes at once: with not-ready addresses
 * published, the agent would be an endpoint beside the originals.
 */
export async function yieldServices(tie: Mended, signal: AbortSignal): Promise<void> {
  const { cluster, session, log } = tie;
  const { id, namespace, proofs } = session;
  for (const { service: name } of proofs) {
    const found = await cluster.find(services, name, namespace, { signal });
    const ours = found !== undefined && readOriginal(found)?.session === id;
    if (!ours || found.spec?.selector?.[sessionLabel] === id) continue;
    // Whoever ends the session puts it back in the same two steps.
    await confirmOurs(tie, signal);
    const { yielded = [] } = tie.session;
    if (!yielded.includes(name)) await tie.saveYielded([...yielded, name]);
    await restoreService(cluster, name, namespace, id, {});
    log.warn('service-yielded', { connection: tie.name, service: name });
  }
}

/** The agent knows the originals by one address: only a Service with that one helps. Throws CHANGED_MEANWHILE where there is none. */
export async function mendOriginals(tie: Mended, signal: AbortSignal): Promise<void> {
  const { cluster, session, log } = tie;
  const { id, namespace, made } = session;
  if (made?.originals === undefined) return;
  const { address, selector } = made.originals;
  const name = originalsServiceName(id);
  const found = await cluster.find(services, name, namespace, { signal });
  if (found?.spec?.clusterIP === address) return;
  // Whoever ends the session removes it too, and must not find it again.
  await confirmOurs(tie, signal);
  const cannot = (what: string, cause?: unknown): BowlineError =>
    new BowlineError('CHANGED_MEANWHILE', `Service ${name} in namespace ${namespace} ${what}`, {
      hint: `Until it is there with the address ${address}, the originals cannot be reached through the agent: ports that were not asked for do not answer. Disconnect, and connect again.`,
      cause,
    });
  if (found !== undefined) throw cannot('was made again by somebody else, with another address.');
  const owners = await sessionOwners(cluster, tie.session, { signal });
  const service = originalsService(id, namespace, selector, { agentPorts: made.ports }, owners, address);
  try {
    await createOriginalsService(cluster, service, {}); // not cut off half way: a release waits for it, and then removes it
  } catch (error) {
    throw cannot(`was deleted by somebody, and cannot be made again: ${BowlineError.from(error).message}`, error);
  }
  log.warn('originals-service-made-again', { connection: tie.name });
}

/** What the agent's next pod needs. */
export async function mendAgent(tie: Mended, signal: AbortSignal): Promise<void> {
  const { cluster, session, log } = tie;
  const { id, namespace, credentials, controlPort, made } = session;
  const name = sessionObjectName(id);
  const set = await cluster.find(replicaSets, name, namespace, { signal });
  if (set === undefined || set.metadata?.deletionTimestamp !== undefined) {
    await confirmOurs(tie, signal);
    tie.lose(
      new BowlineError(
        'CHANGED_MEANWHILE',
        `ReplicaSet ${name} in namespace ${namespace}, which makes the agent of ${tie.name}, was deleted by somebody.`,
        { hint: 'Connect again if you still need it.' },
      ),
    );
    signal.throwIfAborted();
  }
  if (made === undefined) return;
  const { ports, originals } = made;
  const agent = {
    session: id,
    controlPort,
    ports,
    ...(originals === undefined ? {} : { originals: originals.address }),
  };
  try {
    // To read one is a right that nobody needs else: that it cannot be made says that it is there.
    const owners = await sessionOwners(cluster, tie.session, { signal });
    await createSecret(cluster, sessionSecret(id, namespace, credentials, agent, owners), {});
    log.warn('secret-made-again', { connection: tie.name });
  } catch (error) {
    const cause = BowlineError.from(error);
    if (cause.details?.['reason'] !== 'AlreadyExists') throw cause;
  }
}
