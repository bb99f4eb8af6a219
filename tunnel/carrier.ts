/**
 * What TLS and HTTP/2 stand on. The daemon's end stands on the bare socket, which TLS reads and writes without a detour
 * through JavaScript: half of the cost of a byte. Node's HTTP/2 stops reading while a write is under way, so one end must
 * never do that, or two busy ends wait for each other for ever: it is the agent's, which stands on a link (link.ts).
 */
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { Link } from './link.ts';

export interface Carrier {
  /** For TLS. */
  readonly stream: Duplex;
  /** Bytes that have arrived. */
  readonly received: number;
  /** It takes more than it passes on. */
  readonly congested: boolean;
  /** Called when that is over. */
  onClear(listener: () => void): void;
}

/** Never stops reading. */
export function linkTo(pipe: Duplex): Carrier {
  const link = new Link(pipe);
  return {
    stream: link,
    get received() {
      return link.received;
    },
    get congested() {
      return link.congested;
    },
    onClear: (listener) => void link.on('clear', listener),
  };
}

/** The socket itself, where the pipe is one. */
export function socketOf(pipe: Duplex): Carrier {
  if (!(pipe instanceof net.Socket)) return linkTo(pipe);
  pipe.setNoDelay(true);
  return {
    stream: pipe,
    get received() {
      return pipe.bytesRead;
    },
    congested: false, // says so by not ending a write
    onClear: () => undefined,
  };
}
