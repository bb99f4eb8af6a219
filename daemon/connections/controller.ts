/**
 * One connection: makes it, keeps it, lets it go. Owns the session's saved file, its tunnels, its attachment to the
 * names, and the state that clients see. Nobody else writes any of them.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { V1Container } from '@kubernetes/client-node';
import type { AgentCalls, AgentStatus } from '../../agent-image/contract.ts';
import { BowlineError } from '../../api/errors.ts';
import type { Connection, ConnectionState, Environment, PodInspection } from '../../api/schema.ts';
import { DialError, type InboundRequest, type Target, type TunnelStream } from '../../tunnel/tunnel.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { leases } from '../cluster/resources.ts';
import { containerVariables, type ContainerInput } from '../environment/container.ts';
import { environmentOf } from '../environment/environment.ts';
import { imageVariables } from '../environment/image.ts';
import { placeVolumes } from '../environment/placements.ts';
import {
  externalsOf,
  namespacesOf,
  resolveEnvironmentFile,
  savedEnvironmentFile,
  type Placement,
} from '../environment/environment-file.ts';
import type { EnvironmentFile } from '../../env-parser/environment-file.ts';
import type { ProcessFacts } from '../environment/process.ts';
import { inspectPod } from '../fidelity/inspect-pod.ts';
import type { Log } from '../log.ts';
import type { NamesAttachment, NamesManager } from '../names/names.ts';
import { abortable } from '../names/source.ts';
import { agentRunning, type RunningAgent } from '../redirect/agent-wait.ts';
import { proveRedirect } from '../redirect/proof.ts';
import { releaseSession } from '../redirect/release.ts';
import { findWorkload, type Workload } from '../redirect/workload.ts';
import type { KeeperCode } from '../redirect/keeper-objects.ts';
import type { AgentCode } from '../redirect/session-objects.ts';
import { ConnectionFiles } from '../volumes/connection-files.ts';
import type { VolumeRegistry } from '../volumes/registry.ts';
import { establish } from './establish.ts';
import { originalOf, processFacts } from './facts.ts';
import { dialLocal } from './local-port.ts';
import type { OnProgress } from './manager.ts';
import type { Prepared } from './prepare.ts';
import { reachAgent } from './reach.ts';
import type { Session, SessionStore } from './session.ts';
import type { Tunnels } from './tunnels.ts';
import { keepLease, lossOf, noticeTakeovers } from './upkeep.ts';

export interface ControllerOptions {
  cluster: Cluster;
  session: Session;
  store: SessionStore;
  names: NamesManager;
  volumes: VolumeRegistry;
  code: AgentCode;
  keeperCode: () => Promise<KeeperCode>;
  log: Log;
  /** The same connection for a new session, after the former one lapsed. */
  prepareAnew: (session: Session, signal: AbortSignal) => Promise<Prepared>;
  onChange: (event: string, connection: Connection) => void;
  /** Called once when the connection has ended, by whomever. */
  onEnd: () => void;
  /** Of the daemon: with it supervision ends, but nothing is released by that alone. */
  lifetime: AbortSignal;
}

const cancelled = new BowlineError('CANCELLED', 'Cancelled; everything was put back.');
/** Milliseconds that a release may take, beside draining and starting the originals, before it is left to `restore`. */
const releaseLimit = 60_000;
const quiet = (): void => undefined;
const proofInterval = 30_000;
const doubtInterval = 3000;

