/**
 * One connection: makes it, keeps it, lets it go. Owns the session's saved file, its tunnels, and the state that clients
 * see; the parts beside this file see them through `Tie`. Nobody else writes any of them.
 */
import type { AgentStatus } from '../../agent-image/contract.ts';
import { BowlineError } from '../../api/errors.ts';
import type { Connection, ConnectionState, Environment, KnownNames, PodInspection, Warning } from '../../api/schema.ts';
import type { OpenInboundOptions } from '../../tunnel/inbound.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { EnvironmentUse } from '../environment/environment.ts';
import { savedEnvironmentFile } from '../environment/environment-file.ts';
import type { Log } from '../log.ts';
import type { NamesManager } from '../names/names.ts';
import type { RunningAgent } from '../redirect/agent-wait.ts';
import type { KeeperCode } from '../redirect/keeper-objects.ts';
import { releaseSession } from '../redirect/release.ts';
import type { AgentCode } from '../redirect/session-objects.ts';
import type { VolumeRegistry } from '../volumes/registry.ts';
import { ConnectionEnvironment } from './environment.ts';
import { establish } from './establish.ts';
import { WantedFiles } from './files.ts';
import { tellHeldOpen } from './held-open.ts';
import type { OnProgress } from './manager.ts';
import { confirmOurs } from './mending.ts';
import { ConnectionNames } from './names.ts';
import type { Prepared } from './prepare.ts';
import type { Session, SessionStore } from './session.ts';
import { Supervision, type Supervised } from './supervision.ts';
import { Traffic } from './traffic.ts';
import type { Tunnels } from './tunnels.ts';
import { keepLease, noticeTakeovers } from './upkeep.ts';

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

export class ConnectionController implements Supervised {
  readonly name: string;
  readonly cluster: Cluster;
  readonly log: Log;
  readonly accept: OpenInboundOptions['accept'];
  private readonly options: ControllerOptions;
  private readonly traffic: Traffic;
  private readonly names: ConnectionNames;
  private readonly files: WantedFiles;
  private readonly container: ConnectionEnvironment;
  private readonly supervision: Supervision;
  private current: {
    session: Session;
    state: ConnectionState;
    reason: string | undefined;
    /** Of the state. */
    since: string;
    agent?: RunningAgent;
    tunnels?: Tunnels | undefined;
    keeper?: Connection['keeper'];
    proof?: Connection['proof'];
    error?: BowlineError | undefined;
  };
  /** Aborted when the connection shall end: stops supervision, renewal and everything that waits. */
  private readonly ending = new AbortController();
  private loss = new AbortController();
  /** Aborted when nobody needs to hear of the session any more; until then, also while it is released, it is renewed. */
  private readonly upkeep = new AbortController();
  /** Milliseconds since 1970 when the Lease was last renewed by this process: unlike other clocks, this one counts sleep. */
  private renewedAt = 0;
  private supervising: Promise<void> = Promise.resolve();
  /** Settles, never rejects, when `establish` has stopped: nothing is undone while it still makes things. */
  private establishing: Promise<unknown> = Promise.resolve();
  /** Settles, never rejects, when nothing makes the Lease again. */
  private mending: Promise<unknown> = Promise.resolve();
  private releasing: Promise<void> | undefined;

  constructor(options: ControllerOptions) {
    this.options = options;
    this.cluster = options.cluster;
    this.log = options.log;
    this.name = options.session.name;
    this.current = {
      session: options.session,
      state: 'connecting',
      reason: undefined,
      since: new Date().toISOString(),
    };
    const file = savedEnvironmentFile(options.session.request.environmentFile);
    this.traffic = new Traffic(this);
    this.accept = this.traffic.accept.bind(this.traffic);
    this.names = new ConnectionNames(this, { manager: options.names, traffic: this.traffic, file });
    this.files = new WantedFiles(this, { volumes: options.volumes, file, ending: this.ending.signal });
    this.container = new ConnectionEnvironment(this, { names: this.names, files: this.files, file });
    this.supervision = new Supervision(this);
  }

  get session(): Session {
    return this.current.session;
  }
  get state(): ConnectionState {
    return this.current.state;
  }
  get reason(): string | undefined {
    return this.current.reason;
  }
  get agent(): RunningAgent | undefined {
    return this.current.agent;
  }
  get tunnels(): Tunnels | undefined {
    return this.current.tunnels;
  }
  get keeper(): Connection['keeper'] {
    return this.current.keeper;
  }
  get keeperCode(): () => Promise<KeeperCode> {
    return this.options.keeperCode;
  }
  get lost(): AbortSignal {
    return this.loss.signal;
  }

