/** The outbound tunnel: the daemon asks, the agent dials. Control calls go the same way. */
import type { Duplex } from 'node:stream';
import { answerConnect } from './answer.ts';
import { answerCall, requestCall } from './call.ts';
import type { AnswerCall } from './call.ts';
import { dialTcp } from './dial.ts';
import { startLifetime } from './lifetime.ts';
import { answerOpen, requestOpen } from './open.ts';
import type { AnswerOpen } from './open.ts';
import { readOutbound } from './requests.ts';
import type { OutboundRequest } from './requests.ts';
import { secureClient, secureServer } from './secure.ts';
import { ChannelStream } from './stream.ts';
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
  const lifetime = startLifetime(pipe, await secureClient(pipe, identity, { signal }), { heartbeat });
  const request = (what: OutboundRequest): ReturnType<typeof lifetime.request> => lifetime.request(what);
  await lifetime.accepted(signal);
  return Object.assign(lifetime, {
    connect: (target: Target) => new ChannelStream(request({ connect: target })),
    async call(name: string, body: unknown, callSignal?: AbortSignal) {
      callSignal?.throwIfAborted();
      return requestCall(request({ call: name }), body, callSignal);
    },
    async open(name: string, body: unknown, openSignal?: AbortSignal) {
      openSignal?.throwIfAborted();
      return requestOpen(request({ open: name, body }), openSignal);
    },
  });
}

export interface ServeOutboundOptions {
  /** Rejects with DialError; default: TCP. Aborted when the asker has gone. */
  dial?: (target: Target, signal: AbortSignal) => Promise<Duplex>;
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
  return startLifetime(pipe, await secureServer(pipe, identity), {
    heartbeat,
    onOpen(channel, said) {
      const request = readOutbound(said);
      if ('connect' in request) {
        const { connect } = request;
        void answerConnect(channel, connect, (signal) => dial(connect, signal), { quietly: true });
      } else if ('call' in request) void answerCall(channel, request.call, call);
      else void answerOpen(channel, request.open, request.body, open);
    },
  });
}

async function knowsNone(name: string): Promise<never> {
  throw new Error(`Nothing can be opened here, nor '${name}'.`);
}