export class ConnectionController {
  readonly name: string;
  private session: Session;
  private state: ConnectionState = 'connecting';
  private reason: string | undefined;
  private since = new Date().toISOString();
  private agent: RunningAgent | undefined;
  private keeper: Connection['keeper'];
  private tunnels: Tunnels | undefined;
  private names: NamesAttachment | undefined;
  private namesMode: 'hosts' | 'env' | undefined;
  private readonly files: ConnectionFiles | undefined;
  /** What the environment file wants elsewhere, as far as it is there. */
  private placing: Promise<Placement[]> | undefined;
  /** Asked for once: in a container without `cat` there is nothing to read. */
  private facts: Promise<ProcessFacts | undefined> | undefined;
  private proof: Connection['proof'];
  private error: BowlineError | undefined;
  private traffic = { inbound: 0, outbound: 0, toOriginals: 0 };
  /** Aborted when the connection shall end: stops supervision, renewal and everything that waits. */
  private readonly ending = new AbortController();
  /** Aborted with the reason when the session is not ours any more. One for each session. */
  private loss = new AbortController();
  /** Aborted when nobody needs to hear of the session any more; until then, also while it is released, it is renewed. */
  private readonly upkeep = new AbortController();
  /** Milliseconds since 1970 when the Lease was last renewed by this process: unlike other clocks, this one counts sleep. */
  private renewedAt = 0;
  private supervision: Promise<void> = Promise.resolve();
  /** Settles, never rejects, when `establish` has stopped: nothing is undone while it still makes things. */
  private establishing: Promise<unknown> = Promise.resolve();
  private releasing: Promise<void> | undefined;
  /** Local ports (by the pod's) that have answered once: from then on a refusal is the program's own. */
  private readonly answered = new Set<number>();
  /** Ends the pause before the next proof. */
  private proveNow: () => void = () => undefined;
  private readonly options: ControllerOptions;
  private readonly environmentFile: EnvironmentFile | undefined;

  constructor(options: ControllerOptions) {
    this.options = options;
    this.session = options.session;
    this.environmentFile = savedEnvironmentFile(options.session.request.environmentFile);
    this.name = options.session.name;
    this.files = this.ownFiles();
  }

  /** Resolves when connected and proved; on failure or abort everything is undone before it rejects. */
  async connect(prepared: Prepared, onProgress: OnProgress, signal: AbortSignal): Promise<Connection> {
    const onStep = stepper(onProgress);
    this.facts = Promise.resolve(prepared.facts);
    for (const warning of this.session.warnings) onProgress({ type: 'warning', ...warning });
    await this.save('connecting');
    this.changed('connecting');
    try {
      const stop = AbortSignal.any([signal, this.ending.signal, this.loss.signal]);
      await this.establish(prepared, onProgress, onStep, stop);
      onStep('names', 'making the services answer by their names');
      await this.attachNames(onProgress, stop);
      await this.save('connected');
      this.setState('connected');
      this.supervision = this.supervise();
      if (this.session.request.awaitFiles && this.files !== undefined) {
        onStep('files', 'bringing the files of the volumes');
        await this.awaitFiles(onProgress, stop);
      }
      onStep('done', `connected ${this.name}`);
      return this.snapshot();
    } catch (error) {
      const lost = this.loss.signal.aborted ? (this.loss.signal.reason as BowlineError) : undefined;
      const cause = signal.aborted ? cancelled : (lost ?? BowlineError.from(error));
      onStep('undo', 'putting everything back');
      await this.release(onProgress, cause);
      throw this.error ?? cause; // the release may have failed in its turn
    }
  }

