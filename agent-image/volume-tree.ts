/**
 * A mounted volume as plain folders and files. Links are followed where they stay inside the volume, so `..data` of
 * kubelet's volumes is never seen; everything that is neither folder nor file is left out, with the reason.
 */
import type { Stats } from 'node:fs';
import { lstat, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { isChosen, maxDepth, maxEntries, type FileChoice } from './volume-choice.ts';

export type VolumeEntry =
  | { kind: 'folder'; path: string; stats: Stats }
  /** `source`: where it is read from. */
  | { kind: 'file'; path: string; stats: Stats; source: string }
  | { kind: 'left out'; path: string; why: string };

/** Where kubelet keeps the content of ConfigMaps, Secrets and projected volumes, renamed as a whole when it changes. */
const atomicData = '..data';

/** Target of `..data`: another one when kubelet has written anew. Empty for other volumes. */
export async function versionOf(mountPath: string): Promise<string> {
  return readlink(join(mountPath, atomicData)).catch(() => '');
}

/** Parents before their children. Rejects when the volume has more entries, or deeper ones, than travel. */
export async function* entriesOf(mountPath: string, choice: FileChoice): AsyncGenerator<VolumeEntry> {
  const own = await stat(mountPath);
  if (!own.isDirectory()) {
    yield { kind: 'file', path: basename(mountPath), stats: own, source: mountPath };
    return;
  }
  const version = await versionOf(mountPath);
  const root = await realpath(version === '' ? mountPath : join(mountPath, atomicData));
  let seen = 0;
  for await (const entry of walk('', root, [root])) {
    if (++seen > maxEntries) throw new Error(`it has more than ${maxEntries} entries`);
    yield entry;
  }

  /** `above`: the real folders on the way here. */
  async function* walk(path: string, folder: string, above: string[]): AsyncGenerator<VolumeEntry> {
    if (above.length > maxDepth) throw new Error(`its folders are nested deeper than ${maxDepth}`);
    for (const name of (await readdir(folder)).sort()) {
      const inside = path === '' ? name : `${path}/${name}`;
      const entry = await look(inside, join(folder, name), above);
      if (entry === undefined) continue;
      yield entry;
      if (entry.kind !== 'folder') continue;
      const { real } = entry;
      try {
        yield* walk(inside, real, [...above, real]);
      } catch (error) {
        if (!isUnreadable(error)) throw error;
        yield { kind: 'left out', path: inside, why: 'may not be read by the container' };
      }
    }
  }

  async function look(
    path: string,
    place: string,
    above: string[],
  ): Promise<
    Exclude<VolumeEntry, { kind: 'folder' }> | { kind: 'folder'; path: string; stats: Stats; real: string } | undefined
  > {
    const leftOut = (why: string) => ({ kind: 'left out' as const, path, why });
    let real = place;
    let stats = await lstat(place);
    if (stats.isSymbolicLink()) {
      const found = await realpath(place).catch(() => undefined);
      if (!isChosen(path, 'folder', choice)) return undefined;
      if (found === undefined) return leftOut('a link that leads nowhere');
      if (found !== root && !found.startsWith(`${root}/`)) return leftOut('a link that leads out of the volume');
      if (above.includes(found)) return leftOut('a link to a folder that it lies in');
      real = found;
      stats = await stat(found);
    }
    const kind = stats.isDirectory() ? 'folder' : 'file';
    if (!isChosen(path, kind, choice)) return undefined;
    if (kind === 'folder') return { kind, path, stats, real };
    return stats.isFile() ? { kind, path, stats, source: real } : leftOut('neither a file nor a folder');
  }
}

function isUnreadable(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EACCES' && (error as NodeJS.ErrnoException).syscall === 'scandir';
}
