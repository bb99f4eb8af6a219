/**
 * The parts of a daemon that act on the world, so that each act says when it is done. Nothing else of the daemon knows of
 * crash points, so no act can be forgotten, and without them nothing is wrapped.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster } from '../cluster/cluster.ts';
import type { SessionStore } from '../connections/session.ts';
import type { ConnectHelper } from '../names/helper-link.ts';
import type { JsonFile } from '../state/json-files.ts';
import type { Made } from '../volumes/registry.ts';
import { pointOfCreate, pointOfDelete, pointOfPatch, type CrashPoint } from './points.ts';

export interface CrashPoints {
  cluster(cluster: Cluster): Cluster;
  sessions(store: SessionStore): SessionStore;
  files(file: JsonFile<Made>): JsonFile<Made>;
  helper(connect: ConnectHelper): ConnectHelper;
}

/** `folder`: where a test looks and halts; `undefined` for everybody else, and then everything stays as it is. */
export function crashPointsOf(folder: string | undefined): CrashPoints {
  return folder === undefined ? none : watched((point) => reach(folder, point));
}

const none: CrashPoints = {
  cluster: (cluster) => cluster,
  sessions: (store) => store,
  files: (file) => file,
  helper: (connect) => connect,
};

/** Writes the point's name into the folder, and stays there while the folder has `NAME.halt`. */
async function reach(folder: string, point: CrashPoint | undefined): Promise<void> {
  if (point === undefined) return;
  writeFileSync(join(folder, point), '');
  while (existsSync(join(folder, `${point}.halt`))) await delay(10);
}

function watched(reached: (point: CrashPoint | undefined) => Promise<void>): CrashPoints {
  /** What the act answers, once its point may be left. */
  const after = async <T>(act: Promise<T>, point: CrashPoint | undefined): Promise<T> => {
    const answer = await act;
    await reached(point);
    return answer;
  };
  return {
    cluster: (cluster) =>
      Object.assign(Object.create(cluster) as Cluster, {
        create: (...[resource, body, options]: Parameters<Cluster['create']>) =>
          after(cluster.create(resource, body, options), pointOfCreate(resource, body.metadata?.name ?? '')),
        patch: (...[resource, name, namespace, patch, options]: Parameters<Cluster['patch']>) =>
          after(cluster.patch(resource, name, namespace, patch, options), pointOfPatch(resource, patch)),
        delete: (...[resource, name, namespace, options]: Parameters<Cluster['delete']>) =>
          after(cluster.delete(resource, name, namespace, options), pointOfDelete(resource, name)),
        openPipe: (...[pod, path, options]: Parameters<Cluster['openPipe']>) =>
          after(cluster.openPipe(pod, path, options), path === 'inbound' ? 'tunnels-opened' : undefined),
      } satisfies Partial<Record<keyof Cluster, unknown>>),
    sessions: (store) => ({
      load: () => store.load(),
      save: (id, session) =>
        after(
          store.save(id, session),
          session.phase !== 'connecting'
            ? `${session.phase}-saved`
            : session.leaseUid === undefined
              ? 'session-saved'
              : 'lease-saved',
        ),
      remove: (id) => after(store.remove(id), 'session-forgotten'),
    }),
    files: (file) => ({
      load: () => file.load(),
      save: (made) => after(file.save(made), Object.keys(made).length > 0 ? 'files-noted' : 'files-forgotten'),
      remove: () => file.remove(),
    }),
    helper: (connect) => async (signal) => {
      const client = await connect(signal);
      return Object.assign(Object.create(client) as typeof client, {
        apply: (...[desired]: Parameters<typeof client.apply>) =>
          after(client.apply(desired), desired.hosts.length > 0 ? 'names-applied' : 'names-removed'),
        release: () => after(client.release(), 'names-removed'),
      });
    },
  };
}
