/** Volumes that the environment file wants at places of their own, put there when they have come. */
import { BowlineError } from '../../api/errors.ts';
import type { EnvironmentFile } from '../../env-parser/environment-file.ts';
import { matchVolumes } from '../../env-parser/references.ts';
import type { ConnectionFiles } from '../volumes/connection-files.ts';
import { placementsOf, type Placement } from './environment-file.ts';

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
  signal: AbortSignal,
): Promise<Placements> {
  const result: Placements = { placed: [], failed: [] };
  const wanted = placementsOf(file);
  if (wanted.length === 0) return result;
  await files.settled(signal);
  const mounts = files.snapshot()?.mounts ?? [];
  for (const placement of wanted) {
    const { token, to } = placement;
    const [volume] = matchVolumes(
      token.name,
      mounts.map((mount) => mount.volume),
    );
    const isPodsOwn = mounts.some((mount) => mount.volume === volume && mount.mountPath === to);
    if (volume === undefined || isPodsOwn) continue;
    const path = token.path === undefined || token.path.includes('*') ? {} : { path: token.path };
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