  /** Makes the session in the cluster and proves it. What it throws leaves things to release. */
  private async establish(
    prepared: Prepared,
    onProgress: OnProgress,
    onStep: (step: string, message: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const establishing = establish(this.options.cluster, prepared, {
      code: this.options.code,
      keeperCode: this.options.keeperCode,
      accept: this.accept.bind(this),
      onStep,
      onLease: async (leaseUid) => {
        this.session = { ...this.session, leaseUid };
        await this.save('connecting');
        this.renewedAt = Date.now();
        this.startUpkeep();
      },
      onTunnels: (tunnels, { pod }) => {
        this.tunnels = tunnels;
        this.startFiles(tunnels, pod);
      },
      // Afterwards nobody has what only the originals had.
      beforeStop: () => this.awaitFiles(quiet, signal, 'original'),
      onWarning: (warning) => this.warn(onProgress, warning),
      signal,
    });
    this.establishing = establishing.catch(() => undefined);
    const made = await establishing;
    this.agent = made.agent;
    if (made.proved.length > 0) this.proof = { at: new Date().toISOString(), services: made.proved };
    if (made.stopped) this.session = { ...this.session, originals: { ...this.session.originals!, stopped: true } };
  }

  /** Renews the Lease of this session and hears of what others do with it, until it is lost or wholly released. */
  private startUpkeep(): void {
    const { cluster, log, lifetime } = this.options;
    const signal = AbortSignal.any([this.upkeep.signal, this.loss.signal, lifetime]);
    void keepLease(cluster, this.session, log, signal, {
      silent: () => Date.now() - this.renewedAt,
      onRenewed: () => (this.renewedAt = Date.now()),
      onLoss: (error) => this.lose(error),
      onKeeper: (keeper) => {
        if (this.keeper === keeper || (keeper !== 'namespace' && keeper !== 'cluster')) return;
        this.keeper = keeper;
        this.changed('keeper');
      },
    });
    const proveNow = (): void => {
      if (this.state === 'connected') this.proveNow();
    };
    void noticeTakeovers(cluster, this.session, log, proveNow, signal);
  }

  private lose(error: BowlineError): void {
    if (this.releasing === undefined) this.loss.abort(error);
  }

  /** Takes up a saved connection after a restart of the daemon: the agent is there, the tunnels are not. */
  resume(): void {
    this.setState('reconnecting', 'the daemon was restarted');
    this.startUpkeep();
    this.supervision = this.supervise();
  }

  /** Undoes a session that was saved half done. */
  async undo(): Promise<void> {
    await this.release(() => undefined);
    if (this.error !== undefined) throw this.error;
  }

  async disconnect(onProgress: OnProgress): Promise<Connection> {
    await this.release(onProgress);
    if (this.state === 'failed' && this.error !== undefined) throw this.error;
    return this.snapshot();
  }

  async environment({ inPlace }: { inPlace: boolean }, signal: AbortSignal): Promise<Environment> {
    this.facts ??= this.readFacts(signal).catch((error: unknown) => {
      this.facts = undefined;
      throw error;
    });
    const { namespace, server } = this.session;
    const services = this.names?.services() ?? [];
    const files = this.files?.snapshot();
    const placed = await this.placeVolumes(signal);
    return environmentOf({
      ...this.containerInput(await this.facts, signal),
      services,
      namespace,
      mode: this.namesMode ?? 'env',
      server,
      inPlace,
      files,
      file: resolveEnvironmentFile(this.environmentFile, { services, namespace, files, placed, inPlace }),
      timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    });
  }

  /** The pod's side of a comparison with this machine: everything is asked anew. */
  async inspect(key: string, signal: AbortSignal): Promise<PodInspection> {
    const { target, namespace } = this.session;
    if (target === undefined)
      throw new BowlineError('BAD_ARGUMENT', `${this.name} stands in for no pod: there is nothing to compare with.`, {
        hint: 'Name a workload: `bowline doctor deploy/NAME --fidelity`.',
      });
    if (this.tunnels === undefined)
      throw new BowlineError('PIPE_FAILED', `${this.name} is ${this.state}: the agent cannot be asked.`, {
        hint: `\`bowline status ${this.name}\` shows why; try again when it is connected.`,
      });
    const facts = await this.readFacts(signal);
    const container = this.containerInput(facts, signal);
    const file = this.environmentFile;
    return inspectPod(
      {
        cluster: this.options.cluster,
        namespace,
        container: target.container,
        original: await container.original(),
        tunnel: this.tunnels.outbound,
        carried: this.names?.services() ?? [],
        namespaces: file === undefined ? [] : namespacesOf(file),
        clusterDomain: await this.clusterDomain(signal),
        variables: await containerVariables(container),
        uid: facts?.uid,
        key,
      },
      signal,
    );
  }

  /** The ways to what the container itself has. */
  private containerInput(facts: ProcessFacts | undefined, signal: AbortSignal): ContainerInput {
    const { target } = this.session;
    const fromAgent = async (): Promise<Record<string, string> | undefined> => {
      const answer = (await this.tunnels?.outbound.call('environment', {}, signal).catch(() => undefined)) as
        | AgentCalls['environment']['answer']
        | undefined;
      return answer?.variables;
    };
    let asked: ReturnType<ContainerInput['original']> | undefined;
    const original = (): ReturnType<ContainerInput['original']> =>
      (asked ??= this.workload(signal).then(
        (workload) => workload && target && originalOf(workload, target.container),
      ));
    return {
      redirected: target !== undefined,
      facts,
      fromAgent,
      fromImage: async () => {
        const container = (await original())?.container;
        return container && this.imageVariables(container, signal);
      },
      original,
    };
  }

  /** Where the process cannot be read; `undefined` where this is not possible either. */
  private async imageVariables(
    container: V1Container,
    signal: AbortSignal,
  ): Promise<Record<string, string> | undefined> {
    const { agent, tunnels } = this;
    if (agent === undefined || tunnels === undefined) return undefined;
    const { namespace } = this.session;
    const call = (name: 'layOutProgram' | 'imageVariables', stop: AbortSignal): Promise<never> =>
      tunnels.outbound.call(name, {}, stop) as Promise<never>;
    return imageVariables({ cluster: this.options.cluster, namespace, pod: agent.pod, container, call }, signal);
  }

  /** A restarted daemon asks an original again; there is none where they are stopped. */
  private async readFacts(signal: AbortSignal): Promise<ProcessFacts | undefined> {
    const { target } = this.session;
    const workload = await this.workload(signal);
    return workload && target && processFacts(this.options.cluster, workload, target.container, { signal });
  }

  /** As it is now; `undefined` without a target, and where it is gone or cannot be read. */
  private async workload(signal: AbortSignal): Promise<Workload | undefined> {
    const { target, namespace } = this.session;
    if (target === undefined) return undefined;
    return findWorkload(this.options.cluster, namespace, `${target.kind}/${target.name}`, { signal }).catch(
      () => undefined,
    );
  }

  snapshot(): Connection {
    const { session } = this;
    const roundTrip = this.tunnels?.outbound.roundTrip;
    return {
      id: session.id,
      name: session.name,
      context: session.context,
      server: session.server,
      namespace: session.namespace,
      state: this.state,
      reason: this.reason,
      since: this.since,
      target: session.target,
      ports: session.ports,
      passedOn: session.passedOn,
      agent: this.agent && { pod: this.agent.pod, node: this.agent.node, image: this.agent.image },
      pipe: this.tunnels?.kind,
      roundTripMs: roundTrip === undefined || Number.isNaN(roundTrip) ? undefined : roundTrip,
      keeper: this.keeper,
      originals: session.originals,
      proof: this.proof,
      namesMode: this.namesMode,
      services: this.names?.services() ?? [],
      files: this.files?.snapshot(),
      traffic: { ...this.traffic },
      warnings: session.warnings,
      error: this.error?.toShape(),
    };
  }

  /** A connection from the cluster: to the local port that belongs to the pod's. */
  private async accept(request: InboundRequest, gone: AbortSignal) {
    const port = this.session.ports.find((each) => each.remote === request.port);
    if (port === undefined) throw new DialError('ECONNREFUSED', `port ${request.port} is not redirected`);
    try {
      const socket = await dialLocal(port.local, gone);
      this.answered.add(port.remote);
      this.traffic.inbound++;
      return socket;
    } catch (error) {
      // The program has not come up yet (it is started when the redirect stands), or has gone before the release was
      // through: unreachable makes the agent ask the originals. In between `ifDown` decides.
      const standsIn = this.answered.has(port.remote) && this.state !== 'disconnecting';
      if (standsIn || gone.aborted) throw error;
      this.traffic.toOriginals++;
      throw new DialError('EHOSTUNREACH', `nothing listens on local port ${port.local}`, { cause: error });
    }
  }

  private dial(target: Target): TunnelStream {
    if (this.tunnels === undefined) throw new DialError('EHOSTUNREACH', `${this.name} is ${this.state}`);
    this.traffic.outbound++;
    return this.tunnels.outbound.connect(target);
  }

  private async attachNames(onProgress: OnProgress, signal: AbortSignal): Promise<void> {
    const { names, cluster } = this.options;
    const wanted = this.session.request.names;
    const possible = wanted === 'env' ? { mode: 'env' as const } : await names.mode();
    if (possible.mode === 'env' && wanted === 'hosts') {
      throw new BowlineError(
        'HELPER_MISSING',
        `Names in the hosts file need the helper, and it does not answer: ${'reason' in possible ? possible.reason : ''}`,
        {
          hint: 'Run `bowline helper install` once (it asks for administrator rights), or use --names env.',
        },
      );
    }
    this.namesMode = possible.mode;
    const file = this.environmentFile;
    if (possible.mode === 'env' && wanted === 'auto') {
      this.warn(onProgress, {
        code: 'HELPER_MISSING',
        message:
          'The helper is not installed, so the services do not answer by their names on this machine as a whole; they answer at the addresses of the *_SERVICE_HOST and *_SERVICE_PORT variables (`bowline env`), and by name in a command behind -- on Linux. `bowline helper install` makes the names work everywhere.',
      });
    }
    this.names = await names.attach(
      {
        cluster,
        namespace: this.session.namespace,
        dial: (target) => this.dial(target),
        mode: possible.mode,
        clusterDomain: await this.clusterDomain(signal),
        apiServer: true,
        ...(file && { namespaces: namespacesOf(file), externals: externalsOf(file) }),
        localPorts: this.session.ports.map((port) => port.local),
        onChange: () => this.changed('names'),
      },
      signal,
    );
    this.warnOfShadowedNames(onProgress);
  }

  /** A program that looks up a short name of another connection would silently talk to the wrong service. */
  private warnOfShadowedNames(onProgress: OnProgress): void {
    const { namespace } = this.session;
    const own =
      this.names?.services().filter((each) => each.namespace === namespace && each.address !== undefined) ?? [];
    const shadowed = own.filter(({ service, names }) => names.length > 0 && !names.includes(service));
    if (shadowed.length === 0) return;
    const names = shadowed.map(({ service }) => service);
    this.warn(onProgress, {
      code: 'NAMES_TAKEN',
      message: `On this machine ${names.join(', ')} ${names.length === 1 ? 'leads' : 'lead'} elsewhere, to what was connected first or is in the hosts file already. Use ${names[0]}.${namespace}, or disconnect the other.`,
    });
  }

  /** From the search list of the agent's resolv.conf, which has `svc.DOMAIN`. */
  private async clusterDomain(signal: AbortSignal): Promise<string> {
    const name = 'kubernetes.default.svc';
    const answer = (await this.tunnels?.outbound.call('resolve', { name }, signal).catch(() => undefined)) as
      | AgentCalls['resolve']['answer']
      | undefined;
    const found = answer?.search
      .map((domain) => /^svc\.(.+)$/.exec(domain)?.[1])
      .find((domain) => domain !== undefined);
    return found ?? 'cluster.local';
  }

  /** Of the container that is stood in for, unless they are not wanted. */
  private ownFiles(): ConnectionFiles | undefined {
    const { cluster, volumes, log } = this.options;
    const { id, namespace, target, request } = this.session;
    if (target === undefined || !request.volumes) return undefined;
    return new ConnectionFiles({
      cluster,
      registry: volumes,
      session: { id, namespace, container: target.container },
      request,
      original: async (signal) => {
        const workload = await this.workload(signal);
        return workload && originalOf(workload, target.container)?.pod;
      },
      log,
      onChange: () => this.changed('files'),
    });
  }

  private startFiles(tunnels: Tunnels, pod: string): void {
    this.files?.start(tunnels.outbound, pod);
    this.placeVolumes(this.ending.signal).catch(quiet);
  }

  /** Once for each daemon: the places stay until the connection is released. Waits for the volumes, within a bound. */
  private async placeVolumes(signal: AbortSignal): Promise<Placement[]> {
    const { environmentFile, files } = this;
    if (environmentFile === undefined || files === undefined) return [];
    this.placing ??= placeVolumes(environmentFile, files, this.ending.signal).then(({ placed, failed }) => {
      const said = failed.map(({ token, reason }) => `${token.text}: ${reason}`);
      if (said.length > 0) this.warn(quiet, { code: 'VOLUME_NOT_PLACED', message: said.join(' ') });
      return placed;
    });
    const enough = AbortSignal.timeout(this.session.request.timeoutSeconds * 1000);
    return abortable(this.placing, AbortSignal.any([signal, enough])).catch(() => {
      signal.throwIfAborted();
      return [];
    });
  }

  /** Bounded: what takes longer follows, and is said. */
  private async awaitFiles(onProgress: OnProgress, signal: AbortSignal, from?: 'original'): Promise<void> {
    const { files } = this;
    if (files === undefined) return;
    const { timeoutSeconds } = this.session.request;
    const enough = AbortSignal.timeout(timeoutSeconds * 1000);
    const limit = AbortSignal.any([signal, enough]);
    await files.settled(limit, from).catch(() => undefined);
    if (from === undefined && !limit.aborted) await this.placeVolumes(limit).catch(quiet);
    signal.throwIfAborted();
    const unplaced = this.session.warnings.find(({ code }) => code === 'VOLUME_NOT_PLACED');
    if (unplaced !== undefined) onProgress({ type: 'warning', ...unplaced });
    const late = (files.snapshot()?.mounts ?? []).filter(({ state }) => state === 'waiting' || state === 'downloading');
    if (!enough.aborted || late.length === 0) return;
    this.warn(onProgress, {
      code: 'FILES_LATE',
      message: `After ${timeoutSeconds} s these volumes have not come whole: ${late.map(({ volume }) => volume).join(', ')}. They follow; \`bowline status\` shows them.`,
    });
  }

  private warn(onProgress: OnProgress, warning: { code: string; message: string }): void {
    onProgress({ type: 'warning', ...warning });
    const others = this.session.warnings.filter((each) => each.code !== warning.code);
    this.session = { ...this.session, warnings: [...others, warning] };
  }

  /** Holds the tie until the connection ends: notices a lost tunnel, finds the agent again, proves; after a lapse starts anew. */
  private async supervise(): Promise<void> {
    const end = AbortSignal.any([this.ending.signal, this.options.lifetime]);
    try {
      while (!end.aborted) {
        await this.superviseSession(AbortSignal.any([end, this.loss.signal])).catch((error: unknown) => {
          if (!this.loss.signal.aborted) throw error;
        });
        if (end.aborted) return;
        const lost = this.loss.signal.reason as BowlineError;
        if (lost.code !== 'SESSION_LAPSED') throw lost;
        await this.startAnew(lost, end);
      }
    } catch (error) {
      if (!end.aborted) void this.release(() => undefined, BowlineError.from(error));
    }
  }

  private async superviseSession(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.tunnels ??= await this.reconnect(signal);
      const lost = await this.watchTunnels(this.tunnels, signal);
      if (signal.aborted) break;
      await this.tunnels.close();
      this.tunnels = undefined;
      this.setState('reconnecting', lost);
    }
  }

