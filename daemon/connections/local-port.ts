/** The machine's own port that a connection from the cluster is for. IPv4 loopback first, then IPv6: dev servers listen on either. */
import type { Duplex } from 'node:stream';
import { isListening } from '../../helper/owner.ts';
import { dialTcp } from '../../tunnel/dial.ts';
import { DialError } from '../../tunnel/tunnel.ts';

export async function dialLocal(port: number, signal: AbortSignal): Promise<Duplex> {
  try {
    return await dialTcp({ host: '127.0.0.1', port }, { signal });
  } catch (onIPv4) {
    try {
      return await dialTcp({ host: '::1', port }, { signal });
    } catch {
      throw onIPv4; // the one that a user would look for
    }
  }
}

/** Nobody listens, as opposed to somebody who does not answer. */
export function isRefusal(error: unknown): boolean {
  return error instanceof DialError && error.errno === 'ECONNREFUSED';
}

/**
 * Whether somebody listens; `undefined` where that is not known. A program that listens sees no connection, but where the
 * system does not know of it (a port that is led into a container), or where it was `down` and the system does not say.
 */
export async function lookLocal(port: number, down: boolean, signal: AbortSignal): Promise<boolean | undefined> {
  const known = isListening(process.platform, '127.0.0.1', port);
  if (known === true || (known === undefined && !down)) return known;
  try {
    (await dialLocal(port, signal)).destroy();
    return true;
  } catch (error) {
    return isRefusal(error) ? false : undefined;
  }
}
