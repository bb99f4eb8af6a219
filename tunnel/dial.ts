/** Dials TCP for the other end, and says what went wrong in the few words that cross the tunnel. */
import net from 'node:net';
import { DialError } from './tunnel.ts';
import type { DialErrno, Target } from './tunnel.ts';

export interface DialOptions {
  signal?: AbortSignal | undefined;
  /** Milliseconds, name lookup included. */
  timeout?: number;
}

/**
 * Of every TCP connection of ours, for net.connect and net.createServer: one direction may end before the other, small
 * writes go at once, a dead peer is noticed.
 */
export const socketOptions = {
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: 60_000,
  /** What `splice` writes with one system call. */
  highWaterMark: 256 * 1024,
} as const;

/** Half-open by design: one direction may end before the other. Rejects with DialError. */
export function dialTcp(target: Target, { signal, timeout = 10_000 }: DialOptions = {}): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: target.host, port: target.port, ...socketOptions });
    const timer = setTimeout(
      () => fail(new DialError('ETIMEDOUT', `${where(target)} did not answer within ${timeout} ms.`)),
      timeout,
    );
    const onAbort = (): void => fail(signal?.reason);
    const onError = (error: Error): void => fail(toDialError(error, target));
    function settle(): void {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.off('error', onError);
    }
    function fail(error: unknown): void {
      settle();
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    }
    socket.once('connect', () => {
      settle();
      resolve(socket);
    });
    socket.once('error', onError);
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted) onAbort();
  });
}

const known: Record<string, DialErrno> = {
  ECONNREFUSED: 'ECONNREFUSED',
  ECONNRESET: 'ECONNRESET',
  EHOSTUNREACH: 'EHOSTUNREACH',
  EADDRNOTAVAIL: 'EHOSTUNREACH',
  ENETUNREACH: 'ENETUNREACH',
  EAFNOSUPPORT: 'ENETUNREACH',
  ETIMEDOUT: 'ETIMEDOUT',
  ENOTFOUND: 'ENOTFOUND',
  EAI_AGAIN: 'ENOTFOUND',
  EAI_FAIL: 'ENOTFOUND',
  EACCES: 'EACCES',
  EPERM: 'EACCES',
};

/** Any failure to connect as a DialError; what has no name of its own is EHOSTUNREACH. */
export function toDialError(error: unknown, target: Target): DialError {
  if (error instanceof DialError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const message = error instanceof Error && error.message !== '' ? error.message : code;
  return new DialError(known[code] ?? 'EHOSTUNREACH', `${where(target)}: ${message}`, { cause: error });
}

function where({ host, port }: Target): string {
  return net.isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}
