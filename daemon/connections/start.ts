/**
 * The registry of connections. Owns the controllers and the shared clusters (one for all that read the same of a context,
 * closed with the last connection that uses it), and takes up or undoes what an earlier daemon left.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { BowlineError } from '../../api/errors.ts';
import type { Connection, ConnectRequest } from '../../api/schema.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Log } from '../log.ts';
import type { NamesManager } from '../names/names.ts';
import { didYouMean } from '../../api/nearest.ts';
import type { KeeperCode } from '../redirect/keeper-objects.ts';
import type { AgentCode } from '../redirect/session-objects.ts';
import type { VolumeRegistry } from '../volumes/registry.ts';
import type { Identity } from '../redirect/objects.ts';
import { describe } from '../redirect/workload.ts';
import type { Workload } from '../redirect/workload.ts';
import { contendedBy, takeOver, waitUntilFree } from './contend.ts';
import { ConnectionController } from './controller.ts';
import type { ConnectionManager } from './manager.ts';
import { planOf } from './plan.ts';
import { prepare, type Prepared } from './prepare.ts';
import { listRedirects } from './redirects.ts';
import { keeperManifest } from '../redirect/keeper-manifest.ts';
import { keeperStatus } from './keeper.ts';
import { planRestore, restoreAll } from './restore.ts';
import { savedConnection, type Session, type SessionStore } from './session.ts';
import { sharedPortWarnings } from './surroundings.ts';

export interface ClusterChoice {
  kubeconfig?: string | undefined;
  context?: string | undefined;
}

export interface ConnectionsOptions {
  openCluster: (choice: ClusterChoice, signal: AbortSignal) => Promise<Cluster>;
  store: SessionStore;
  names: NamesManager;
  volumes: VolumeRegistry;
  code: () => Promise<AgentCode>;
  keeperCode: () => Promise<KeeperCode>;
  defaultImage: string;
  /** What Leases say of this user. */
  identity: Identity;
  log: Log;
}

/** Connections that ended stay visible as `failed` this long, in milliseconds, so that `status` can say why. */
const failedVisible = 10 * 60_000;

type Listener = Parameters<ConnectionManager['onChange']>[0];

