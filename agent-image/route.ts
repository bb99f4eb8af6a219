/**
 * Where a connection goes: through the newest inbound tunnel to the machine, or to the originals. It fails open: while
 * the machine does not answer, the originals do, and what the caller has said already is said to them.
 */
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { dialTcp } from '../tunnel/dial.ts';
import { reset } from '../tunnel/reset.ts';
import { splice } from '../tunnel/splice.ts';
import { DialError } from '../tunnel/tunnel.ts';
import type { InboundTunnel } from '../tunnel/tunnel.ts';
import type { AgentPort } from './contract.ts';
import { toMachine } from './machine.ts';
import type { Outcome } from './machine.ts';
import { Replay } from './replay.ts';
import type { Traffic } from './traffic.ts';
import type { InboundTunnels } from './tunnels.ts';

/** Where nobody answers: how long a caller waits for the machine to come back, or for an original. */
const patience = 6_000;
const retryAfter = 250;
/**
 * For so long a refusal may be of an original that is gone: kube-proxy brings its rules up to date at most once a second
 * (`--iptables-min-sync-period`). Asked again, a Service leads to another one.
 */
const settling = 1_500;
/**
 * Of one dial to the originals. Before kube-proxy knows that a pod has ended, a dial may be led to its address, where nobody says
 * no: the node remembers the pod's hardware for most of a minute. Another dial may be led to another pod. It is long enough for a
 * SYN that was lost, which is sent again after 1 s (RFC 6298).
 */
const dialTimeout = 1_500;

export interface Routing {
  tunnels: InboundTunnels;
  traffic: Traffic;
  originals: string | undefined;
  /** New connections go to the originals, and to the machine only where no original can be reached yet. */
  drained: boolean;
}

/** Takes the caller over, together with what was read from it already; resolves when it is closed. */
export async function route(caller: Socket, port: AgentPort, first: Buffer[], routing: Routing): Promise<void> {
  const gone = new AbortController();
  caller.on('close', () => gone.abort());
  const replay = new Replay(first);
  const peer = `${caller.remoteAddress}:${caller.remotePort}`;
  const began = performance.now();
  const deadline = began + patience;

  // Set when the machine does not want this connection now: the originals are asked first, and it again only a little later.
  let elsewhere = false;
  for (;;) {
    const { originals, tunnels, traffic } = routing;
    const theirs = originals !== undefined && port.to === 'originals';
    const drained = originals !== undefined && routing.drained;
    let tunnel: InboundTunnel | undefined = theirs || drained || elsewhere ? undefined : tunnels.current;
    if (tunnel === undefined) {
      const original = originals === undefined ? 'refused' : await dialOriginal(originals, port.port, gone.signal);
      if (gone.signal.aborted) {
        if (typeof original === 'object') original.destroy();
        return;
      }
      if (typeof original === 'object') return traffic.on('originals', join(caller, original, replay));
      // Nothing was said to anybody yet. Drained, the machine is there until the Services lead elsewhere.
      if (drained && !theirs && !elsewhere) tunnel = tunnels.current;
      if (tunnel === undefined) {
        // The caller waits for whoever comes first, but not for ever.
        const until = theirs && original === 'refused' ? began + settling : deadline;
        const wait = Math.min(until - performance.now(), retryAfter);
        if (wait <= 0) break;
        if (theirs || drained || elsewhere)
          await delay(wait, undefined, { signal: gone.signal }).catch(() => undefined);
        else tunnel = await tunnels.next(wait, gone.signal);
        if (gone.signal.aborted) return;
        if (elsewhere && !theirs) tunnel = tunnels.current;
        if (tunnel === undefined) continue;
      }
    }
    const outcome: Outcome = await traffic.on('machine', toMachine(caller, tunnel, { port: port.port, peer }, replay));
    if (outcome === 'carried') return;
    if (outcome === 'broken' || (outcome === 'refused' && port.ifDown === 'refuse' && !drained)) break;
    elsewhere = outcome !== 'vanished';
    // Vanished: the tunnel is no longer the current one, so the next round takes another way.
    if (outcome === 'vanished') await tunnel.closed;
  }
  reset(caller);
}

/** A connection to an original, or why there is none. */
async function dialOriginal(
  host: string,
  port: number,
  signal: AbortSignal,
): Promise<Socket | 'refused' | 'unreachable'> {
  try {
    return await dialTcp({ host, port }, { signal, timeout: dialTimeout });
  } catch (error) {
    return error instanceof DialError && error.errno === 'ECONNREFUSED' ? 'refused' : 'unreachable';
  }
}

/** Says to the original what the caller has said already. Resolves when both have closed. */
function join(caller: Socket, original: Socket, replay: Replay): Promise<void> {
  replay.writeTo(original);
  replay.forget();
  return splice(caller, original);
}
