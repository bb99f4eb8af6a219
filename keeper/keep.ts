/**
 * Watches the Leases of a namespace, or of all. What lapses, and what somebody hands over by naming the keeper as its
 * holder, is put back from what the cluster remembers. Nothing is kept here: a keeper that was killed at any point goes on
 * with what it finds.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { V1Lease } from '@kubernetes/client-node';
import { BowlineError } from '../api/errors.ts';
import type { Cluster } from '../daemon/cluster/cluster.ts';
import { leases, services } from '../daemon/cluster/resources.ts';
import type { Log } from '../daemon/log.ts';
import { claimLease } from '../daemon/redirect/lease.ts';
import { keeperAnnotation, keeperHolder, sessionLabel } from '../daemon/redirect/objects.ts';
import { readOriginal } from '../daemon/redirect/record.ts';
import { releaseSession } from '../daemon/redirect/release.ts';
import { leaseKey, Silences } from './silence.ts';

export interface KeepOptions {
  /** Undefined: all. */
  namespace: string | undefined;
  log: Log;
  signal: AbortSignal;
}

/** Milliseconds that stopped originals have to become ready before their Services are led back to them. */
const patience = 60_000;
/** Milliseconds for a machine to make a Lease again that somebody deleted. */
const orphanPatience = 5_000;
const annotationPath = `/metadata/annotations/${keeperAnnotation.replace('/', '~1')}`;

