/**
 * The files of one connection: which there are, that they come, that they stay current, that they go. Owns the session's
 * folder. Works beside the connection and never fails it: what could not be had is told by the state of the mount.
 */
import { lstat, mkdir, readdir, rmdir, stat, symlink } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { dirname, join } from 'node:path';
import type { V1Pod } from '@kubernetes/client-node';
import type { AgentStreams, VolumeVersion } from '../../agent-image/contract.ts';
import type { FileChoice } from '../../agent-image/volume-choice.ts';
import { BowlineError } from '../../api/errors.ts';
import type { Connection, ConnectRequest } from '../../api/schema.ts';
import { DialError, type OutboundTunnel } from '../../tunnel/tunnel.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { pods } from '../cluster/resources.ts';
import type { Log } from '../log.ts';
import { VolumeCopy } from './copy.ts';
import { originalFieldFiles, withFieldFiles, type FieldFiles } from './field-files.ts';
import { needsOriginal, placesInOriginal, planCopies, planParts, type PlannedCopy, type VolumePart } from './mounts.ts';
import type { VolumeRegistry } from './registry.ts';
import type { SessionFolder } from './session-folder.ts';
import { agentSource, originalSource, type Source } from './sources.ts';

/** What the environment file names, by the volumes' own names. */
export interface NamedVolumes {
  whole: string[];
  parts: VolumePart[];
}

export interface ConnectionFilesOptions {
  cluster: Cluster;
  registry: VolumeRegistry;
  session: { id: string; namespace: string; container: string };
  /** Without `volumes` only what is named comes. */
  request: Pick<ConnectRequest, 'volumes' | 'maxVolumeBytes' | 'include' | 'exclude'>;
  named: (volumes: string[]) => NamedVolumes;
  /** A pod that the agent stands in for; `undefined` where there is none. */
  original: (signal: AbortSignal) => Promise<V1Pod | undefined>;
  log: Log;
  onChange: () => void;
  /** Nothing comes, or not any more, until the next tunnel: why. */
  onStopped: (reason: string) => void;
}

/** Contents that travel at the same time. */
const atOnce = 4;
/** Milliseconds between two announcements of progress. */
const announceInterval = 500;

export class ConnectionFiles {
  readonly #options: ConnectionFilesOptions;
  readonly #copies = new Map<string, VolumeCopy>();
  readonly #ending = new AbortController();
  /** Those who wait for a change. */
  readonly #waiting: Array<() => void> = [];
  /** As the last original had them: it may have been stopped since. */
  #fields: FieldFiles = new Map();
  #session: string;
  #folder: SessionFolder | undefined;
  #planned = false;
  #work: Promise<unknown> = Promise.resolve();
  #announcement: NodeJS.Timeout | undefined;

  constructor(options: ConnectionFilesOptions) {
    this.#options = options;
    this.#session = options.session.id;
  }

