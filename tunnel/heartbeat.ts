/**
 * Life of a pipe. Both ends ping each second; any byte that arrives counts as life, not only the answer to a ping:
 * on a slow, saturated link a ping waits behind megabytes, but those megabytes arrive.
 */
import type { Heartbeat } from './tunnel.ts';

export interface Pulse {
  stop(): void;
}

export function startPulse(
  ping: () => void,
  /** Changes whenever there is a sign of life. */
  signs: () => number,
  { interval = 1_000, timeout = 5_000 }: Heartbeat,
  onDead: (reason: string) => void,
): Pulse {
  // Looking more often than pinging keeps the time to notice near `timeout`; looking costs next to nothing.
  const step = Math.max(10, Math.min(interval, timeout / 4) / 2);
  let seen = signs();
  let looked = performance.now();
  let heard = looked;
  let pinged = 0;

  function look(): void {
    const now = performance.now();
    const count = signs();
    // This process did not run for a while (suspended, stopped): what the peer sent meanwhile is not read yet.
    if (now - looked > timeout / 2) heard = Math.max(heard, now - timeout + Math.min(2 * interval, timeout / 2));
    if (count !== seen) heard = now;
    looked = now;
    seen = count;
    if (now - heard >= timeout) {
      stop();
      onDead(`nothing was heard from the other end for ${Math.round((now - heard) / 100) / 10} s`);
      return;
    }
    if (now - pinged >= interval - step / 2) {
      pinged = now;
      ping();
    }
  }

  const timer = setInterval(look, step);
  function stop(): void {
    clearInterval(timer);
  }
  look();
  return { stop };
}
