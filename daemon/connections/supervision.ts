/**
 * Holds the tie until the connection ends: notices lost tunnels and finds the agent again, proves the redirect now and then,
 * and connects anew after a lapse. Owns no state of the connection: it says what it found, and the controller writes it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { BowlineError } from '../../api/errors.ts';
import type { ConnectionState } from '../../api/schema.ts';
import type { OpenInboundOptions } from '../../tunnel/inbound.ts';
import { agentRunning, describeAgent, type RunningAgent } from '../redirect/agent-wait.ts';
import { proveRedirect } from '../redirect/proof.ts';
import { isHeldOpen, tellHeldOpen } from './held-open.ts';
import { keepKeeper, type Kept } from './keeper.ts';
import { pauseBeforeAnew } from './anew.ts';
import { confirmOurs, mendAgent, mendOriginals, yieldServices, type Mended } from './mending.ts';
import { reachAgent } from './reach.ts';
import { agentLeaves, canSuspend, hasAgent, resumeRedirect, suspendRedirect } from './suspension.ts';
import type { Tunnels } from './tunnels.ts';

export interface Supervised extends Mended, Kept {
  /** Aborted with the reason when the session is not ours any more. One for each session. */
  readonly lost: AbortSignal;
  readonly reason: string | undefined;
  readonly accept: OpenInboundOptions['accept'];
  setState(state: ConnectionState, reason?: string): void;
  /** The way to the agent is there again: what uses it goes on. */
  takeTunnels(tunnels: Tunnels, agent: RunningAgent): void;
  dropTunnels(): Promise<void>;
  /** Saved before the Services are led back to the originals, and after they lead to the agent again. */
  saveSuspended(suspended: boolean): Promise<void>;
  /** Names that could not be attached before the daemon was restarted. */
  attachNames(signal: AbortSignal): Promise<void>;
  /** Requests through these Services arrive here. */
  proved(services: string[]): void;
  /** The same connection with a new session; what the former left is put back first. */
  connectAnew(end: AbortSignal): Promise<void>;
}

/** Milliseconds between two proofs while they fail; while they succeed it is a setting of the connection. */
const doubtInterval = 3000;
/**
 * Milliseconds: with the network back the tie is there again within 3 s. A connect that was begun without a network is given
 * up, because the kernel repeats it after 1, 2, 4, 8 s.
 */
const longestPause = 1000;
const answerTimeout = 2500;
/**
 * Milliseconds until an agent that lets us wait for a tunnel is taken for lost, as with its node: Kubernetes knows that only
 * after most of a minute. Long enough for a slow network, so that Services are not led back and forth with every lost link.
 */
const agentPatience = 1000;

export class Supervision {
  private readonly tie: Supervised;
  /** Something happened that the last proof may not have seen. */
  private doubted = false;
  /** Ends the pause before the next proof. */
  private endPause: () => void = () => undefined;

  constructor(tie: Supervised) {
    this.tie = tie;
  }

  /** Resolves when `end` is aborted; rejects with the reason when the connection cannot go on. */
  async run(end: AbortSignal): Promise<void> {
    try {
      while (!end.aborted) {
        const { lost } = this.tie;
        const over = new AbortController();
        const signal = AbortSignal.any([end, lost, over.signal]);
        const keeping = keepKeeper(this.tie, signal);
        try {
          await this.hold(signal);
        } catch (error) {
          if (!lost.aborted) throw error;
        } finally {
          over.abort();
          await keeping; // a keeper that is being made is no part of what is released until it is made
        }
        if (end.aborted) return;
        const loss = lost.reason as BowlineError;
        if (loss.code !== 'SESSION_LAPSED' && loss.code !== 'CHANGED_MEANWHILE') throw loss;
        await this.startAnew(loss, end);
      }
    } catch (error) {
      if (!end.aborted) throw error;
    }
  }

  /** Does not wait for the next time where the redirect is believed to stand. */
  proveNow(): void {
    if (this.tie.state !== 'connected') return;
    this.doubted = true;
    this.endPause();
  }

