/**
 * The inbound tunnel: the agent asks for each connection that reached it, the daemon dials the local port. On a pipe of
 * its own that the daemon opened. Proofs are answered here, so that they show the tunnel and not a program's manners.
 */
import type { Duplex } from 'node:stream';
import { answerConnect } from './answer.ts';
import type { Channel } from './channel.ts';
import { startLifetime } from './lifetime.ts';
import type { OpenOptions } from './outbound.ts';
import { readInbound } from './requests.ts';
import { secureClient, secureServer } from './secure.ts';
import { ChannelStream } from './stream.ts';
import type { Heartbeat, InboundRequest, InboundTunnel, Tunnel, TunnelIdentity } from './tunnel.ts';

export interface OpenInboundOptions extends OpenOptions {
  /** Connects to where the request belongs; rejects with DialError. Aborted when the caller has gone. */
  accept: (request: InboundRequest, signal: AbortSignal) => Promise<Duplex> | Duplex;
}

/** The daemon's end. Takes the pipe over, and closes it on failure. */
export async function openInbound(
  pipe: Duplex,
  identity: TunnelIdentity,
  { accept, heartbeat, signal }: OpenInboundOptions,
): Promise<Tunnel> {
  const lifetime = startLifetime(pipe, await secureClient(pipe, identity, { signal }), {
    heartbeat,
    onOpen(channel, said) {
      const request = readInbound(said);
      if (request.probe === undefined) {
        const target = { host: 'localhost', port: request.port };
        void answerConnect(channel, target, (gone) => accept(request, gone));
      } else answerProbe(channel, request.probe);
    },
  });
  await lifetime.accepted(signal);
  return lifetime;
}

/** The agent's end. */
export async function serveInbound(
  pipe: Duplex,
  identity: TunnelIdentity,
  { heartbeat }: { heartbeat?: Heartbeat } = {},
): Promise<InboundTunnel> {
  const lifetime = startLifetime(pipe, await secureServer(pipe, identity), { heartbeat });
  return Object.assign(lifetime, {
    connect: (request: InboundRequest) => new ChannelStream(lifetime.request(request)),
  });
}

function answerProbe(channel: Channel, token: string): void {
  channel.accept();
  new ChannelStream(channel).resume().end(token);
}
