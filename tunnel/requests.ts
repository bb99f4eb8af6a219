/** What a channel is opened for, as JSON in its first frame. Read strictly: a request that makes no sense ends the tunnel. */
import { ProtocolError } from './frames.ts';
import type { InboundRequest, Target } from './tunnel.ts';

export type OutboundRequest =
  | { connect: Target }
  /** A control call: its body and its answer are JSON, each ended by an END. */
  | { call: string }
  /** A call that goes on as a stream of bytes. */
  | { open: string; body: unknown };

export function readOutbound(request: unknown): OutboundRequest {
  if (isObject(request)) {
    const { connect, call, open, body } = request;
    if (typeof call === 'string') return { call };
    if (typeof open === 'string') return { open, body };
    if (isObject(connect) && typeof connect['host'] === 'string' && isPort(connect['port']))
      return { connect: { host: connect['host'], port: connect['port'] } };
  }
  throw new ProtocolError('a request that makes no sense');
}

export function readInbound(request: unknown): InboundRequest {
  if (isObject(request)) {
    const { port, peer, probe } = request;
    if (isPort(port) && typeof peer === 'string' && (probe === undefined || typeof probe === 'string'))
      return { port, peer, ...(probe === undefined ? {} : { probe }) };
  }
  throw new ProtocolError('a request that makes no sense');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isPort(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) <= 65_535;
}