  /** One session, until it ends. */
  private async hold(signal: AbortSignal): Promise<void> {
    const { tie } = this;
    let tunnels = tie.tunnels ?? (await this.reconnect(signal));
    while (!signal.aborted) {
      const { reason, leaving } = await this.watch(tunnels, signal);
      if (signal.aborted) break;
      tie.setState('reconnecting', reason);
      // An agent that leaves serves to the end what came through it; its tunnels end by themselves.
      if (leaving) await this.suspend(signal);
      else await tie.dropTunnels();
      tunnels = await this.reconnect(signal);
    }
  }

  /** After a lapse, or what cannot be mended, unless somebody else took the workload meanwhile. */
  private async startAnew(loss: BowlineError, end: AbortSignal): Promise<void> {
    const { tie } = this;
    tie.setState('reconnecting', `${loss.message} Connecting anew.`);
    tie.log.warn('session-lost', { connection: tie.name, code: loss.code, reason: loss.message });
    for (let pause = 200; ; pause *= 2) {
      try {
        return await tie.connectAnew(end);
      } catch (error) {
        end.throwIfAborted();
        const cause = BowlineError.from(error);
        const longest = pauseBeforeAnew(cause);
        if (longest === undefined) throw cause;
        pause = Math.min(pause, longest);
        tie.log.info('anew-failed', { connection: tie.name, code: cause.code, reason: cause.message });
        tie.setState('reconnecting', `${loss.message} Connecting anew: ${cause.message}`);
        await delay(pause * (0.75 + Math.random() / 2), undefined, { signal: end });
      }
    }
  }

