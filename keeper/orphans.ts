/**
 * Sessions whose Lease somebody deleted: where the machine does not make it again, nobody else will come for them. Nothing
 * that they made has gone with the Lease, for their record map owns it too, so there is time.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { BowlineError } from '../api/errors.ts';
import type { Cluster } from '../daemon/cluster/cluster.ts';
import { configMaps, leases, services } from '../daemon/cluster/resources.ts';
import { keeperHolder, sessionLabel } from '../daemon/redirect/objects.ts';
import { readOriginal, readRecord } from '../daemon/redirect/record.ts';
import { releaseSession } from '../daemon/redirect/release.ts';
import type { KeepOptions } from './keep.ts';

export interface Orphan {
  session: string;
  namespace: string;
}

/** Milliseconds for a machine to make a Lease again; then between two tries, of which each takes twice as long as the one before. */
const patience = { machine: 5_000, first: 500, longest: 60_000 };
/** Milliseconds that stopped originals have to become ready. */
const readyWithin = 60_000;

const keyOf = ({ session, namespace }: Orphan): string => `${namespace}/${session}`;

export class Orphans {
  private readonly cluster: Cluster;
  private readonly options: KeepOptions;
  private readonly known = new Set<string>();

  constructor(cluster: Cluster, options: KeepOptions) {
    this.cluster = cluster;
    this.options = options;
  }

  /** Puts the session back unless it has a Lease again after a while. Never rejects. */
  async lost(orphan: Orphan): Promise<void> {
    this.known.add(keyOf(orphan));
    await this.persist(() => this.restore(orphan), { session: orphan.session }, patience.machine);
    this.known.delete(keyOf(orphan));
  }

  /** Those of which nobody was told, because no keeper was there when their Lease was deleted. Never rejects. */
  find(): Promise<void> {
    return this.persist(async () => {
      for (const orphan of await this.withoutLease()) if (!this.known.has(keyOf(orphan))) void this.lost(orphan);
    }, {});
  }

  private async withoutLease(): Promise<Orphan[]> {
    const { namespace, signal } = this.options;
    const within = { ...(namespace === undefined ? {} : { namespace }), signal };
    // The Leases last: a session has one before it has a map or redirects a Service, and until both are as they were.
    const maps = await this.cluster.list(configMaps, { ...within, labelSelector: sessionLabel });
    const all = await this.cluster.list(services, within);
    const changed = [
      ...maps.map((map) => ({ object: map, session: readRecord(map)?.session })),
      ...all.map((service) => ({ object: service, session: readOriginal(service)?.session })),
    ].flatMap(({ object: { metadata }, session }) =>
      session === undefined ? [] : [{ session, namespace: metadata?.namespace ?? '' }],
    );
    if (changed.length === 0) return [];
    const held = await this.cluster.list(leases, { ...within, labelSelector: sessionLabel });
    const sessions = new Set(held.map(({ metadata }) => metadata?.labels?.[sessionLabel]));
    return changed.filter(({ session }) => !sessions.has(session));
  }

  private async restore({ session, namespace }: Orphan): Promise<void> {
    const { log, signal: end } = this.options;
    const labelSelector = `${sessionLabel}=${session}`;
    if ((await this.cluster.list(leases, { namespace, labelSelector, signal: end })).length > 0) return;
    const done = await releaseSession(this.cluster, {
      session,
      holder: keeperHolder,
      leaseName: '',
      namespace,
      drain: 0,
      patience: readyWithin,
      collect: true,
      signal: AbortSignal.any([end, AbortSignal.timeout(2 * readyWithin)]),
      onStep: (step) => log.info('keeper.step', { session, step }),
    });
    if (done.length > 0) log.warn('keeper.restored-orphan', { session, done });
  }

  /** Again and again until it succeeds, after `pause` milliseconds at first. */
  private async persist(act: () => Promise<void>, facts: Record<string, unknown>, pause = 0): Promise<void> {
    const { log, signal } = this.options;
    for (let next = patience.first; ; next = Math.min(next * 2, patience.longest)) {
      await delay(pause, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        return await act();
      } catch (error) {
        if (!signal.aborted) log.error('keeper.failed', { ...facts, reason: BowlineError.from(error).message });
      }
      pause = next;
    }
  }
}
