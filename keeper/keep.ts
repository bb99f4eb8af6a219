/**
 * Watches the Leases of a namespace, or of all. What lapses, and what somebody hands over by naming the keeper as its
 * holder, is put back from what the cluster remembers. Nothing is kept here: a keeper that was killed at any point goes on
 * with what it finds.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { V1Lease } from '@kubernetes/client-node';
import { BowlineError } from '../api/errors.ts';
import type { Cluster } from '../daemon/cluster/cluster.ts';
import { leases } from '../daemon/cluster/resources.ts';
import type { Log } from '../daemon/log.ts';
import { claimLease } from '../daemon/redirect/lease.ts';
import { keeperAnnotation, keeperHolder, sessionLabel } from '../daemon/redirect/objects.ts';
import { releaseSession } from '../daemon/redirect/release.ts';
import { Orphans } from './orphans.ts';
import { leaseKey, Silences } from './silence.ts';

export interface KeepOptions {
  /** Undefined: all. */
  namespace: string | undefined;
  log: Log;
  signal: AbortSignal;
}

/** Milliseconds that stopped originals have to become ready before their Services are led back to them. */
const patience = 60_000;
const annotationPath = `/metadata/annotations/${keeperAnnotation.replace('/', '~1')}`;

/** Ends only with the signal. */
export async function keep(cluster: Cluster, options: KeepOptions): Promise<void> {
  const { namespace, log, signal } = options;
  const silences = new Silences();
  const restoring = new Set<string>();
  const orphans = new Orphans(cluster, options);
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
    const holder = seen.spec?.holderIdentity;
    for (let pause = 200; !signal.aborted; pause = Math.min(pause * 2, 5000)) {
      try {
        const claimed = await claimLease(cluster, seen, keeperHolder, { signal });
        if (claimed === undefined) break; // it was renewed, or somebody else ends it
        seen = claimed;
        log.warn('keeper.restoring', { lease: key, session, holder });
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
        void orphans.find();
      } else if (event.type === 'deleted') {
        silences.forget(event.object);
        const { labels, namespace: where = '' } = event.object.metadata ?? {};
        const session = labels?.[sessionLabel];
        if (session !== undefined) void orphans.lost({ session, namespace: where });
      } else {
        see(event.object);
      }
      arm();
    }
  } finally {
    clearTimeout(timer);
  }
}
