/** Waiting for a condition of the real world: bounded, cancellable, and saying at the end what was last seen. */
import { setTimeout as delay } from 'node:timers/promises';

export interface WaitOptions {
  /** What is waited for, for the error. */
  what: string;
  /** Milliseconds; default 30,000. */
  timeout?: number;
  /** Milliseconds between two looks; default 100. */
  interval?: number;
  signal?: AbortSignal | undefined;
}

/** Looks until `look` returns something other than undefined, false or null. What it throws counts as "not yet". */
export async function waitUntil<T>(
  look: () => Promise<T | undefined | false | null> | T | undefined | false | null,
  options: WaitOptions,
): Promise<T> {
  const end = performance.now() + (options.timeout ?? 30_000);
  let last: unknown;
  for (;;) {
    options.signal?.throwIfAborted();
    try {
      const seen = await look();
      if (seen !== undefined && seen !== false && seen !== null) return seen;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() >= end) {
      const detail = last instanceof Error ? `: ${last.message}` : '';
      throw new Error(`${options.what}: not within ${(options.timeout ?? 30_000) / 1000} s${detail}`, { cause: last });
    }
    await delay(options.interval ?? 100, undefined, options.signal === undefined ? {} : { signal: options.signal });
  }
}
