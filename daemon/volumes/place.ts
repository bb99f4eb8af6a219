/** Where files of the cluster are kept on this machine: in memory where the system has a place for that. */
import { rmdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Paths } from '../../api/paths.ts';
import { makePrivateFolder } from '../../api/private-folder.ts';

export interface Place {
  folder: string;
  backing: 'memory' | 'disk';
}

/** Of tmpfs and ramfs, from statfs(2). */
const memoryTypes = new Set([0x01021994, 0x858458f6]);

/** The folder exists and only its user can enter it. */
export async function findPlace(paths: Paths, uid: number): Promise<Place> {
  const shared = join('/dev/shm', `bowline-${uid}`);
  for (const [parent, folder] of [
    [paths.runtimeFolder, join(paths.runtimeFolder, 'files')],
    ['/dev/shm', shared],
  ] as const) {
    if (!(await isMemory(parent))) continue;
    try {
      await makePrivateFolder(folder, uid);
      return { folder, backing: 'memory' };
    } catch {
      // Somebody else made it, or it may not be written: the next one.
    }
  }
  const folder = join(paths.stateFolder, 'files');
  await makePrivateFolder(folder, uid);
  return { folder, backing: 'disk' };
}

/** At the end of a daemon: the folder goes when nothing is left in it. */
export async function leavePlace({ folder }: Place): Promise<void> {
  await rmdir(folder).catch(() => undefined);
}

async function isMemory(folder: string): Promise<boolean> {
  if (process.platform !== 'linux') return false;
  const found = await statfs(folder).catch(() => undefined);
  return found !== undefined && memoryTypes.has(found.type);
}
