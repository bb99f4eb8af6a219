/**
 * Joins two byte streams so that each looks like the far end of the other: ends are half-closes, a reset of one resets
 * the other, and a slow reader holds back the writer. Both must allow half-open; socket and tunnel stream in any order.
 */
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { DialError } from './tunnel.ts';

/** Resolves when both have closed, whichever way; never rejects. */
export function splice(a: Duplex, b: Duplex): Promise<void> {
  return new Promise((resolve) => {
    let open = 2;
    function join(from: Duplex, to: Duplex): void {
      forward(from, to);
      const onClose = (): void => {
        if (!isFinished(from)) reset(to);
        open -= 1;
        if (open === 0) resolve();
      };
      from.on('error', ignore); // `close` follows, and says the same
      if (from.closed) onClose();
      else from.on('close', onClose);
    }
    join(a, b);
    join(b, a);
  });
}

/** Bytes and the end, one way. */
function forward(from: Duplex, to: Duplex): void {
  const write = to instanceof net.Socket ? writeInBatches(to) : (chunk: Buffer) => to.write(chunk);
  from.on('data', (chunk: Buffer) => {
    if (!write(chunk)) from.pause();
  });
  to.on('drain', () => from.resume());
  if (from.readableEnded) to.end();
  else from.on('end', () => to.end());
  from.resume();
}

/** Messages of this size or more are part of something larger. */
const bulk = 4 * 1024;

/**
 * A tunnel delivers a download in pieces of half a TLS record, and a system call for each would cost more than all the
 * rest. What arrives in one turn of the event loop is written with one call; a small message goes at once.
 */
function writeInBatches(socket: net.Socket): (chunk: Buffer) => boolean {
  let corked = false;
  const uncork = (): void => {
    corked = false;
    socket.uncork();
  };
  return (chunk) => {
    if (!corked && chunk.length >= bulk) {
      corked = true;
      socket.cork();
      setImmediate(uncork);
    }
    return socket.write(chunk);
  };
}

function isFinished(stream: Duplex): boolean {
  return stream.readableEnded && stream.writableFinished && stream.errored === null;
}

/** The far end sees a connection reset. */
export function reset(stream: Duplex): void {
  if (stream.destroyed) return;
  stream.on('error', ignore);
  if (stream instanceof net.Socket) stream.resetAndDestroy();
  else stream.destroy(new DialError('ECONNRESET', 'The other side of the connection was reset.'));
}

function ignore(): void {}