  /** After a lapse: the same connection with a new session, unless somebody else took the workload meanwhile. */
  private async startAnew(lapsed: BowlineError, end: AbortSignal): Promise<void> {
    const { cluster, log, store } = this.options;
    this.setState('reconnecting', `${lapsed.message} Connecting anew.`);
    log.warn('session-lapsed', { connection: this.name });
    for (let pause = 200; ; pause = Math.min(pause * 2, 5000)) {
      try {
        await this.tunnels?.close();
        this.tunnels = undefined;
        const { id, holder, leaseName, namespace } = this.session;
        // Mostly nothing is left: a keeper, or whoever restored it, was there before. Not so after a try that failed.
        const signal = AbortSignal.any([end, AbortSignal.timeout(releaseLimit)]);
        const left = { session: id, holder, leaseName, namespace, drain: 0, patience: releaseLimit, signal };
        await releaseSession(cluster, { ...left, onStep: quiet });
        const prepared = await this.options.prepareAnew(this.session, end);
        this.session = prepared.session;
        this.keeper = undefined;
        this.facts = Promise.resolve(prepared.facts);
        this.loss = new AbortController();
        await this.save('connecting');
        await this.files?.belongTo(this.session.id);
        await store.remove(id);
        await this.establish(prepared, quiet, quiet, AbortSignal.any([end, this.loss.signal]));
        if (this.names === undefined) await this.attachNames(quiet, end);
        await this.save('connected');
        this.setState('connected');
        return;
      } catch (error) {
        end.throwIfAborted();
        const cause = BowlineError.from(error);
        if (!passes(cause)) throw cause;
        log.info('anew-failed', { connection: this.name, code: cause.code, reason: cause.message });
        this.setState('reconnecting', `${lapsed.message} Connecting anew: ${cause.message}`);
        await delay(pause * (0.75 + Math.random() / 2), undefined, { signal: end });
      }
    }
  }