export async function startConnections(options: ConnectionsOptions, signal: AbortSignal): Promise<ConnectionManager> {
  const { store, names, log, identity, defaultImage } = options;
  const controllers = new Map<string, ConnectionController>();
  const ended = new Map<string, Connection>();
  /** Saved by an earlier daemon, and not taken up yet because that failed. */
  const untaken = new Map<string, { connection: Connection; error: BowlineError; giveUp: () => void }>();
  const listeners = new Set<Listener>();
  const clusters = new Map<string, { cluster: Cluster; users: number }>();
  const announce = (change: Parameters<Listener>[0]): void => {
    for (const listener of listeners) listener(change);
  };

  /** Read anew each time: the user may have switched context, namespace or login. What reads the same is one Cluster. */
  async function useCluster(
    choice: ClusterChoice,
    abort: AbortSignal,
  ): Promise<{ cluster: Cluster; release: () => void }> {
    const opened = await options.openCluster(choice, abort);
    const key = JSON.stringify([choice.kubeconfig, opened.fingerprint]);
    let shared = clusters.get(key);
    if (shared === undefined) clusters.set(key, (shared = { cluster: opened, users: 0 }));
    else await opened.close();
    const mine = shared;
    mine.users++;
    const release = (): void => {
      if (--mine.users > 0) return;
      if (clusters.get(key) === mine) clusters.delete(key);
      void mine.cluster.close();
    };
    return { cluster: mine.cluster, release };
  }

  /** The short name, unless something else has it: the same name in another cluster, or of another kind. */
  function nameFor(namespace: string, workload: Workload | undefined, cluster: Cluster): string {
    const [short, withKind] =
      workload === undefined
        ? [namespace, namespace]
        : [`${namespace}/${workload.name}`, `${namespace}/${describe(workload)}`];
    const { context, server } = cluster;
    const place = `${context}@${new URL(server).host}`;
    const wanted = [short, withKind, `${context}:${short}`, `${context}:${withKind}`, `${place}:${withKind}`];
    for (const name of wanted) {
      const existing = controllers.get(name)?.snapshot();
      if (existing === undefined) return name;
      const { target } = existing;
      const sameWorkload = target?.kind === workload?.kind && target?.name === workload?.name;
      const samePlace = existing.context === context && existing.server === server && existing.namespace === namespace;
      if (samePlace && sameWorkload) throw alreadyConnected(name);
    }
    throw alreadyConnected(short);
  }

  function alreadyConnected(name: string): BowlineError {
    const existing = controllers.get(name)?.snapshot();
    return new BowlineError(
      'ALREADY_CONNECTED',
      `${name} is connected already (${existing?.state} since ${existing?.since}).`,
      {
        hint: `\`bowline status ${name}\` shows it, \`bowline disconnect ${name}\` ends it.`,
        details: { connection: name },
      },
    );
  }

  function controllerFor(
    session: Session,
    cluster: Cluster,
    release: () => void,
    code: AgentCode,
  ): ConnectionController {
    if (controllers.has(session.name)) {
      release();
      throw alreadyConnected(session.name);
    }
    const controller: ConnectionController = new ConnectionController({
      cluster,
      session,
      store,
      names,
      volumes: options.volumes,
      code,
      keeperCode: options.keeperCode,
      log: log.child({ session: session.id }),
      lifetime: signal,
      prepareAnew: (former, abort) =>
        prepare(cluster, former.request, { signal: abort, defaultImage, identity, code, nameFor: () => former.name }),
      onChange: (event, connection) => announce({ event, connection }),
      onEnd: () => {
        if (controllers.get(session.name) === controller) controllers.delete(session.name);
        const last = controller.snapshot();
        if (last.state === 'failed') {
          ended.set(session.name, last);
          setTimeout(() => {
            if (ended.get(session.name) === last) ended.delete(session.name);
          }, failedVisible).unref();
        }
        announce({ event: last.state, connection: last, removed: session.name });
        release();
      },
    });
    controllers.set(session.name, controller);
    ended.delete(session.name);
    return controller;
  }

  async function prepared(
    request: ConnectRequest,
    abort: AbortSignal,
  ): Promise<{ prepared: Prepared; cluster: Cluster; release: () => void; code: AgentCode }> {
    const code = await options.code();
    const { cluster, release } = await useCluster(request, abort);
    try {
      const settings = { signal: abort, defaultImage, identity, code, nameFor };
      const ready = await prepare(cluster, request, settings);
      const others = [...controllers.values()].map((controller) => controller.snapshot());
      const warnings = [...ready.session.warnings, ...sharedPortWarnings(ready.session.ports, others)];
      return { prepared: { ...ready, session: { ...ready.session, warnings } }, cluster, release, code };
    } catch (error) {
      release();
      throw abort.aborted ? new BowlineError('CANCELLED', 'Cancelled; nothing was changed.') : BowlineError.from(error);
    }
  }

  function find(name: string): ConnectionController {
    const [found, ...others] = named(controllers, name);
    if (found !== undefined && others.length === 0) return found;
    if (found !== undefined) {
      const alternatives = [found, ...others].map((each) => each.name);
      throw new BowlineError(
        'CONNECTION_NOT_FOUND',
        `"${name}" fits several connections: ${alternatives.join(', ')}.`,
        {
          hint: 'Give the whole name of the one you mean.',
          details: { alternatives },
        },
      );
    }
    throw new BowlineError('CONNECTION_NOT_FOUND', `There is no connection "${name}".`, {
      hint: didYouMean(name, [...controllers.keys()], 'connections'),
      details: { alternatives: [...controllers.keys()] },
    });
  }

  /** One that has failed is not listed any more. `undefined` where no such is meant. */
  function forget(name: string): Connection | undefined {
    const [connection, ...others] = named(ended, name);
    if (connection === undefined || others.length > 0 || named(controllers, name).length > 0) return undefined;
    ended.delete(connection.name);
    announce({ event: 'forgotten', removed: connection.name });
    return connection;
  }

  /**
   * Takes up or undoes a saved session; where that fails (no network yet, a context that is not there) it is shown, and tried
   * until it can or a disconnect gives it up.
   */
  async function takeUp(session: Session, stop: AbortSignal): Promise<void> {
    const { name, phase } = session;
    const givenUp = new AbortController();
    for (let pause = 1000; !givenUp.signal.aborted; pause = Math.min(pause * 2, 60_000)) {
      try {
        const { cluster, release } = await useCluster(session.request, stop);
        const controller = controllerFor(session, cluster, release, await options.code());
        untaken.delete(name);
        if (phase === 'connected') controller.resume();
        else await controller.undo();
        return;
      } catch (failure) {
        stop.throwIfAborted();
        const error = BowlineError.from(failure);
        log.error('resume-failed', { connection: name, code: error.code, reason: error.message, nextTryMs: pause });
        const connection = savedConnection(session, `${error.message} Next try in ${pause / 1000} s.`);
        ended.delete(name);
        untaken.set(name, { connection, error, giveUp: () => givenUp.abort() });
        announce({ event: connection.state, connection });
        const signal = AbortSignal.any([stop, givenUp.signal]);
        await delay(pause, undefined, { signal }).catch(() => stop.throwIfAborted());
      }
    }
  }

  /** Ends on this machine what cannot be taken up; always throws, because the cluster is not asked. `undefined` where no such is meant. */
  async function giveUp(name: string): Promise<undefined> {
    const [found, ...others] = named(untaken, name);
    if (found === undefined || others.length > 0 || named(controllers, name).length > 0) return;
    const { connection, error } = found;
    found.giveUp();
    untaken.delete(connection.name);
    await store.remove(connection.id);
    await options.volumes.release(connection.id);
    if (controllers.size === 0) await names.releaseFormer();
    announce({ event: 'forgotten', removed: connection.name });
    throw new BowlineError(
      error.code,
      `${connection.name} is not kept on this machine any more, but the cluster could not be asked to put it back: ${error.message}`,
      {
        hint: `A keeper does that when the session has lapsed; else \`bowline restore -n ${connection.namespace} --all\`, from where the cluster can be reached.`,
      },
    );
  }

  const manager: ConnectionManager = {
    list: () => [
      ...[...controllers.values()].map((controller) => controller.snapshot()),
      ...[...untaken.values()].map(({ connection }) => connection),
      ...ended.values(),
    ],
    async look() {
      await Promise.all([...controllers.values()].map((controller) => controller.look()));
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async plan(request, abort) {
      const { prepared: ready, release, code } = await prepared(request, abort);
      release();
      const mode = request.names === 'env' ? 'env' : (await names.mode()).mode;
      return planOf(ready, code, await options.keeperCode(), mode);
    },
    async connect(request, onProgress, abort) {
      onProgress({ type: 'step', step: 'check', message: 'looking at the cluster', seconds: 0 });
      const started = performance.now();
      const secondsUntilNow = (): number => (performance.now() - started) / 1000;
      for (let taken = false; ;) {
        try {
          const { prepared: ready, cluster, release, code } = await prepared(request, abort);
          const controller = controllerFor(ready.session, cluster, release, code);
          return await controller.connect(ready, onProgress, abort);
        } catch (error) {
          const contended = contendedBy(BowlineError.from(error));
          if (contended === undefined || (request.takeOver ? taken : request.waitSeconds === 0)) throw error;
          const left = Math.max(0, request.waitSeconds - secondsUntilNow());
          const onStep = (step: string, message: string): void =>
            onProgress({ type: 'step', step, message, seconds: Math.round(secondsUntilNow() * 1000) / 1000 });
          const { cluster, release } = await useCluster(request, abort);
          try {
            if (request.takeOver) {
              const patience = request.timeoutSeconds * 1000;
              await takeOver(cluster, contended, { identity, patience, signal: abort, onStep });
              taken = true;
            } else {
              await waitUntilFree(cluster, contended, { seconds: left, signal: abort, onStep });
            }
          } catch (failed) {
            if (!abort.aborted || (failed instanceof BowlineError && failed.code === 'CANCELLED')) throw failed;
            throw new BowlineError('CANCELLED', 'Cancelled; nothing was changed.');
          } finally {
            release();
          }
        }
      }
    },
    // Not cancellable on purpose: a release half done helps nobody. The caller may go; it goes on.
    disconnect: async (name, onProgress) => forget(name) ?? (await giveUp(name)) ?? find(name).disconnect(onProgress),
    environment: async (name, use, abort) => find(name).environment(use, abort),
    known: async (name, spaces, abort) => find(name).known(spaces, abort),
    inspect: async (name, key, abort) => find(name).inspect(key, abort),
    async redirects(request, abort) {
      const { cluster, release } = await useCluster(request, abort);
      try {
        return await listRedirects(cluster, request, manager.list(), abort);
      } finally {
        release();
      }
    },
    async keeperStatus(request, abort) {
      const { cluster, release } = await useCluster(request, abort);
      try {
        return await keeperStatus(cluster, request.namespace ?? cluster.defaultNamespace, identity, abort);
      } finally {
        release();
      }
    },
    keeperManifest: async ({ namespace, image = defaultImage }) =>
      keeperManifest({ namespace, image, scope: 'cluster', code: await options.keeperCode() }),
    async planRestore(request, abort) {
      const { cluster, release } = await useCluster(request, abort);
      try {
        return await planRestore(cluster, request, { identity, held: held() }, abort);
      } finally {
        release();
      }
    },
    async restore(request, onProgress, abort) {
      const { cluster, release } = await useCluster(request, abort);
      try {
        return await restoreAll(cluster, request, { identity, held: held() }, onProgress, abort);
      } finally {
        release();
      }
    },
    async resume(abort) {
      const stop = AbortSignal.any([abort, signal]);
      const sessions = await store.load();
      const phases = [...sessions.values()].map(({ phase }) => phase);
      // Nobody here will ask the helper for other names than those that the killed daemon left.
      if (phases.length > 0 && !phases.includes('connected')) await options.names.releaseFormer();
      await options.volumes.releaseOthers(new Set([...sessions.keys(), ...held()]));
      await Promise.all([...sessions.values()].map((session) => takeUp(session, stop)));
    },
    async [Symbol.asyncDispose]() {
      await Promise.allSettled([...controllers.values()].map((controller) => controller.disconnect(() => undefined)));
    },
  };

  /** Sessions that this daemon holds: `restore` leaves them alone. */
  const held = (): Set<string> => new Set([...controllers.values()].map((controller) => controller.snapshot().id));
  return manager;
}

/** The one of that name, else all that end so: `stats-api` is enough where only one does. */
function named<T>(all: ReadonlyMap<string, T>, name: string): T[] {
  const exact = all.get(name);
  if (exact !== undefined) return [exact];
  return [...all].filter(([full]) => full.endsWith(`/${name}`)).map(([, each]) => each);
}