  /** Resolves when connected and proved; on failure or abort everything is undone before it rejects. */
  async connect(prepared: Prepared, onProgress: OnProgress, signal: AbortSignal): Promise<Connection> {
    const onStep = stepper(onProgress);
    this.container.know(prepared.facts);
    for (const warning of this.session.warnings) onProgress({ type: 'warning', ...warning });
    try {
      await this.save('connecting');
      this.changed('connecting');
      const stop = AbortSignal.any([signal, this.ending.signal, this.lost]);
      await this.establish(prepared, onProgress, onStep, stop);
      onStep('names', 'making the services answer by their names');
      await Promise.all([this.names.attach(onProgress, stop), tellHeldOpen(this, stop, onProgress)]);
      await this.save('connected');
      this.setState('connected');
      this.supervise();
      if (this.session.request.awaitFiles && this.files.any) {
        onStep('files', 'bringing the files of the volumes');
        await this.files.arrived(stop, onProgress);
      }
      onStep('done', `connected ${this.name}`);
      return this.snapshot();
    } catch (error) {
      const lost = this.lost.aborted ? (this.lost.reason as BowlineError) : undefined;
      const cause = signal.aborted ? cancelled : (lost ?? BowlineError.from(error));
      onStep('undo', 'putting everything back');
      await this.release(onProgress, cause);
      throw this.current.error ?? cause; // the release may have failed in its turn
    }
  }

  /** Takes up a saved connection after a restart of the daemon: the agent is there, the tunnels are not. */
  resume(): void {
    this.setState('reconnecting', 'the daemon was restarted');
    this.startUpkeep();
    this.supervise();
  }

  /** Undoes a session that was saved half done. */
  async undo(): Promise<void> {
    await this.release(quiet);
    if (this.current.error !== undefined) throw this.current.error;
  }

  async disconnect(onProgress: OnProgress): Promise<Connection> {
    await this.release(onProgress);
    if (this.state === 'failed' && this.current.error !== undefined) throw this.current.error;
    return this.snapshot();
  }

  environment(use: EnvironmentUse, signal: AbortSignal): Promise<Environment> {
    return this.container.read(use, signal);
  }

  known(namespaces: readonly string[], signal: AbortSignal): Promise<KnownNames> {
    return this.container.known(namespaces, signal);
  }

  inspect(key: string, signal: AbortSignal): Promise<PodInspection> {
    return this.container.inspect(key, signal);
  }

  /** Finds out what changes on the machine without a sign. */
  async look(): Promise<void> {
    await this.traffic.look();
  }

  snapshot(): Connection {
    const { session, state, reason, since, agent, tunnels, keeper, proof, error } = this.current;
    const roundTrip = tunnels?.outbound.roundTrip;
    return {
      id: session.id,
      name: session.name,
      context: session.context,
      server: session.server,
      namespace: session.namespace,
      state,
      reason,
      since,
      target: session.target,
      ports: session.ports,
      down: state === 'failed' || state === 'disconnected' ? undefined : this.traffic.down,
      passedOn: session.passedOn,
      environmentFile: session.request.environmentFile?.path,
      agent: agent && { pod: agent.pod, node: agent.node, image: agent.image },
      pipe: tunnels?.kind,
      roundTripMs: roundTrip === undefined || Number.isNaN(roundTrip) ? undefined : roundTrip,
      keeper,
      originals: session.originals,
      proof,
      namesMode: this.names.mode,
      services: this.names.services(),
      files: this.files.snapshot(),
      traffic: { ...this.traffic.counts },
      warnings: session.warnings,
      error: error?.toShape(),
    };
  }

  warn(warning: Warning, onProgress: OnProgress = quiet): void {
    onProgress({ type: 'warning', ...warning });
    const others = this.session.warnings.filter((each) => each.code !== warning.code);
    this.current.session = { ...this.session, warnings: [...others, warning] };
  }

  unwarn(code: string): void {
    const warnings = this.session.warnings.filter((each) => each.code !== code);
    this.current.session = { ...this.session, warnings };
  }

  changed(event: string): void {
    this.options.onChange(event, this.snapshot());
  }