  /**
   * Resolves with the reason when the tunnels have ended, or their agent is going to. Proves the redirect now and then, more
   * often while it fails.
   */
  private async watch(tunnels: Tunnels, signal: AbortSignal): Promise<{ reason: string; leaving: boolean }> {
    const ended = Promise.withResolvers<{ reason: string; leaving: boolean }>();
    const onAbort = (): void => ended.resolve({ reason: 'ending', leaving: false });
    const over = new AbortController();
    void this.awaitLeave(this.tie.agent, AbortSignal.any([signal, over.signal])).then((reason) =>
      ended.resolve({ reason, leaving: true }),
    );
    void tunnels.closed.then((reason) => ended.resolve({ reason, leaving: false }));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (!signal.aborted) {
        const pause = new AbortController();
        const { proofSeconds } = this.tie.session.request;
        const interval = this.tie.state === 'connected' ? proofSeconds * 1000 : doubtInterval;
        this.endPause = () => pause.abort();
        if (this.doubted) pause.abort();
        const tick = delay(interval, undefined, { signal: pause.signal, ref: false }).catch(() => undefined);
        const end = await Promise.race([ended.promise, tick]);
        pause.abort();
        if (end !== undefined) return end;
        this.doubted = false;
        const proof = new AbortController();
        const proving = this.prove(tunnels, 10_000, AbortSignal.any([signal, proof.signal]));
        const endedFirst = await Promise.race([ended.promise, proving]);
        proof.abort();
        if (endedFirst === undefined) continue;
        await proving; // what it is changing in the cluster is changed before anything is undone
        return endedFirst;
      }
      return { reason: 'ending', leaving: false };
    } finally {
      over.abort();
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Settles only when the agent leaves, with the reason: else it says nothing. */
  private async awaitLeave(agent: RunningAgent | undefined, signal: AbortSignal): Promise<string> {
    const { cluster, session, log, name } = this.tie;
    const reason =
      agent &&
      (await agentLeaves(cluster, session, agent.pod, signal).catch((error: unknown) => {
        log.warn('notice-ended', { connection: name, reason: String(error) });
        return undefined;
      }));
    return reason ?? new Promise(() => undefined);
  }

  /** Leads the Services back to the originals until there is an agent; where that fails it is tried with the next attempt. */
  private async suspend(signal: AbortSignal): Promise<void> {
    const { tie } = this;
    if (!canSuspend(tie.session)) return;
    try {
      await tie.saveSuspended(true);
      await suspendRedirect(tie.cluster, tie.session, signal);
      tie.log.info('redirect-suspended', { connection: tie.name });
    } catch (error) {
      signal.throwIfAborted();
      tie.log.warn('suspend-failed', { connection: tie.name, reason: BowlineError.from(error).message });
    }
  }

  private get meanwhile(): string {
    return this.tie.session.suspended === true ? ' The originals answer meanwhile.' : '';
  }

  private async unsuspend({ pod }: RunningAgent, signal: AbortSignal): Promise<void> {
    const { tie } = this;
    if (tie.session.suspended !== true) return;
    await resumeRedirect(tie.cluster, tie.session, pod, signal);
    tie.log.info('redirect-resumed', { connection: tie.name });
    await tie.saveSuspended(false).catch((error: unknown) => {
      tie.log.warn('save-failed', { connection: tie.name, reason: String(error) });
    });
  }

  /** Says whether it is proved that requests through the Services arrive here. The tunnels stay, whatever comes out. */
  private async prove(tunnels: Tunnels, timeout: number, signal: AbortSignal): Promise<undefined> {
    const { tie } = this;
    const { id: session, namespace, proofs: targets } = tie.session;
    try {
      await mendOriginals(tie, signal);
      await yieldServices(tie, signal);
      if (targets.length > 0) {
        const tunnel = tunnels.outbound;
        tie.proved(await proveRedirect(tie.cluster, { session, namespace, targets, tunnel, timeout, signal }));
      }
      if (!signal.aborted && tie.state !== 'connected') tie.setState('connected');
      if (isHeldOpen(tie)) await tellHeldOpen(tie, signal);
    } catch (error) {
      const { message, hint } = BowlineError.from(error);
      const reason = hint === undefined ? message : `${message} ${hint}`;
      if (!signal.aborted && tie.reason !== reason) tie.setState('reconnecting', reason);
    }
  }

  /** While it takes long the originals answer; given up when the agent leaves. */
  private async reach(agent: RunningAgent, signal: AbortSignal): Promise<Tunnels> {
    const { tie } = this;
    const over = new AbortController();
    const gone = new AbortController();
    void this.awaitLeave(agent, AbortSignal.any([signal, over.signal])).then((reason) =>
      gone.abort(new BowlineError('PIPE_FAILED', `${reason}.`)),
    );
    const suspended = delay(agentPatience, undefined, { signal: over.signal })
      .then(async () => {
        await this.suspend(signal);
        if (!over.signal.aborted)
          tie.setState('reconnecting', `${describeAgent(agent)} does not answer.${this.meanwhile}`);
      })
      .catch(() => undefined); // it was reached, or the connection ends
    try {
      return await reachAgent(tie.cluster, tie.session, agent, tie.accept, {
        timeout: 3000,
        signal: AbortSignal.any([signal, gone.signal]),
      });
    } finally {
      over.abort();
      await suspended;
    }
  }

  /** Tries until there are tunnels, the session is lost, or the connection ends. */
  private async reconnect(signal: AbortSignal): Promise<Tunnels> {
    const { tie } = this;
    const { cluster, log } = tie;
    for (let pause = 200; ; pause = Math.min(pause * 2, longestPause)) {
      let opened: Tunnels | undefined;
      try {
        const { session } = tie;
        const { id, namespace, image, target } = session;
        await confirmOurs(tie, signal, answerTimeout);
        if (!(await hasAgent(cluster, session, { signal, timeout: answerTimeout }))) {
          await this.suspend(signal);
          await mendAgent(tie, signal);
        }
        const container = target?.container ?? 'agent';
        const wait = { session: id, namespace, container, image: image.name, timeout: 10_000, signal };
        const agent = await agentRunning(cluster, wait);
        opened = await this.reach(agent, signal);
        await opened.outbound.call('resume', {}, signal);
        tie.takeTunnels(opened, agent);
        await this.unsuspend(agent, signal);
        await tie.attachNames(signal);
        await this.prove(opened, 15_000, signal);
        return opened;
      } catch (error) {
        await tie.dropTunnels();
        await opened?.close();
        signal.throwIfAborted();
        const cause = BowlineError.from(error);
        if (cause.code === 'PIPE_FAILED') await this.suspend(signal);
        const wait = pause * (0.75 + Math.random() / 2);
        log.info('reconnect-failed', {
          connection: tie.name,
          code: cause.code,
          reason: cause.message,
          nextTryMs: Math.round(wait),
        });
        tie.setState('reconnecting', `${cause.message}${this.meanwhile} Next try in ${(wait / 1000).toFixed(1)} s.`);
        await delay(wait, undefined, { signal });
      }
    }
  }
}
