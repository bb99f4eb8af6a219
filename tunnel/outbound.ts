/** The outbound tunnel: the daemon asks, the agent dials. Control calls go the same way, as plain POST requests. */
import type { ServerHttp2Stream } from 'node:http2';
import { isIPv6 } from 'node:net';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { answerCall, requestCall } from './call.ts';
import type { AnswerCall } from './call.ts';
import { dialTcp, toDialError } from './dial.ts';
import { startAnswerer, startRequester } from './lifetime.ts';
import { answerOpen, isOpen, requestOpen } from './open.ts';
import type { AnswerOpen } from './open.ts';
import { secureClient, secureServer } from './secure.ts';
import { splice } from './splice.ts';
import { answerEstablished, answerRefused, requestStream, resetLikeTcp } from './stream.ts';
import type { Heartbeat, OutboundTunnel, Target, Tunnel, TunnelIdentity } from './tunnel.ts';

export interface OpenOptions {
  heartbeat?: Heartbeat;
  /** Cancels the opening; an open tunnel is ended with close(). */
  signal?: AbortSignal;
}

/** The daemon's end. Takes the pipe over, and closes it on failure. */
export async function openOutbound(
  pipe: Duplex,
  identity: TunnelIdentity,
  { heartbeat, signal }: OpenOptions = {},
): Promise<OutboundTunnel> {
  const lifetime = startRequester(await secureClient(pipe, identity, { signal }), heartbeat);
  await lifetime.accepted(signal);
  return Object.assign(lifetime, {
    connect: ({ host, port }: Target) =>
      requestStream(lifetime, { ':authority': isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}` }),
    call: (name: string, body: unknown, callSignal?: AbortSignal) => requestCall(lifetime, name, body, callSignal),
    open: (name: string, body: unknown, openSignal?: AbortSignal) => requestOpen(lifetime, name, body, openSignal),
  });
}

export interface ServeOutboundOptions {
  /** Rejects with DialError; default: TCP. Aborted when the asker has gone. */
  dial?: (target: Target, signal: AbortSignal) => Promise<Socket | Duplex>;
  call: AnswerCall;
  /** Default: every name is unknown. */
  open?: AnswerOpen;
  heartbeat?: Heartbeat;
}

/** The agent's end. */
export async function serveOutbound(
  pipe: Duplex,
  identity: TunnelIdentity,
  options: ServeOutboundOptions,
): Promise<Tunnel> {
  const { dial = (target, signal) => dialTcp(target, { signal }), call, open = knowsNone, heartbeat } = options;
  const lifetime = startAnswerer(await secureServer(pipe, identity), heartbeat);
  lifetime.session.on('stream', (stream, headers) => {
    resetLikeTcp(stream, lifetime);
    const authority = headers[':authority'];
    if (headers[':method'] === 'CONNECT' && authority !== undefined)
      void connect(stream, parseAuthority(authority), dial);
    else if (isOpen(headers)) void answerOpen(stream, headers, open);
    else void answerCall(stream, headers, call);
  });
  return lifetime;
}

async function connect(
  stream: ServerHttp2Stream,
  target: Target,
  dial: NonNullable<ServeOutboundOptions['dial']>,
): Promise<void> {
  const gone = new AbortController();
  const onClose = (): void => gone.abort();
  stream.once('close', onClose);
  try {
    const socket = await dial(target, gone.signal);
    stream.off('close', onClose);
    if (stream.destroyed) {
      socket.destroy();
      return;
    }
    answerEstablished(stream);
    await splice(socket, stream);
  } catch (error) {
    if (!gone.signal.aborted) answerRefused(stream, toDialError(error, target));
  }
}

async function knowsNone(name: string): Promise<never> {
  throw new Error(`Nothing can be opened here, nor '${name}'.`);
}

function parseAuthority(authority: string): Target {
  const colon = authority.lastIndexOf(':');
  const host = authority.slice(0, colon);
  return { host: host.startsWith('[') ? host.slice(1, -1) : host, port: Number(authority.slice(colon + 1)) };
}
