/** Dials the machine's own port for a connection that came from the cluster. IPv4 loopback first, then IPv6: dev servers listen on either. */
import type { Duplex } from 'node:stream';
import { dialTcp } from '../../tunnel/dial.ts';

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
