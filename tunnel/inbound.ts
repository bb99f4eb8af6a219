/**
 * The inbound tunnel: the agent asks for each connection that reached it, the daemon dials the local port. HTTP/2 with
 * the roles reversed on a pipe that the daemon opened. Proofs are answered here, so that they show the tunnel and not a
 * program's manners.
 */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { toDialError } from './dial.ts';
import { startAnswerer, startRequester } from './lifetime.ts';
import type { OpenOptions } from './outbound.ts';
import { secureClient, secureServer } from './secure.ts';
import { splice } from './splice.ts';
import { answerEstablished, answerRefused, requestStream, resetLikeTcp } from './stream.ts';
import type { Heartbeat, InboundRequest, InboundTunnel, Tunnel, TunnelIdentity } from './tunnel.ts';

export interface OpenInboundOptions extends OpenOptions {
  /** Connects to where the request belongs; rejects with DialError. Aborted when the caller has gone. */
  accept: (request: InboundRequest, signal: AbortSignal) => Promise<Duplex> | Duplex;
}

const peerHeader = 'bowline-peer';
const probeHeader = 'bowline-probe';

/** The daemon's end. Takes the pipe over, and closes it on failure. */
export async function openInbound(
  pipe: Duplex,
  identity: TunnelIdentity,
  options: OpenInboundOptions,
): Promise<Tunnel> {
  const { accept, heartbeat, signal } = options;
  const lifetime = startAnswerer(await secureClient(pipe, identity, { signal }), heartbeat);
  lifetime.session.on('stream', (stream, headers) => {
    resetLikeTcp(stream, lifetime);
    const request = readRequest(headers);
    if (request.probe === undefined) void connect(stream, request, accept);
    else answerProbe(stream, request.probe);
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
  const lifetime = startRequester(await secureServer(pipe, identity), heartbeat);
  return Object.assign(lifetime, {
    connect: ({ port, peer, probe }: InboundRequest) =>
      requestStream(lifetime, {
        ':authority': `pod:${port}`,
        [peerHeader]: peer,
        ...(probe === undefined ? {} : { [probeHeader]: probe }),
      }),
  });
}

async function connect(
  stream: ServerHttp2Stream,
  request: InboundRequest,
  accept: OpenInboundOptions['accept'],
): Promise<void> {
  const gone = new AbortController();
  const onClose = (): void => gone.abort();
  stream.once('close', onClose);
  try {
    const local = await accept(request, gone.signal);
    stream.off('close', onClose);
    if (stream.destroyed) {
      local.destroy();
      return;
    }
    answerEstablished(stream);
    await splice(local, stream);
  } catch (error) {
    if (!gone.signal.aborted) answerRefused(stream, toDialError(error, { host: 'localhost', port: request.port }));
  }
}

function answerProbe(stream: ServerHttp2Stream, token: string): void {
  answerEstablished(stream);
  stream.resume();
  stream.end(token);
}

function readRequest(headers: IncomingHttpHeaders): InboundRequest {
  const authority = headers[':authority'] ?? '';
  const probe = headers[probeHeader];
  return {
    port: Number(authority.slice(authority.lastIndexOf(':') + 1)),
    peer: String(headers[peerHeader] ?? ''),
    ...(typeof probe === 'string' ? { probe } : {}),
  };
}
