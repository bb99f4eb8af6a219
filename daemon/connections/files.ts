/** The container's files, as one connection wants them: waited for within its bounds, and placed where its environment file says. */
import type { Connection, Progress } from '../../api/schema.ts';
import type { EnvironmentFile } from '../../env-parser/environment-file.ts';
import type { Placement } from '../environment/environment-file.ts';
import { namedVolumes, namesVolumes, placeVolumes } from '../environment/placements.ts';
import { abortable } from '../names/source.ts';
import { ConnectionFiles } from '../volumes/connection-files.ts';
import type { VolumeRegistry } from '../volumes/registry.ts';
import { originalOf, workloadOf } from './facts.ts';
import type { OnProgress } from './manager.ts';
import type { Tie } from './tie.ts';
import type { Tunnels } from './tunnels.ts';

export interface WantedFilesOptions {
  volumes: VolumeRegistry;
  file: EnvironmentFile | undefined;
  /** Aborted when the connection ends. */
  ending: AbortSignal;
}

export class WantedFiles {
  private readonly tie: Tie;
  private readonly options: WantedFilesOptions;
  private readonly files: ConnectionFiles | undefined;
  /** What the environment file wants elsewhere, as far as it is there. */
  private placing: Promise<Placement[]> | undefined;

  constructor(tie: Tie, options: WantedFilesOptions) {
    this.tie = tie;
    this.options = options;
    this.files = this.open();
  }

  /** Whether there is a container whose files are wanted. */
  get any(): boolean {
    return this.files !== undefined;
  }

  /** Brings them through these tunnels; called anew with the next ones. */
  start(tunnels: Tunnels, agentPod: string): void {
    this.files?.start(tunnels.outbound, agentPod);
    this.placed(this.options.ending).catch(() => undefined);
  }

  snapshot(): Connection['files'] {
    return this.files?.snapshot();
  }

  /** Once for each daemon: the places stay until the connection is released. Waits for the volumes, within a bound. */
  async placed(signal: AbortSignal): Promise<Placement[]> {
    const { files } = this;
    const { file, ending } = this.options;
    if (file === undefined || files === undefined) return [];
    const { serviceAccount } = this.tie.session.target ?? {};
    this.placing ??= placeVolumes(file, files, serviceAccount, ending).then(({ placed, failed }) => {
      const said = failed.map(({ token, reason }) => `${token.text}: ${reason}`);
      if (said.length > 0) this.tie.warn({ code: 'VOLUME_NOT_PLACED', message: said.join(' ') });
      return placed;
    });
    const enough = AbortSignal.timeout(this.tie.session.request.timeoutSeconds * 1000);
    return abortable(this.placing, AbortSignal.any([signal, enough])).catch(() => {
      signal.throwIfAborted();
      return [];
    });
  }

  /** Bounded: what takes longer follows, and is said. With `from`, only what the originals have. */
  async arrived(signal: AbortSignal, onProgress?: OnProgress, from?: 'original'): Promise<void> {
    const { files, tie } = this;
    if (files === undefined) return;
    const { timeoutSeconds } = tie.session.request;
    const enough = AbortSignal.timeout(timeoutSeconds * 1000);
    const limit = AbortSignal.any([signal, enough]);
    const onChange = onProgress && reporter(files, onProgress);
    await files.settled(limit, { from, ...(onChange && { onChange }) }).catch(() => undefined);
    if (from === undefined && !limit.aborted) await this.placed(limit).catch(() => undefined);
    signal.throwIfAborted();
    const unplaced = tie.session.warnings.find(({ code }) => code === 'VOLUME_NOT_PLACED');
    if (unplaced !== undefined) onProgress?.({ type: 'warning', ...unplaced });
    if (onProgress && from === undefined) warnOfMissing(files, onProgress);
    const late = (files.snapshot()?.mounts ?? []).filter(({ state }) => state === 'waiting' || state === 'downloading');
    if (!enough.aborted || late.length === 0) return;
    tie.warn(
      {
        code: 'FILES_LATE',
        message: `After ${timeoutSeconds} s these volumes have not come whole: ${late.map(({ volume }) => volume).join(', ')}. They follow at the paths of their copies; \`bowline status\` shows them.`,
      },
      onProgress,
    );
  }

  /** The connection goes on with another session, and with these files. */
  async belongTo(session: string): Promise<void> {
    await this.files?.belongTo(session);
  }

  async remove(): Promise<void> {
    await this.files?.remove();
  }

  /** Of the container that is stood in for, unless they are not wanted. */
  private open(): ConnectionFiles | undefined {
    const { cluster, log, session } = this.tie;
    const { id, namespace, target, request } = session;
    const { file } = this.options;
    if (target === undefined || (!request.volumes && !namesVolumes(file))) return undefined;
    return new ConnectionFiles({
      cluster,
      registry: this.options.volumes,
      session: { id, namespace, container: target.container },
      request,
      named: (names) =>
        file === undefined ? { whole: [], parts: [] } : namedVolumes(file, names, target.serviceAccount),
      original: async (signal) => {
        const workload = await workloadOf(cluster, this.tie.session, signal);
        return workload && originalOf(workload, target.container)?.pod;
      },
      log,
      onChange: () => this.tie.changed('files'),
      onStopped: (reason) =>
        this.tie.warn({
          code: 'VOLUMES_STOPPED',
          message: `The files of the volumes cannot come: ${reason.replace(/\.$/, '')}. They are tried again with the next tunnel.`,
        }),
    });
  }
}

type VolumeProgress = Extract<Progress, { type: 'volume' }>;

function volumesOf(files: ConnectionFiles): VolumeProgress[] {
  const { mounts = [], parts = [] } = files.snapshot() ?? {};
  const named = [
    ...mounts.map((mount) => ({ name: mount.mountPath, ...mount })),
    ...parts.map((part) => ({ name: `${part.volume}/${part.path}`, ...part })),
  ];
  return named.map(({ name, state, bytes, received, files: count, reason }) => ({
    type: 'volume',
    name,
    state,
    bytes,
    received,
    files: count,
    reason,
  }));
}

/** Tells of each volume what has changed since it was last asked. */
function reporter(files: ConnectionFiles, onProgress: OnProgress): () => void {
  const told = new Map<string, string>();
  return () => {
    for (const volume of volumesOf(files)) {
      const text = JSON.stringify(volume);
      if (told.get(volume.name) === text) continue;
      told.set(volume.name, text);
      onProgress(volume);
    }
  };
}

/** To whoever starts a program that may want them. */
function warnOfMissing(files: ConnectionFiles, onProgress: OnProgress): void {
  const missing = volumesOf(files).filter(({ state }) => ['skipped', 'unavailable', 'failed'].includes(state));
  for (const { name, state, reason } of missing)
    onProgress({ type: 'warning', code: 'VOLUME_MISSING', message: `${name} is not here (${state}): ${reason}.` });
}
