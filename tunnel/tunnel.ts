/**
 * The contract of the tunnel between daemon and agent: channels (frames.ts) inside TLS 1.3 over any byte stream (a "pipe").
 * Outbound tunnel: the daemon asks, the agent dials. Inbound tunnel: the agent asks, the daemon dials; a pipe of its own.
 * In both the daemon is the TLS client (it dials the pipe). Imports node: only; shared by daemon and agent.
 */
import type { Duplex } from 'node:stream';

/** Keys and certificates in PEM, made for one session. Each end accepts exactly the other's certificate. */
export interface TunnelIdentity {
  key: string;
  cert: string;
  /** The one certificate that the other end must show. */
  peerCert: string;
}

export interface Heartbeat {
  /** Milliseconds between pings. Default 1,000. */
  interval?: number;
  /** Milliseconds without any byte from the peer after which the tunnel is dead. Default 5,000. */
  timeout?: number;
}

export interface Target {
  host: string;
  port: number;
}

/** What a local program would have seen as `errno`, carried across the tunnel. */
export type DialErrno =
  | 'ECONNREFUSED'
  | 'ECONNRESET'
  | 'EHOSTUNREACH'
  | 'ENETUNREACH'
  | 'ETIMEDOUT'
  | 'ENOTFOUND'
  | 'EACCES';

export class DialError extends Error {
  override readonly name = 'DialError';
  readonly errno: DialErrno;
  /** The far end did not say so: the tunnel ended before or while the connection was open. */
  readonly tunnelEnded: boolean;
  constructor(errno: DialErrno, message: string, options: { tunnelEnded?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.errno = errno;
    this.tunnelEnded = options.tunnelEnded ?? false;
  }
  /** What programs that know Node's socket errors look for. */
  get code(): DialErrno {
    return this.errno;
  }
}

/**
 * A stream through the tunnel. Bytes may be written at once, before the far end has answered. `established` settles
 * when the far end has connected (rejects with DialError); the stream is destroyed with the same error.
 * A reset of the far connection destroys it with a DialError ECONNRESET, the end of the tunnel with one that says
 * `tunnelEnded`; destroying it resets the far connection; end() is a half-close. Join it to a socket with `splice`.
 * Outbound, where bytes need not wait for it, `established` may settle as late as the first byte or the next ping.
 * Nobody has to listen for its errors or wait for `established`; who wants to wait asks for it before `splice`.
 */
export interface TunnelStream extends Duplex {
  readonly established: Promise<void>;
}

export interface Tunnel extends AsyncDisposable {
  /** Resolves once with the reason when the tunnel has ended, for whatever cause; all streams are reset by then. */
  readonly closed: Promise<string>;
  /** Milliseconds of the last ping's round trip; NaN before the first. */
  readonly roundTrip: number;
  /** Streams open at this moment. */
  readonly streams: number;
  close(): Promise<void>;
}

/** Daemon's end of the outbound tunnel. */
export interface OutboundTunnel extends Tunnel {
  /** Throws a DialError EHOSTUNREACH when the tunnel has ended. */
  connect(target: Target): TunnelStream;
  /** A control call to the agent, JSON both ways; see agent-image/contract.ts. Rejects with an Error that carries the agent's message. */
  call(name: string, body: unknown, signal?: AbortSignal): Promise<unknown>;
  /**
   * A call that goes on as a stream of bytes both ways; see agent-image/contract.ts. Resolves when the agent has accepted
   * it, rejects with an Error that carries the agent's message. The stream is like one of `connect`; aborting `signal`
   * resets it, at any time.
   */
  open(name: string, body: unknown, signal?: AbortSignal): Promise<TunnelStream>;
}

/** What the agent says about a connection that reached it. */
export interface InboundRequest {
  /** The port of the pod at which it arrived. */
  port: number;
  /** `address:port` of the caller as the agent saw it. */
  peer: string;
  /** Set for a proof: nothing is dialled, the daemon answers the token itself. */
  probe?: string;
}

/** Agent's end of the inbound tunnel. */
export interface InboundTunnel extends Tunnel {
  /** Throws a DialError EHOSTUNREACH when the tunnel has ended. */
  connect(request: InboundRequest): TunnelStream;
}
