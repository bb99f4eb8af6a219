/**
 * Joins two byte streams so that each looks like the far end of the other: ends are half-closes, a reset of one resets
 * the other, and a slow reader holds back the writer. Both must allow half-open; socket and tunnel stream in any order.
 */
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { writeInBatches } from './batches.ts';
import { join } from './join.ts';
import { reset } from './reset.ts';
import { ChannelStream } from './stream.ts';

/** Resolves when both have closed, whichever way; never rejects. */
export function splice(a: Duplex, b: Duplex): Promise<void> {
  if (a instanceof net.Socket && b instanceof ChannelStream) return spliceStream(a, b);
  if (b instanceof net.Socket && a instanceof ChannelStream) return spliceStream(b, a);
  return spliceAny(a, b);
}

/** Without the stream, where nothing of it is in use. */
function spliceStream(socket: net.Socket, stream: ChannelStream): Promise<void> {
  const parts = stream.detach();
  if (parts === undefined) return spliceAny(socket, stream);
  for (const bytes of parts.unread) socket.write(bytes);
  return join(socket, parts.channel);
}

function spliceAny(a: Duplex, b: Duplex): Promise<void> {
  return new Promise((resolve) => {
    let open = 2;
    function forwardBetween(from: Duplex, to: Duplex): void {
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
    forwardBetween(a, b);
    forwardBetween(b, a);
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

function isFinished(stream: Duplex): boolean {
  return stream.readableEnded && stream.writableFinished && stream.errored === null;
}

function ignore(): void {}