/** Ends only with the signal. */
export async function keep(cluster: Cluster, { namespace, log, signal }: KeepOptions): Promise<void> {
  const silences = new Silences();
  const restoring = new Set<string>();
  const selected = {
    labelSelector: 'app.kubernetes.io/managed-by=bowline',
    ...(namespace === undefined ? {} : { namespace }),
  };
  const scope = namespace === undefined ? 'cluster' : 'namespace';
  let timer: NodeJS.Timeout | undefined;
  let deaf = false;

  /** Puts back one session, again and again until it is done or somebody else's. */
  const restore = async (seen: V1Lease): Promise<void> => {
    const key = leaseKey(seen);
    if (restoring.has(key)) return;
    restoring.add(key);
    const { name = '', namespace: where = '', labels } = seen.metadata ?? {};
    const session = labels?.[sessionLabel] ?? '';
    for (let pause = 200; !signal.aborted; pause = Math.min(pause * 2, 5000)) {
      try {
        const claimed = await claimLease(cluster, seen, keeperHolder, { signal });
        if (claimed === undefined) break; // it was renewed, or somebody else ends it
        log.warn('keeper.restoring', { lease: key, session, holder: seen.spec?.holderIdentity });
        const onStep = (step: string): void => log.info('keeper.step', { session, step });
        const limit = AbortSignal.any([signal, AbortSignal.timeout(2 * patience)]);
        const done = await releaseSession(cluster, {
          session,
          holder: keeperHolder,
          leaseName: name,
          namespace: where,
          drain: 0,
          patience,
          collect: true,
          signal: limit,
          onStep,
        });
        log.info('keeper.restored', { lease: key, session, done });
        break;
      } catch (error) {
        if (signal.aborted) break;
        log.error('keeper.failed', { lease: key, session, reason: BowlineError.from(error).message });
        await delay(pause, undefined, { signal }).catch(() => undefined);
        // The claim may have come through without its answer.
        seen = (await cluster.find(leases, name, where, { signal }).catch(() => undefined)) ?? seen;
        if (seen.spec?.holderIdentity !== keeperHolder) break;
      }
    }
    restoring.delete(key);
    arm();
  };

  /**
   * A session whose Lease somebody deleted: where its machine does not make it again, nobody else will come for it. Nothing
   * that it made has gone with the Lease, so there is time.
   */
  const restoreOrphan = async (session: string, where: string): Promise<void> => {
    await delay(orphanPatience, undefined, { signal });
    const labelSelector = `${sessionLabel}=${session}`;
    if ((await cluster.list(leases, { namespace: where, labelSelector, signal })).length > 0) return;
    const options = { session, namespace: where, holder: keeperHolder, leaseName: '', drain: 0, patience, signal };
    const done = await releaseSession(cluster, { ...options, collect: true, onStep: () => undefined });
    if (done.length > 0) log.warn('keeper.restored-orphan', { session, done });
  };
  const orphan = (session: string, where: string): void => {
    void restoreOrphan(session, where).catch((error: unknown) => {
      if (!signal.aborted) log.error('keeper.failed', { session, reason: BowlineError.from(error).message });
    });
  };
  /** Those of which nobody was told: their Lease was deleted while no keeper was there. */
  const findOrphans = async (): Promise<void> => {
    const within = namespace === undefined ? {} : { namespace };
    // In this order: a Lease is there before its Services are redirected, and until they are put back.
    const redirected = (await cluster.list(services, { ...within, signal })).flatMap((service) => {
      const session = readOriginal(service)?.session;
      return session === undefined ? [] : [{ session, namespace: service.metadata?.namespace ?? '' }];
    });
    if (redirected.length === 0) return;
    const held = (await cluster.list(leases, { ...within, signal })).map(({ metadata }) => metadata?.labels);
    const known = new Set(held.map((labels) => labels?.[sessionLabel]));
    for (const each of redirected) if (!known.has(each.session)) orphan(each.session, each.namespace);
  };

  /** Says on the Lease that somebody watches it: for its holder the proof that a keeper works. */
  const mark = async (lease: V1Lease): Promise<void> => {
    const { name = '', namespace: where = '', uid, annotations } = lease.metadata ?? {};
    if (annotations?.[keeperAnnotation] !== undefined) return;
    const body = [
      { op: 'test' as const, path: '/metadata/uid', value: uid },
      ...(annotations === undefined ? [{ op: 'add' as const, path: '/metadata/annotations', value: {} }] : []),
      { op: 'add' as const, path: annotationPath, value: scope },
    ];
    // It is tried again with its next renewal.
    await cluster.patch(leases, name, where, { type: 'json', body }, { signal }).catch(() => undefined);
  };

  const see = (lease: V1Lease): void => {
    if (lease.metadata?.labels?.[sessionLabel] === undefined) return;
    silences.see(lease, performance.now());
    if (lease.spec?.holderIdentity === keeperHolder) void restore(lease);
    else void mark(lease);
  };

  /** Until the API server answers again, nobody is judged: a watch that is taken up again does not say when it hears. */
  const listenAgain = async (): Promise<void> => {
    if (deaf) return;
    deaf = true;
    while (!signal.aborted) {
      const all = await cluster.list(leases, { ...selected, signal, timeout: 5000 }).catch(() => undefined);
      if (all !== undefined) {
        silences.retain(all);
        all.forEach(see);
        break;
      }
      await delay(500, undefined, { signal }).catch(() => undefined);
    }
    silences.forgive(performance.now());
    deaf = false;
    arm();
  };

  const arm = (): void => {
    clearTimeout(timer);
    if (signal.aborted || deaf) return;
    timer = setTimeout(
      () => {
        for (const lease of silences.lapsed(performance.now())) void restore(lease);
        // What is being restored stays lapsed until its Lease is gone.
        arm();
      },
      Math.max(200, silences.next(performance.now())),
    );
  };

  arm();
  try {
    for await (const event of cluster.watch(leases, { ...selected, signal })) {
      if (event.type === 'trouble') {
        log.warn('keeper.watch-broken', { reason: event.reason });
        void listenAgain();
      } else if (event.type === 'reset') {
        silences.retain(event.objects);
        event.objects.forEach(see);
        void findOrphans().catch((error: unknown) => {
          if (!signal.aborted) log.error('keeper.failed', { reason: BowlineError.from(error).message });
        });
      } else if (event.type === 'deleted') {
        silences.forget(event.object);
        const { labels, namespace: where = '' } = event.object.metadata ?? {};
        const session = labels?.[sessionLabel];
        if (session !== undefined) orphan(session, where);
      } else {
        see(event.object);
      }
      arm();
    }
  } finally {
    clearTimeout(timer);
  }
}
