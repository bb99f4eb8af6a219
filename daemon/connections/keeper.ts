/**
 * Whether somebody puts everything back when this machine is gone: a keeper that an administrator installed for the whole
 * cluster, else one of the namespace, else nobody. That one works is not believed but seen: it marks the session's Lease, and
 * marks it again whenever it is asked.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { V1Lease, V1OwnerReference } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';
import type { Connection, KeeperStatus, Warning } from '../../api/schema.ts';
import { productVersion } from '../../api/version.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { leases, replicaSets } from '../cluster/resources.ts';
import { askKeeper, ensureKeeper, hasKeeper } from '../redirect/keeper.ts';
import type { KeeperCode } from '../redirect/keeper-objects.ts';
import { leaseObject } from '../redirect/lease.ts';
import { keeperAnnotation, keeperLabel, leaseName, sessionObjectName, type Identity } from '../redirect/objects.ts';
import { sessionOwners } from '../redirect/session-record.ts';
import type { Prepared } from './prepare.ts';
import { newSessionId, type Session } from './session.ts';
import type { Tie } from './tie.ts';

const withoutKeeper =
  'While this machine does not answer, the agent passes requests on to the originals, but nobody puts the Services back until `bowline restore`.';

export interface ProvideOptions {
  keeperCode: () => Promise<KeeperCode>;
  onWarning: (warning: Warning) => void;
  signal: AbortSignal;
}

export interface ProvidedKeeper {
  /** It is known whether there can be one, and what that means was said; throws KEEPER_MISSING where none is bearable. */
  known: Promise<void>;
  /** It was put into the cluster, or why not was said. It may not run yet. */
  made: Promise<void>;
}

/** Runs beside the redirect, which does not wait for it. */
export function provideKeeper(
  cluster: Cluster,
  { session, template, mayMakeKeeper }: Prepared,
  lease: V1Lease,
  owners: V1OwnerReference[],
  { keeperCode, onWarning, signal }: ProvideOptions,
): ProvidedKeeper {
  const { namespace, request, image } = session;
  const seen = lease.metadata?.annotations?.[keeperAnnotation];
  const lacking = (why: string): void => onWarning({ code: 'NO_KEEPER', message: `${why} ${withoutKeeper}` });
  const nothing = Promise.resolve();
  if (seen === 'cluster') return { known: nothing, made: nothing };
  if (!mayMakeKeeper && seen === undefined) {
    // One that is there has seen the Lease while the agent was starting.
    const timeout = request.stopOriginal ? 5000 : 500;
    const known = marked(cluster, session, { timeout, signal }).then((found) => {
      if (found !== undefined) return;
      if (request.stopOriginal && !request.withoutKeeper) throw keeperMissing(session, 'You may not make one');
      lacking('No keeper watches this session, and you may not make one (it needs the right to create Roles).');
    });
    return { known, made: known };
  }
  const make = async (): Promise<void> => {
    const { imagePullSecrets } = template.spec ?? {};
    const options = { namespace, scope: 'namespace' as const, image: image.name, code: await keeperCode() };
    const call: CallOptions = {}; // changes are not cut off half way
    await ensureKeeper(cluster, { ...options, ...(imagePullSecrets && { imagePullSecrets }) }, owners, call);
  };
  const made = make().catch((error: unknown) => {
    const why = `No keeper could be made: ${BowlineError.from(error).message}`;
    if (request.stopOriginal && !request.withoutKeeper) throw keeperMissing(session, why.replace(/\.$/, ''));
    lacking(why);
  });
  made.catch(() => undefined); // whoever fails before does not ask any more
  return { known: nothing, made };
}

export interface Kept extends Tie {
  readonly keeper: Connection['keeper'];
  readonly keeperCode: () => Promise<KeeperCode>;
  setKeeper(keeper: Connection['keeper']): void;
}

/** Looks without a mark until a keeper is taken for gone: one that has marked before, and one that may still be starting. */
const looks = { marked: 2, starting: 4 };

/**
 * Asks as often as the Lease is renewed whether a keeper still watches this session, and makes that of the namespace again
 * where it is gone. One that is there and does not work is said to be so, and left to whoever made it so. Ends with the
 * signal, never rejects.
 */
