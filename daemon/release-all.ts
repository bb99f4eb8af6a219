/** Lets go of every connection, all at once and within a bound: the last thing a daemon does. */
import { setTimeout } from 'node:timers/promises';
import { BowlineError } from '../api/errors.ts';
import type { ConnectionManager, OnProgress } from './connections/manager.ts';
import type { Log } from './log.ts';

export interface ReleaseAllOptions {
  manager: ConnectionManager;
  onProgress?: OnProgress;
  log: Log;
  /** Milliseconds; what is not released by then stays saved, and the next daemon goes on with it. */
  bound: number;
}

export async function releaseAll({
  manager,
  onProgress = () => undefined,
  log,
  bound,
}: ReleaseAllOptions): Promise<void> {
  const over = new AbortController();
  const release = async (name: string): Promise<void> => {
    try {
      await manager.disconnect(name, onProgress, over.signal);
    } catch (error) {
      const { code, message } = BowlineError.from(error);
      if (code === 'CONNECTION_NOT_FOUND') return;
      log.error('daemon.release-failed', { connection: name, error });
      onProgress({ type: 'warning', code, message: `${name} was not released: ${message}` });
    }
  };
  const live = manager.list().filter(({ state }) => state !== 'failed' && state !== 'disconnected');
  const all = Promise.all(live.map(({ name }) => release(name))).then(() => true);
  const waited = new AbortController();
  const late = setTimeout(bound, false, { signal: waited.signal }).catch(() => false);
  const done = await Promise.race([all, late]);
  waited.abort();
  if (done) return;
  over.abort(new BowlineError('CANCELLED', 'The daemon had to end before the release was done.'));
  log.warn('daemon.release-unfinished', { connections: live.map(({ name }) => name) });
}
