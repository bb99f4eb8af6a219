/**
 * Connections that live only as long as a caller's stream: `bowline connect ... -- COMMAND`. When the stream closes, for
 * whatever reason, the connection is released. Which ones are held is written down, because after a kill of the daemon
 * the caller has a while to come back; if he does not, he is gone too and the connection is released.
 */
import { setTimeout } from 'node:timers/promises';
import { BowlineError } from '../../api/errors.ts';
import type { Connection, HoldLine } from '../../api/schema.ts';
import type { ConnectionManager } from '../connections/manager.ts';
import type { Log } from '../log.ts';
import type { JsonFile } from '../state/json-files.ts';

export interface Holds {
  /** Ties the connection to `signal`: resolves when it aborts or the connection is gone. */
  hold(name: string, send: (line: HoldLine) => void, signal: AbortSignal): Promise<void>;
  /** For what a former daemon's callers held: releases those that nobody takes up in time. */
  awaitReturn(signal: AbortSignal): Promise<void>;
}

export interface HoldsOptions {
  manager: ConnectionManager;
  file: JsonFile<string[]>;
  log: Log;
  /** Milliseconds that a caller has to come back after a restart. */
  graceMilliseconds: number;
  /** Aborts when the daemon ends: then it releases everything itself. */
  ending: AbortSignal;
}

export function createHolds({ manager, file, log, graceMilliseconds, ending }: HoldsOptions): Holds {
  const held = new Map<string, number>();
  /** Held under a former daemon and not taken up yet. */
  let expected = new Set<string>();
  const save = (): Promise<void> =>
    file.save([...held.keys(), ...expected]).catch((error: unknown) => log.error('hold.not-saved', { error }));

  const find = (name: string): Connection => {
    const connection = manager.list().find((connection) => connection.name === name);
    if (connection) return connection;
    throw new BowlineError('CONNECTION_NOT_FOUND', `There is no connection ${name} to hold.`);
  };

  const release = async (name: string, why: string): Promise<void> => {
    if (!manager.list().some((connection) => connection.name === name && connection.state !== 'failed')) return;
    log.info('hold.released', { connection: name, why });
    try {
      await manager.disconnect(name, () => undefined, new AbortController().signal);
    } catch (error) {
      if (BowlineError.from(error).code !== 'CONNECTION_NOT_FOUND')
        log.error('hold.release-failed', { connection: name, error });
    }
  };

  /** One holder less; the last one takes the connection with him. */
  const drop = async (name: string): Promise<void> => {
    const others = (held.get(name) ?? 1) - 1;
    if (others > 0) held.set(name, others);
    else held.delete(name);
    if (others === 0 && !ending.aborted) await release(name, 'its command is gone');
    await save();
  };

  return {
    async hold(name, send, signal) {
      find(name);
      expected.delete(name);
      held.set(name, (held.get(name) ?? 0) + 1);
      // Before the caller is told: a daemon that is killed after that must know of the hold at its next start.
      await save();
      const connection = manager.list().find((each) => each.name === name);
      if (connection === undefined) await drop(name);
      send({ type: 'held', connection: connection ?? find(name) });
      const gone = Promise.withResolvers<void>();
      const unsubscribe = manager.onChange(({ event, connection, removed }) => {
        if (connection?.name === name) send({ type: 'changed', event, connection });
        if (removed === name) {
          send({ type: 'gone', name });
          gone.resolve();
        }
      });
      signal.addEventListener('abort', () => gone.resolve(), { once: true });
      if (signal.aborted) gone.resolve();
      await gone.promise;
      unsubscribe();
      await drop(name);
    },

    async awaitReturn(signal) {
      expected = new Set(await file.load());
      if (expected.size === 0) return;
      await setTimeout(graceMilliseconds, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      log.info('hold.grace-over', { awaited: expected.size });
      const orphans = [...expected].filter((name) => !held.has(name));
      await Promise.all(orphans.map((name) => release(name, 'its command did not come back after the restart')));
      expected.clear();
      await save();
    },
  };
}