  setState(state: ConnectionState, reason?: string): void {
    const { current, log } = this;
    if (state !== current.state) current.since = new Date().toISOString();
    current.state = state;
    current.reason = reason;
    const facts = { connection: this.name, state, ...(reason === undefined ? {} : { reason }) };
    if (state === 'failed' || state === 'reconnecting') log.warn('state', facts);
    else log.info('state', facts);
    this.changed(state);
  }

  silent(): number {
    return Date.now() - this.renewedAt;
  }

  lose(loss: BowlineError): void {
    if (this.releasing === undefined) this.loss.abort(loss);
  }

  takeTunnels(tunnels: Tunnels, agent: RunningAgent): void {
    this.current.agent = agent;
    this.current.tunnels = tunnels;
    this.files.start(tunnels, agent.pod);
  }

  async dropTunnels(): Promise<void> {
    const { tunnels } = this;
    this.current.tunnels = undefined;
    await tunnels?.close();
  }

  async saveSuspended(suspended: boolean): Promise<void> {
    this.current.session = { ...this.session, suspended };
    try {
      await this.save(this.session.phase);
    } catch (error) {
      // Not to be done where it cannot be saved; to be over is found out by the next daemon too.
      if (suspended) this.current.session = { ...this.session, suspended: false };
      throw error;
    }
  }

  async saveLease(leaseUid: string): Promise<void> {
    this.current.session = { ...this.session, leaseUid };
    this.renewedAt = Date.now();
    await this.save(this.session.phase);
  }

  async saveYielded(yielded: string[]): Promise<void> {
    this.current.session = { ...this.session, yielded };
    await this.save(this.session.phase);
  }

  setKeeper(keeper: Connection['keeper']): void {
    if (this.current.keeper === keeper) return;
    this.current.keeper = keeper;
    if (keeper !== undefined) this.unwarn('NO_KEEPER');
    this.changed('keeper');
  }

  attachNames(signal: AbortSignal): Promise<void> {
    return this.names.attach(quiet, signal);
  }

  proved(services: string[]): void {
    this.current.proof = { at: new Date().toISOString(), services };
  }

  async connectAnew(end: AbortSignal): Promise<void> {
    await this.dropTunnels();
    // Of a try that failed: nobody may renew, mend or judge what is made next by what that one made.
    this.loss.abort(new BowlineError('SESSION_LAPSED', `${this.name} is connected anew.`));
    await this.mending;
    const { id, holder, leaseName, namespace } = this.session;
    // Mostly nothing is left: a keeper, or whoever restored it, was there before. Not so after a try that failed.
    const signal = AbortSignal.any([end, AbortSignal.timeout(releaseLimit)]);
    const left = { session: id, holder, leaseName, namespace, drain: 0, patience: releaseLimit, signal };
    await releaseSession(this.cluster, { ...left, onStep: quiet });
    const prepared = await this.options.prepareAnew(this.session, end);
    this.current.session = prepared.session;
    this.current.keeper = undefined;
    this.container.know(prepared.facts);
    this.loss = new AbortController();
    await this.save('connecting');
    await this.files.belongTo(this.session.id);
    await this.options.store.remove(id);
    await this.establish(prepared, quiet, quiet, AbortSignal.any([end, this.lost]));
    await this.names.attach(quiet, end);
    await this.save('connected');
    this.setState('connected');
  }