  /** Resolves with the reason when the tunnels have ended. Proves the redirect now and then, more often while it fails. */
  private async watchTunnels(tunnels: Tunnels, signal: AbortSignal): Promise<string> {
    const ended = Promise.withResolvers<string>();
    const onAbort = (): void => ended.resolve('ending');
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (!signal.aborted) {
        const pause = new AbortController();
        const interval = this.state === 'connected' ? proofInterval : doubtInterval;
        this.proveNow = () => pause.abort();
        const tick = delay(interval, undefined, { signal: pause.signal, ref: false }).catch(() => undefined);
        const reason = await Promise.race([tunnels.closed, ended.promise, tick]);
        pause.abort();
        if (reason !== undefined) return reason;
        await this.prove(tunnels, 10_000, signal);
      }
      return 'ending';
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Says whether it is proved that requests through the Services arrive here. The tunnels stay, whatever comes out. */
  private async prove(tunnels: Tunnels, timeout: number, signal: AbortSignal): Promise<void> {
    const { id, namespace, proofs } = this.session;
    try {
      if (proofs.length > 0) {
        const tunnel = tunnels.outbound;
        const services = await proveRedirect(this.options.cluster, {
          session: id,
          namespace,
          targets: proofs,
          tunnel,
          timeout,
          signal,
        });
        this.proof = { at: new Date().toISOString(), services };
      }
      if (!signal.aborted && this.state !== 'connected') this.setState('connected');
    } catch (error) {
      const { message } = BowlineError.from(error);
      if (!signal.aborted && this.reason !== message) this.setState('reconnecting', message);
    }
  }

  /** Tries until there are tunnels, the session is lost, or the connection ends. */
  private async reconnect(signal: AbortSignal): Promise<Tunnels> {
    const { cluster, log } = this.options;
    for (let pause = 200; ; pause = Math.min(pause * 2, 2000)) {
      let opened: Tunnels | undefined;
      try {
        const lease = await cluster.find(leases, this.session.leaseName, this.session.namespace, { signal });
        const loss = lossOf(this.session, lease, Date.now() - this.renewedAt);
        if (loss !== undefined) this.lose(loss);
        signal.throwIfAborted();
        const { id, namespace, image, target } = this.session;
        const container = target?.container ?? 'agent';
        const wait = { session: id, namespace, container, image: image.name, timeout: 10_000, signal };
        this.agent = await agentRunning(cluster, wait);
        const accept = this.accept.bind(this);
        opened = await reachAgent(cluster, this.session, this.agent.pod, accept, { timeout: 3000, signal });
        await opened.outbound.call('resume', {}, signal);
        this.tunnels = opened;
        this.startFiles(opened, this.agent.pod);
        if (this.names === undefined) await this.attachNames(() => undefined, signal);
        await this.prove(opened, 15_000, signal);
        return opened;
      } catch (error) {
        this.tunnels = undefined;
        await opened?.close();
        signal.throwIfAborted();
        const cause = BowlineError.from(error);
        const wait = pause * (0.75 + Math.random() / 2);
        log.info('reconnect-failed', {
          connection: this.name,
          code: cause.code,
          reason: cause.message,
          nextTryMs: Math.round(wait),
        });
        this.setState('reconnecting', `${cause.message} Next try in ${(wait / 1000).toFixed(1)} s.`);
        await delay(wait, undefined, { signal });
      }
    }
  }

  /** Once, by whoever comes first; the others wait for the same end. */
  private release(onProgress: OnProgress, cause?: BowlineError): Promise<void> {
    this.releasing ??= this.releaseOnce(onProgress, cause);
    return this.releasing;
  }

  private async releaseOnce(onProgress: OnProgress, cause: BowlineError | undefined): Promise<void> {
    const { cluster, log, store } = this.options;
    const onStep = stepper(onProgress);
    this.setState('disconnecting');
    this.ending.abort(new BowlineError('CANCELLED', `${this.name} is being disconnected.`));
    const { drainSeconds, timeoutSeconds } = this.session.request;
    const drain = drainSeconds * 1000;
    const patience = Math.max(timeoutSeconds * 1000, 60_000);
    const limit = AbortSignal.timeout(drain + patience + releaseLimit);
    try {
      await this.establishing;
      await this.save('disconnecting');
      await this.supervision;
      const { outbound } = this.tunnels ?? {};
      const restored = await releaseSession(cluster, {
        session: this.session.id,
        holder: this.session.holder,
        leaseName: this.session.leaseName,
        namespace: this.session.namespace,
        drain,
        patience,
        signal: limit,
        ...(outbound === undefined
          ? {}
          : {
              agent: {
                drain: () => outbound.call('drain', {}, limit),
                status: async () => (await outbound.call('status', {}, limit)) as AgentStatus,
              },
            }),
        onStep,
      });
      await this.tunnels?.close();
      await this.names?.[Symbol.asyncDispose]();
      this.names = undefined;
      await this.files?.remove();
      await store.remove(this.session.id);
      log.info('released', { connection: this.name, restored });
      this.error = cause;
      this.setState(cause === undefined ? 'disconnected' : 'failed', cause?.message);
      onStep('released', 'cluster and machine are as before');
    } catch (error) {
      // The saved session stays: the next start of the daemon, or `restore`, goes on from here.
      await this.tunnels?.close();
      await this.names?.[Symbol.asyncDispose]();
      this.names = undefined;
      await this.files?.remove();
      const failure = BowlineError.from(error);
      log.error('release-failed', { connection: this.name, code: failure.code, reason: failure.message });
      const before = cause === undefined ? '' : `${cause.message} And then `;
      this.error = new BowlineError(failure.code, `${before}${this.name} could not be released: ${failure.message}`, {
        hint: `Nothing is lost: \`bowline restore -n ${this.session.namespace}\` puts it back when the cluster answers again, and the daemon tries at its next start.`,
        cause: error,
      });
      this.setState('failed', this.error.message);
    } finally {
      this.upkeep.abort();
      this.tunnels = undefined;
      this.options.onEnd();
    }
  }

  private async save(phase: Session['phase']): Promise<void> {
    this.session = { ...this.session, phase };
    await this.options.store.save(this.session.id, this.session);
  }

  private setState(state: ConnectionState, reason?: string): void {
    if (state !== this.state) this.since = new Date().toISOString();
    this.state = state;
    this.reason = reason;
    const { log } = this.options;
    const facts = { connection: this.name, state, ...(reason === undefined ? {} : { reason }) };
    if (state === 'failed' || state === 'reconnecting') log.warn('state', facts);
    else log.info('state', facts);
    this.changed(state);
  }

  private changed(event: string): void {
    this.options.onChange(event, this.snapshot());
  }
}

/** Whether it may be otherwise in a moment: no network yet, or the former session is still being put back. */
function passes({ code, details }: BowlineError): boolean {
  if (code === 'ALREADY_REDIRECTED') {
    return (details?.['holder'] as { machine?: string } | undefined)?.machine === 'being restored';
  }
  return ['API_UNREACHABLE', 'CREDENTIALS_FAILED', 'CREDENTIALS_EXPIRED', 'PIPE_FAILED', 'SESSION_LAPSED'].includes(
    code,
  );
}

/** Steps with the seconds since the first one. */
function stepper(onProgress: OnProgress): (step: string, message: string) => void {
  const started = performance.now();
  return (step, message) =>
    onProgress({ type: 'step', step, message, seconds: Math.round(performance.now() - started) / 1000 });
}
