/** A reset as TCP knows it, for sockets and tunnel streams. */
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { DialError } from './tunnel.ts';

/** The far end sees a connection reset. */
export function reset(stream: Duplex): void {
  if (stream.destroyed) return;
  stream.on('error', ignore);
  if (stream instanceof net.Socket) stream.resetAndDestroy();
  else stream.destroy(new DialError('ECONNRESET', 'The other side of the connection was reset.'));
}

function ignore(): void {}