  /** Makes the session in the cluster and proves it. What it throws leaves things to release. */
  private async establish(
    prepared: Prepared,
    onProgress: OnProgress,
    onStep: (step: string, message: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const establishing = establish(this.cluster, prepared, {
      code: this.options.code,
      keeperCode: this.options.keeperCode,
      accept: this.accept,
      onStep,
      onLease: async (leaseUid) => {
        this.current.session = { ...this.session, leaseUid };
        await this.save('connecting');
        this.renewedAt = Date.now();
        this.startUpkeep();
      },
      onTunnels: (tunnels, agent) => this.takeTunnels(tunnels, agent),
      // Afterwards nobody has what only the originals had.
      beforeStop: () => this.files.arrived(signal, quiet, 'original'),
      onWarning: (warning) => this.warn(warning, onProgress),
      signal,
    });
    this.establishing = establishing.catch(() => undefined);
    const made = await establishing;
    if (made.proved.length > 0) this.proved(made.proved);
    const { session } = this;
    const originals = made.stopped ? { ...session.originals!, stopped: true } : session.originals;
    this.current.session = { ...session, originals, made: made.made };
  }

  /** Renews the Lease of this session and hears of what others do with it, until it is lost or wholly released. */
  private startUpkeep(): void {
    const { cluster, session, log } = this;
    const signal = AbortSignal.any([this.upkeep.signal, this.lost, this.options.lifetime]);
    void keepLease(cluster, log, signal, {
      session: () => this.session,
      silent: () => this.silent(),
      onRenewed: () => (this.renewedAt = Date.now()),
      onTrouble: () => this.supervision.proveNow(),
      onGone: () => {
        // What cannot be mended now is found again by the next renewal.
        if (this.releasing === undefined) this.mending = confirmOurs(this, signal).catch(() => undefined);
      },
      onLoss: (error) => this.lose(error),
      onKeeper: (keeper) => {
        if (keeper === 'namespace' || keeper === 'cluster') this.setKeeper(keeper);
      },
    });
    void noticeTakeovers(cluster, session, log, () => this.supervision.proveNow(), signal);
  }

  private supervise(): void {
    const end = AbortSignal.any([this.ending.signal, this.options.lifetime]);
    this.supervising = this.supervision.run(end).catch((error: unknown) => {
      void this.release(quiet, BowlineError.from(error));
    });
  }

  /** Once, by whoever comes first; the others wait for the same end. */
  private release(onProgress: OnProgress, cause?: BowlineError): Promise<void> {
    this.releasing ??= this.releaseOnce(onProgress, cause);
    return this.releasing;
  }

  private async releaseOnce(onProgress: OnProgress, cause: BowlineError | undefined): Promise<void> {
    const { log } = this;
    const onStep = stepper(onProgress);
    this.setState('disconnecting');
    this.ending.abort(new BowlineError('CANCELLED', `${this.name} is being disconnected.`));
    const { drainSeconds, timeoutSeconds } = this.session.request;
    const drain = drainSeconds * 1000;
    const patience = Math.max(timeoutSeconds * 1000, 60_000);
    const limit = AbortSignal.timeout(drain + patience + releaseLimit);
    try {
      await this.establishing;
      // A full disk must not keep anybody tied. What the next daemon then finds is a connection whose session is gone.
      await this.save('disconnecting').catch((error: unknown) => {
        log.warn('save-failed', { connection: this.name, reason: BowlineError.from(error).message });
      });
      await this.supervising;
      await this.mending;
      const { id, holder, leaseName, namespace } = this.session;
      const { outbound } = this.tunnels ?? {};
      const agent = outbound && {
        drain: () => outbound.call('drain', {}, limit),
        status: async () => (await outbound.call('status', {}, limit)) as AgentStatus,
      };
      const held = { session: id, holder, leaseName, namespace, drain, patience, signal: limit };
      const restored = await releaseSession(this.cluster, { ...held, ...(agent && { agent }), onStep });
      await this.leaveMachine();
      await this.options.store.remove(id);
      log.info('released', { connection: this.name, restored });
      this.current.error = cause;
      this.setState(cause === undefined ? 'disconnected' : 'failed', cause?.message);
      onStep('released', 'cluster and machine are as before');
    } catch (error) {
      // The saved session stays: the next start of the daemon, or `restore`, goes on from here.
      await this.leaveMachine();
      const failure = BowlineError.from(error);
      log.error('release-failed', { connection: this.name, code: failure.code, reason: failure.message });
      const before = cause === undefined ? '' : `${cause.message} And then `;
      this.current.error = new BowlineError(
        failure.code,
        `${before}${this.name} could not be released: ${failure.message}`,
        {
          hint: `Nothing is lost: \`bowline restore -n ${this.session.namespace}\` puts it back when the cluster answers again, and the daemon tries at its next start.`,
          cause: error,
        },
      );
      this.setState('failed', this.current.error.message);
    } finally {
      this.upkeep.abort();
      this.current.tunnels = undefined;
      this.options.onEnd();
    }
  }

  /** Tunnels, names and files of this connection go. */
  private async leaveMachine(): Promise<void> {
    await this.tunnels?.close();
    await this.names.detach();
    await this.files.remove();
  }

  private async save(phase: Session['phase']): Promise<void> {
    this.current.session = { ...this.session, phase };
    await this.options.store.save(this.session.id, this.session);
  }
}

/** Steps with the seconds since the first one. */
function stepper(onProgress: OnProgress): (step: string, message: string) => void {
  const started = performance.now();
  return (step, message) =>
    onProgress({ type: 'step', step, message, seconds: Math.round(performance.now() - started) / 1000 });
}