export async function keepKeeper(tie: Kept, signal: AbortSignal): Promise<void> {
  const { cluster, session, log, name } = tie;
  const { namespace, request } = session;
  const isWanted = session.target !== undefined;
  const lacking = (why: string): void => {
    const message = `${why} ${withoutKeeper}`;
    if (tie.session.warnings.some((warning) => warning.message === message)) return;
    log.warn('keeper-failed', { connection: name, reason: message });
    tie.warn({ code: 'NO_KEEPER', message });
    tie.changed('keeper');
  };
  let unmarked = 0;
  for (let wanted = isWanted && !session.warnings.some(({ code }) => code === 'NO_KEEPER'); ;) {
    await delay((request.lapseSeconds * 1000) / 4, undefined, { signal, ref: false }).catch(() => undefined);
    if (signal.aborted) return;
    const { keeper } = tie;
    if (keeper === undefined && !wanted) continue;
    // Whoever cannot look now looks again. A keeper of the cluster has its Deployment where its administrator wants it.
    const there = keeper === 'cluster' || (await hasKeeper(cluster, namespace, { signal }).catch(() => true));
    const { leaseName: held, leaseUid: uid = '', holder } = tie.session; // the Lease may have been made again
    const marked = await askKeeper(cluster, { name: held, namespace, uid, holder }, { signal }).catch(() => undefined);
    if (there) {
      if (marked === undefined) continue;
      unmarked = marked ? 0 : unmarked + 1;
      if (unmarked < (keeper === undefined ? looks.starting : looks.marked)) continue;
    }
    if (signal.aborted) return;
    if (keeper !== undefined) {
      tie.setKeeper(undefined);
      log.warn('keeper-gone', { connection: name, keeper });
    }
    wanted = isWanted;
    if (!wanted) continue;
    if (there) {
      const [whose, where] =
        keeper === 'cluster' ? ['the cluster', '-A'] : [`namespace ${namespace}`, `-n ${namespace}`];
      const find = `kubectl describe replicasets,pods ${where} -l ${keeperLabel}=${keeper ?? 'namespace'}`;
      lacking(`The keeper of ${whose} gives no sign; \`${find}\` may say why.`);
      continue;
    }
    try {
      await makeKeeperAgain(tie, signal);
      unmarked = 0;
      log.info('keeper-made-again', { connection: name });
    } catch (error) {
      if (signal.aborted) return;
      lacking(`No keeper is left in namespace ${namespace}, and none can be made: ${BowlineError.from(error).message}`);
    }
  }
}

async function makeKeeperAgain({ cluster, session, keeperCode }: Kept, signal: AbortSignal): Promise<void> {
  const { id, namespace, image } = session;
  // The agent's pull secrets are the workload's, as they were when the first keeper was made.
  const set = await cluster.find(replicaSets, sessionObjectName(id), namespace, { signal });
  const { imagePullSecrets } = set?.spec?.template?.spec ?? {};
  const options = { namespace, scope: 'namespace' as const, image: image.name, code: await keeperCode() };
  const call: CallOptions = {}; // changes are not cut off half way
  await ensureKeeper(
    cluster,
    { ...options, ...(imagePullSecrets && { imagePullSecrets }) },
    await sessionOwners(cluster, session, { signal }),
    call,
  );
}

/** Until a keeper has marked the session: only then the originals are stopped. */
export async function confirmKeeper(
  cluster: Cluster,
  session: Session,
  options: { timeout: number; signal: AbortSignal; onStep: (step: string, message: string) => void },
): Promise<void> {
  options.onStep('keeper', 'waiting for the keeper, which would start the originals again');
  const found = await marked(cluster, session, options);
  if (found === undefined) throw keeperMissing(session, `It gave no sign within ${options.timeout / 1000} s`);
}

/** Proves that a keeper watches a namespace, with a session of nothing but a Lease. */
export async function keeperStatus(
  cluster: Cluster,
  namespace: string,
  identity: Identity,
  signal: AbortSignal,
): Promise<KeeperStatus> {
  const session = newSessionId();
  const name = leaseName(session);
  const record = { session, ...identity, version: productVersion, since: new Date().toISOString() };
  const began = performance.now();
  await cluster.create(leases, leaseObject(namespace, name, record, 60), { signal });
  try {
    const found = await marked(cluster, { leaseName: name, namespace }, { timeout: 5000, signal });
    if (found !== 'namespace' && found !== 'cluster') return { namespace };
    return { namespace, keeper: found, afterMs: Math.round(performance.now() - began) };
  } finally {
    await cluster.delete(leases, name, namespace);
  }
}

async function marked(
  cluster: Cluster,
  { leaseName: name, namespace }: Pick<Session, 'leaseName' | 'namespace'>,
  { timeout, signal }: { timeout: number; signal: AbortSignal },
): Promise<string | undefined> {
  for (const until = performance.now() + timeout; ;) {
    const lease = await cluster.find(leases, name, namespace, { signal });
    const found = lease?.metadata?.annotations?.[keeperAnnotation];
    if (found !== undefined || performance.now() > until) return found;
    await delay(100, undefined, { signal });
  }
}

const keeperMissing = ({ namespace }: Session, why: string): BowlineError =>
  new BowlineError(
    'KEEPER_MISSING',
    `No keeper in namespace ${namespace} would start the originals again, should this machine vanish. ${why}.`,
    {
      hint: 'Ask an administrator for a keeper (`bowline keeper manifest`), leave out --stop-original, or accept it with --without-keeper.',
    },
  );
