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

export interface Routing {
  tunnels: InboundTunnels;
  traffic: Traffic;
  originals: string | undefined;
  /** New connections go to the originals. */
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
    const passOn = originals !== undefined && (port.to === 'originals' || routing.drained);
    let tunnel: InboundTunnel | undefined = passOn || elsewhere ? undefined : tunnels.current;
    if (tunnel === undefined) {
      const answer =
        originals === undefined
          ? 'refused'
          : await traffic.on('originals', toOriginals(caller, originals, port.port, replay, gone.signal));
      if (answer === 'carried' || gone.signal.aborted) return;
      // Nothing was said to anybody yet: the caller waits for whoever comes first, but not for ever.
      const until = port.to === 'originals' && answer === 'refused' ? began + settling : deadline;
      const wait = Math.min(until - performance.now(), retryAfter);
      if (wait <= 0) break;
      if (passOn || elsewhere) await delay(wait, undefined, { signal: gone.signal }).catch(() => undefined);
      else tunnel = await tunnels.next(wait, gone.signal);
      if (gone.signal.aborted) return;
      if (elsewhere && !passOn) tunnel = tunnels.current;
      if (tunnel === undefined) continue;
    }
    const outcome: Outcome = await traffic.on('machine', toMachine(caller, tunnel, { port: port.port, peer }, replay));
    if (outcome === 'carried') return;
    if (outcome === 'broken' || (outcome === 'refused' && port.ifDown === 'refuse')) break;
    elsewhere = outcome !== 'vanished';
    // Vanished: the tunnel is no longer the current one, so the next round takes another way.
    if (outcome === 'vanished') await tunnel.closed;
  }
  reset(caller);
}

async function toOriginals(
  caller: Socket,
  host: string,
  port: number,
  replay: Replay,
  signal: AbortSignal,
): Promise<'carried' | 'refused' | 'unreachable'> {
  let original: Socket;
  try {
    original = await dialTcp({ host, port }, { signal });
  } catch (error) {
    return error instanceof DialError && error.errno === 'ECONNREFUSED' ? 'refused' : 'unreachable';
  }
  replay.writeTo(original);
  replay.forget();
  await splice(caller, original);
  return 'carried';
}
