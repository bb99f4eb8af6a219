/**
 * One tunnel's life: the HTTP/2 session over its TLS socket over its pipe. Whatever ends one of the three ends all, with
 * the first reason; every stream is reset then. Owns the heartbeat and the count of streams.
 */
import http2 from 'node:http2';
import { Flow } from './flow.ts';
import { startPulse } from './heartbeat.ts';
import type { Secured } from './secure.ts';
import type { Heartbeat, Tunnel } from './tunnel.ts';

/** Per stream: what may be on its way to a reader that stalls. Rate x round trip: 320 MB/s at 50 ms. */
const streamWindow = 16 * 1024 * 1024;
const sessionWindow = 64 * 1024 * 1024;

const limits = {
  settings: {
    initialWindowSize: streamWindow,
    maxFrameSize: 64 * 1024,
    maxConcurrentStreams: 100_000,
    enablePush: false,
  },
  peerMaxConcurrentStreams: 100_000,
  // The peer is ours: it has shown its certificate. Protections against strangers would only break long bursts.
  maxSessionMemory: 4_096,
  maxOutstandingPings: 100_000,
  streamResetBurst: 1_000_000,
  streamResetRate: 100_000,
};

export interface Lifetime<Session extends http2.Http2Session> extends Tunnel {
  readonly session: Session;
  /** Undefined while the tunnel lives. */
  readonly ended: string | undefined;
  /** Resolves when the other end has said something inside the tunnel, and so has accepted our certificate. */
  accepted(signal: AbortSignal | undefined): Promise<void>;
  /** Counts the stream until it closes, and holds its writes back while the carrier is congested. */
  add(stream: http2.Http2Stream): void;
}

/** The end that opens streams. */
export function startRequester(secured: Secured, heartbeat: Heartbeat = {}): Lifetime<http2.ClientHttp2Session> {
  return startLifetime(secured, heartbeat, () =>
    http2.connect('https://bowline', { ...limits, createConnection: () => secured.socket }),
  );
}

/** The end that answers them. */
export function startAnswerer(secured: Secured, heartbeat: Heartbeat = {}): Lifetime<http2.ServerHttp2Session> {
  const { enablePush: _, ...settings } = limits.settings;
  return startLifetime(secured, heartbeat, () => http2.performServerHandshake(secured.socket, { ...limits, settings }));
}

function startLifetime<Session extends http2.Http2Session>(
  secured: Secured,
  heartbeat: Heartbeat,
  start: () => Session,
): Lifetime<Session> {
  const { socket, carrier } = secured;
  const closed = Promise.withResolvers<string>();
  let ended: string | undefined;
  let streams = 0;

  // Before the session's own listeners: by the time its streams are reset, the reason is known.
  socket.on('error', (error) => end(`the pipe failed: ${error.message}`));
  socket.on('end', () => end('the other end closed the pipe'));
  socket.on('close', () => end('the pipe was closed'));
  carrier.stream.on('close', () => end('the pipe was closed'));
  const session = start();
  const flow = new Flow(session, carrier);
  session.setLocalWindowSize(sessionWindow);
  session.on('error', (error) => end(`HTTP/2 failed: ${error.message}`));
  session.on('goaway', (code) => end(`the other end said goodbye (${code})`));
  session.on('close', () => end('the HTTP/2 session was closed'));
  const heard = Promise.withResolvers<void>();
  session.once('remoteSettings', () => heard.resolve());
  const pulse = startPulse(session, () => carrier.received, heartbeat, end);

  function end(reason: string): void {
    if (ended !== undefined) return;
    ended = reason;
    pulse.stop();
    // Never from inside TLS's or HTTP/2's own callbacks: to take the pipe from under them there crashes the process.
    setImmediate(() => {
      socket.destroy();
      carrier.stream.destroy();
      session.destroy();
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
    session,
    closed: closed.promise,
    close,
    accepted,
    [Symbol.asyncDispose]: close,
    get ended() {
      return ended;
    },
    get roundTrip() {
      return pulse.roundTrip;
    },
    get streams() {
      return streams;
    },
    add(stream) {
      flow.control(stream);
      streams += 1;
      stream.once('close', () => {
        streams -= 1;
      });
    },
  };
}
