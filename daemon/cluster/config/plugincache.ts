/**
 * Credentials from exec plugins, shared by all that ask: one run at a time per plugin call, kept until a minute before
 * they expire, dropped when the server refuses them. The run belongs to its waiters and is ended with the last of them.
 */
import { BowlineError } from '../../../api/errors.ts';
import { abortReason } from '../transport/deadline.ts';
import { runPlugin } from './plugin.ts';
import type { PluginCredential, PluginRun } from './plugin.ts';

const skew = 60_000;

export interface PluginCache {
  get(run: PluginRun, signal: AbortSignal): Promise<PluginCredential>;
  /** Forgets `used`, unless it was replaced already. */
  drop(run: PluginRun, used: PluginCredential): void;
}

interface Flight {
  promise: Promise<PluginCredential>;
  waiters: number;
  abort: AbortController;
}

export function createPluginCache(now: () => number = Date.now): PluginCache {
  const kept = new Map<string, PluginCredential>();
  const flights = new Map<string, Flight>();

  const startFlight = (key: string, run: PluginRun): Flight => {
    const abort = new AbortController();
    const promise = runPlugin(run, abort.signal)
      .then((credential) => {
        kept.set(key, credential);
        return credential;
      })
      .finally(() => {
        if (flights.get(key) === flight) flights.delete(key);
      });
    const flight: Flight = { promise, waiters: 0, abort };
    // The waiters may all have gone; their last one aborts it, and nobody is left to hear of that.
    promise.catch(() => {});
    flights.set(key, flight);
    return flight;
  };

  return {
    async get(run, signal) {
      signal.throwIfAborted();
      const key = keyOf(run);
      const credential = kept.get(key);
      if (credential !== undefined && (credential.expires === undefined || credential.expires - skew > now()))
        return credential;
      const flight = flights.get(key) ?? startFlight(key, run);
      flight.waiters++;
      try {
        return await untilAborted(flight.promise, signal);
      } finally {
        if (--flight.waiters === 0 && flights.get(key) === flight) {
          flights.delete(key);
          flight.abort.abort(new BowlineError('CANCELLED', 'Cancelled.'));
        }
      }
    },
    drop(run, used) {
      const key = keyOf(run);
      if (kept.get(key) === used) kept.delete(key);
    },
  };
}

function keyOf({ plugin, server }: PluginRun): string {
  return JSON.stringify([
    plugin,
    server.url.href,
    plugin.provideClusterInfo
      ? [server.ca, server.tlsServerName, server.insecure, server.proxy, server.pluginConfig]
      : [],
  ]);
}

/** Stops waiting when `signal` aborts; what is waited for goes on. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(abortReason(signal));
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
