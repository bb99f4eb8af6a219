/**
 * One tunnel's life: the channels over their TLS socket over its pipe. Whatever ends one of the three ends all, with the
 * first reason; every channel is reset then. Owns the heartbeat.
 */
import net from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Channel } from './channel.ts';
import { startPulse } from './heartbeat.ts';
import { Mux } from './mux.ts';
import type { MuxOptions } from './mux.ts';
import { DialError } from './tunnel.ts';
import type { DialErrno, Heartbeat, Tunnel } from './tunnel.ts';

export interface Lifetime extends Tunnel {
  /** Resolves when the other end has said something inside the tunnel, and so has accepted our certificate. */
  accepted(signal: AbortSignal | undefined): Promise<void>;
  /** Asks the other end for a connection (requests.ts). Throws a DialError EHOSTUNREACH when the tunnel has ended. */
  request(request: object): Channel;
}

export interface LifetimeOptions {
  heartbeat?: Heartbeat | undefined;
  /** Of the end that answers. Throws a ProtocolError when the request makes no sense. */
  onOpen?: MuxOptions['onOpen'];
}

export function startLifetime(pipe: Duplex, socket: TLSSocket, { heartbeat = {}, onOpen }: LifetimeOptions): Lifetime {
  const closed = Promise.withResolvers<string>();
  const heard = Promise.withResolvers<void>();
  let ended: string | undefined;

  socket.on('error', (error) => end(`the pipe failed: ${error.message}`));
  socket.on('end', () => end('the other end closed the pipe'));
  socket.on('close', () => end('the pipe was closed'));
  pipe.on('close', () => end('the pipe was closed'));
  const mux = new Mux(socket, {
    ...(onOpen === undefined ? {} : { onOpen }),
    onHeard: () => heard.resolve(),
    onFailure: end,
  });
  // A large TLS record that is still coming is a sign of life too, where the pipe can tell.
  const signs = pipe instanceof net.Socket ? () => pipe.bytesRead : () => socket.bytesRead;
  const pulse = startPulse(() => mux.outbox.ping(), signs, heartbeat, end);

  function end(reason: string): void {
    if (ended !== undefined) return;
    ended = reason;
    pulse.stop();
    // Never from inside TLS's own callbacks: to take the pipe from under it there crashes the process.
    setImmediate(() => {
      mux.stop(endedError('ECONNRESET', reason));
      socket.destroy();
      pipe.destroy();
      // Streams tell their users in the ticks that follow.
      setImmediate(() => closed.resolve(reason));
    });
  }

  function onAbort(): void {
    end('cancelled');
  }

  async function accepted(signal: AbortSignal | undefined): Promise<void> {
    signal?.addEventListener('abort', onAbort);
    try {
      const reason = await Promise.race([heard.promise, closed.promise]);
      signal?.throwIfAborted();
      if (reason !== undefined) throw new Error(`The tunnel could not be opened: ${reason}.`);
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async function close(): Promise<void> {
    end('closed on purpose');
    await closed.promise;
  }

  return {
    closed: closed.promise,
    close,
    accepted,
    [Symbol.asyncDispose]: close,
    request(request) {
      if (ended !== undefined) throw endedError('EHOSTUNREACH', ended);
      return mux.open(request);
    },
    get roundTrip() {
      return mux.roundTrip;
    },
    get streams() {
      return mux.channels;
    },
  };
}

function endedError(errno: DialErrno, reason: string): DialError {
  return new DialError(errno, `The tunnel has ended: ${reason}.`, { tunnelEnded: true });
}