  /** Brings what is not here yet, and keeps it current, until the tunnel has gone; called anew with the next one. */
  start(tunnel: OutboundTunnel, agentPod: string): void {
    const gone = new AbortController();
    const signal = AbortSignal.any([gone.signal, this.#ending.signal]);
    void tunnel.closed.then(() => gone.abort());
    this.#work = this.#work
      .then(() => this.#run(tunnel, agentPod, signal))
      .catch((error: unknown) => {
        // The streams may hear of it before `closed` does.
        const isOver = signal.aborted || (error instanceof DialError && error.tunnelEnded);
        if (!isOver) {
          const { message } = BowlineError.from(error);
          this.#options.log.warn('volumes.stopped', { session: this.#session, reason: message });
          this.#options.onStopped(message);
          // Nobody waits for what cannot be planned.
          this.#planned = true;
        }
        this.#announce();
      });
  }

  snapshot(): Connection['files'] {
    if (this.#folder === undefined) return undefined;
    const copies = [...this.#copies.values()];
    const parts = copies.flatMap((copy) => copy.parts());
    return {
      folder: this.#folder.path,
      backing: this.#options.registry.place.backing,
      mounts: copies.flatMap((copy) => copy.mounts()),
      ...(parts.length === 0 ? {} : { parts }),
    };
  }

  /**
   * Resolves when each mount has come or will not; with `from`, each that is read from there. `onChange` is called at once,
   * after changes, and at the end. Rejects with the signal's reason.
   */
  async settled(
    signal: AbortSignal,
    { from, onChange }: { from?: PlannedCopy['from'] | undefined; onChange?: () => void } = {},
  ): Promise<void> {
    const done = (): boolean =>
      this.#planned &&
      [...this.#copies.values()].every((copy) => copy.settled || (from !== undefined && copy.planned.from !== from));
    using _ = onAbort(signal, () => this.#wake());
    while (!done() && !this.#ending.signal.aborted) {
      signal.throwIfAborted();
      onChange?.();
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    onChange?.();
  }

  /**
   * Lets a volume, or a named part of it, stand at another place of the machine too: as a link to the copy, so that it is
   * current, in memory, and gone with the connection. Waits until it has come. Rejects with LOCAL_PATH_TAKEN where
   * something else is, with VOLUME_NOT_FOUND where there is no such volume or part, or it could not be had.
   */
  async download(
    { volume, path, to }: { volume: string; path?: string; to: string },
    signal: AbortSignal,
  ): Promise<void> {
    await this.settled(signal);
    const { mounts = [], parts = [] } = this.snapshot() ?? {};
    const ofVolume = mounts.filter((each) => each.volume === volume);
    const copy =
      path === undefined
        ? (ofVolume.find(({ subPath }) => subPath === undefined) ?? ofVolume[0])
        : parts.find((each) => each.volume === volume && each.path === path);
    if (copy?.state !== 'ready')
      throw new BowlineError(
        'VOLUME_NOT_FOUND',
        copy === undefined
          ? `The container has no volume "${volume}" mounted.`
          : `Volume "${volume}" is not here: ${copy.reason ?? copy.state}.`,
        {
          details: {
            volume,
            alternatives: [
              ...new Set([...this.#copies.values()].flatMap((copy) => copy.planned.mounts.map((each) => each.volume))),
            ],
          },
        },
      );
    // What a pattern fits stands in a folder.
    const target = path === undefined || path.includes('*') ? copy.local : join(copy.local, path);
    if (path !== undefined && (copy.files === 0 || !(await exists(target))))
      throw new BowlineError('VOLUME_NOT_FOUND', `Volume "${volume}" has no ${path}.`);
    const { registry } = this.#options;
    if (registry.links(this.#session).some((link) => link.at === to && link.to === target)) return;
    const insteadOfFolder = await isEmptyFolder(to);
    const folders = await missingAbove(to);
    await registry.addLink(this.#session, { at: to, to: target, insteadOfFolder, folders });
    if (insteadOfFolder) await rmdir(to);
    await mkdir(dirname(to), { recursive: true, mode: 0o700 });
    await symlink(target, to);
  }

  /** The connection goes on with another session, and with these files. */
  async belongTo(session: string): Promise<void> {
    await this.#options.registry.rename(this.#session, session);
    this.#session = session;
  }

  /** Ends everything and removes what was made. */
  async remove(): Promise<void> {
    this.#ending.abort(new BowlineError('CANCELLED', 'The connection is being released.'));
    this.#announce();
    await this.#work;
    clearTimeout(this.#announcement);
    await this.#options.registry.release(this.#session);
    this.#folder = undefined;
    this.#copies.clear();
  }

  async #run(tunnel: OutboundTunnel, agentPod: string, signal: AbortSignal): Promise<void> {
    const { cluster, session, request } = this.#options;
    const agent = await cluster.get(pods, agentPod, session.namespace, { signal });
    const original = needsOriginal(agent) ? await this.#options.original(signal) : undefined;
    const mounted = planCopies(agent, session.container, original);
    const named = this.#options.named(mounted.flatMap(({ mounts }) => mounts.map(({ volume }) => volume)));
    const whole = mounted.filter(
      ({ mounts }) => request.volumes || mounts.some(({ volume }) => named.whole.includes(volume)),
    );
    await this.#plan([...whole, ...planParts(mounted, named.parts)]);
    if (original !== undefined) this.#fields = await originalFieldFiles(cluster, original, session.container, signal);
    const sources = new Map<VolumeCopy, Source>();
    for (const copy of this.#copies.values()) {
      const { from, mountPath, mounts } = copy.planned;
      if (from === 'agent') {
        const source = agentSource(tunnel, { path: mountPath, ...this.#choice(copy.planned) });
        sources.set(copy, withFieldFiles(source, mountPath, this.#fields));
      } else if (original === undefined) copy.giveUp('only an original has it, and none runs');
      else {
        const pod = { namespace: session.namespace, name: original.metadata?.name ?? '' };
        const places = placesInOriginal(original, session.container, mounts[0]!);
        const { include, exclude, part } = this.#choice(copy.planned);
        const partly = include.length + exclude.length > 0 || part !== undefined;
        sources.set(copy, originalSource(cluster, pod, places, { partly }));
      }
    }
    const inTurn = limited(atOnce);
    const bring = (copy: VolumeCopy): Promise<void> => copy.keepBringing(sources.get(copy)!, signal, inTurn);
    const beside = [...sources.keys()].filter((copy) => copy.planned.from === 'original' && !copy.settled).map(bring);
    try {
      await this.#follow(tunnel, bring, signal);
    } finally {
      await Promise.all(beside);
    }
  }

  async #plan(planned: PlannedCopy[]): Promise<void> {
    const { registry, request } = this.#options;
    const folder = (this.#folder ??= await registry.take(this.#session));
    const { maxVolumeBytes: maxBytes } = request;
    const former = new Map(this.#copies);
    this.#copies.clear();
    for (const each of planned) {
      // A new agent's token has another name at the same place.
      const known = former.get(each.entry);
      if (known !== undefined) this.#copies.set(each.entry, known);
      else {
        const choice = this.#choice(each);
        const there = await folder.has(each.entry);
        const onChange = (): void => this.#announceSoon();
        this.#copies.set(each.entry, new VolumeCopy({ planned: each, folder, choice, maxBytes, there, onChange }));
      }
    }
    await folder.place([...this.#copies.values()].flatMap(({ planned: { mounts, part } }) => (part ? [] : mounts)));
    this.#planned = true;
    this.#announce();
  }

  /** `include` chooses among whole volumes; a part has been chosen by its name. */
  #choice({ except, part }: PlannedCopy): FileChoice {
    const { include, exclude } = this.#options.request;
    return part === undefined ? { include, exclude, except } : { include: [], exclude, except, part };
  }

  /** Until the tunnel ends: brings each content once, and again when kubelet has written it anew. */
  async #follow(
    tunnel: OutboundTunnel,
    bring: (copy: VolumeCopy) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const copies = [...this.#copies.values()].filter((copy) => copy.planned.from === 'agent');
    if (copies.length === 0) return;
    const paths = [...new Set(copies.map((copy) => copy.planned.mountPath))];
    const request: AgentStreams['watchFiles'] = { paths };
    const stream = await tunnel.open('watchFiles', request, signal);
    stream.end();
    const under: Array<Promise<void>> = [];
    try {
      for await (const line of createInterface({ input: stream })) {
        const { path, version } = JSON.parse(line) as VolumeVersion;
        for (const copy of copies.filter((each) => each.planned.mountPath === path)) {
          if (copy.version === version) continue;
          // Nobody tells of changes of a volume that kubelet does not write: what is here stays.
          if (version === '' && copy.state === 'ready') continue;
          copy.version = version;
          under.push(bring(copy));
        }
      }
    } finally {
      stream.destroy();
      await Promise.all(under);
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #announceSoon(): void {
    this.#announcement ??= setTimeout(() => this.#announce(), announceInterval).unref();
    if ([...this.#copies.values()].every((copy) => copy.settled)) this.#announce();
  }

  #announce(): void {
    clearTimeout(this.#announcement);
    this.#announcement = undefined;
    this.#wake();
    this.#options.onChange();
  }
}

function onAbort(signal: AbortSignal, listener: () => void): Disposable {
  signal.addEventListener('abort', listener, { once: true });
  return { [Symbol.dispose]: () => signal.removeEventListener('abort', listener) };
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** False where nothing is. Rejects with LOCAL_PATH_TAKEN. */
async function isEmptyFolder(to: string): Promise<boolean> {
  const found = await lstat(to).catch(() => undefined);
  if (found === undefined) return false;
  if (found.isDirectory() && (await readdir(to)).length === 0) return true;
  throw new BowlineError('LOCAL_PATH_TAKEN', `${to} is there already, and was not made by this connection.`, {
    hint: 'Move it away, or let the volume come to another path. Nothing was changed.',
    details: { path: to },
  });
}

/** The folders that have to be made for it, outermost first. */
async function missingAbove(path: string): Promise<string[]> {
  const above = dirname(path);
  if (above === path || (await exists(above))) return [];
  return [...(await missingAbove(above)), above];
}

/** Runs as many at the same time, the others in the order in which they came. */
function limited(count: number): (work: () => Promise<void>) => Promise<void> {
  const waiting: Array<() => void> = [];
  let running = 0;
  return async (work) => {
    if (running >= count) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  };
}
