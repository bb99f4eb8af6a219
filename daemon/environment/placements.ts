/** Volumes that the environment file wants at places of their own, put there when they have come. */
import { BowlineError } from '../../api/errors.ts';
import type { EnvironmentFile } from '../../env-parser/environment-file.ts';
import { matchVolumes, tokensOf } from '../../env-parser/references.ts';
import type { ConnectionFiles, NamedVolumes } from '../volumes/connection-files.ts';
import { placementsOf, type Placement } from './environment-file.ts';

export function namesVolumes(file: EnvironmentFile | undefined): boolean {
  return file !== undefined && tokensOf(file).some(({ kind }) => kind === 'volume');
}

/** Of these volumes those that the file names, and the parts of them that it names by themselves. */
export function namedVolumes(file: EnvironmentFile, volumes: string[], serviceAccount?: string): NamedVolumes {
  const named: NamedVolumes = { whole: [], parts: [] };
  for (const token of tokensOf(file)) {
    const [volume] = token.kind === 'volume' ? matchVolumes(token.name, volumes, serviceAccount) : [];
    if (volume === undefined || token.kind !== 'volume') continue;
    if (token.path === undefined) named.whole.push(volume);
    else named.parts.push({ volume, path: token.path });
  }
  return named;
}

export interface Placements {
  placed: Placement[];
  failed: Array<Placement & { reason: string }>;
}

/**
 * Waits until the volumes have come. Rejects only with the signal's reason. The place that a volume has in the pod is left
 * alone: there it is for a command with private files, and no other program of this machine shall find it.
 */
export async function placeVolumes(
  file: EnvironmentFile,
  files: Pick<ConnectionFiles, 'settled' | 'snapshot' | 'download'>,
  serviceAccount: string | undefined,
  signal: AbortSignal,
): Promise<Placements> {
  const result: Placements = { placed: [], failed: [] };
  const wanted = placementsOf(file);
  if (wanted.length === 0) return result;
  await files.settled(signal);
  const { mounts = [], parts = [] } = files.snapshot() ?? {};
  for (const placement of wanted) {
    const { token, to } = placement;
    const [volume] = matchVolumes(
      token.name,
      [...mounts, ...parts].map((copy) => copy.volume),
      serviceAccount,
    );
    const isPodsOwn = mounts.some((mount) => mount.volume === volume && mount.mountPath === to);
    if (volume === undefined || isPodsOwn) continue;
    const path = token.path === undefined ? {} : { path: token.path };
    try {
      await files.download({ volume, ...path, to }, signal);
      result.placed.push(placement);
    } catch (error) {
      signal.throwIfAborted();
      result.failed.push({ ...placement, reason: BowlineError.from(error).message });
    }
  }
  return result;
}
