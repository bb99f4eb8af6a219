/**
 * The numbered state: one snapshot, and the changes since. Owns the number and a bounded memory of events. Numbers begin
 * at the clock, so that one from before a restart of the daemon is always an old one and never mistaken for ours.
 */
import type { Connection, EventLine, StateEvent } from '../../api/schema.ts';
import type { ConnectionManager } from '../connections/manager.ts';

/**
 * Events that are kept. Each holds its whole connection, 7 kB and more in memory, and a connect and disconnect make a dozen.
 * A reader that falls further behind gets a snapshot instead.
 */
const memory = 100;

export interface StateFeed extends Disposable {
  version(): number;
  /** Events newer than `since`, or a snapshot first. Ends when the signal aborts. */
  follow(since: number | undefined, signal: AbortSignal): AsyncGenerator<EventLine, void, void>;
}

export interface StateFeedOptions {
  manager: Pick<ConnectionManager, 'onChange'>;
  snapshot: () => Promise<Extract<EventLine, { reset: unknown }>['reset']>;
  now: () => Date;
}

export function startStateFeed({ manager, snapshot, now }: StateFeedOptions): StateFeed {
  let version = now().getTime();
  const events: StateEvent[] = [];
  const readers = new Set<() => void>();

  const unsubscribe = manager.onChange((change: { event: string; connection?: Connection; removed?: string }) => {
    version++;
    events.push({ version, at: now().toISOString(), ...structuredClone(change) });
    if (events.length > memory) events.shift();
    for (const wake of readers) wake();
  });

  return {
    version: () => version,
    async *follow(since, signal) {
      let seen = since ?? -1;
      let ring = Promise.withResolvers<void>();
      const wake = (): void => ring.resolve();
      readers.add(wake);
      signal.addEventListener('abort', wake);
      try {
        while (!signal.aborted) {
          ring = Promise.withResolvers();
          const oldest = events[0]?.version ?? version + 1;
          if (seen > version || seen < oldest - 1) {
            const status = await snapshot();
            seen = status.version;
            yield { reset: status };
            continue;
          }
          // From the end, because a reader is mostly one event behind.
          const news = events.slice(events.length - (version - seen));
          for (const event of news) {
            seen = event.version;
            yield event;
          }
          if (seen === version) await ring.promise;
        }
      } finally {
        readers.delete(wake);
        signal.removeEventListener('abort', wake);
      }
    },
    [Symbol.dispose]: unsubscribe,
  };
}
