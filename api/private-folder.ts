/**
 * A folder that only its user can enter: the kernel's own check of who calls, because Node cannot ask for the peer's
 * credentials. The daemon makes it, and both sides refuse one that somebody else could have prepared (in /tmp above all).
 */
import { chmod, lstat, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BowlineError } from './errors.ts';

export async function makePrivateFolder(folder: string, uid: number): Promise<void> {
  await makeFolders(folder).catch((error: NodeJS.ErrnoException) => {
    throw new BowlineError('STATE_UNREADABLE', `${folder} cannot be made: ${error.code ?? error.message}.`, {
      hint: 'See who owns the folders above it, or let XDG_RUNTIME_DIR, XDG_STATE_HOME and XDG_CACHE_HOME name folders of your own.',
      details: { folder },
      cause: error,
    });
  });
  await checkPrivateFolder(folder, uid, { repair: true });
}

/** Not `recursive`: Node tries for ever where the file system says ENOENT to every new folder, as /proc does. */
async function makeFolders(folder: string): Promise<void> {
  const make = (): Promise<void> =>
    mkdir(folder, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  try {
    await make();
  } catch (error) {
    const above = dirname(folder);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || above === folder) throw error;
    await makeFolders(above);
    await make();
  }
}

/** Rejects unless `folder` is a real folder of `uid`, closed to everyone else. Missing is ENOENT as usual. */
export async function checkPrivateFolder(
  folder: string,
  uid: number,
  options: { repair?: boolean } = {},
): Promise<void> {
  const stats = await lstat(folder);
  if (!stats.isDirectory()) throw refused(folder, 'it is not a folder');
  if (uid < 0) return; // Windows: the user's profile has the right access list already.
  if (stats.uid !== uid) throw refused(folder, `it belongs to user ${stats.uid}, not to you (${uid})`);
  if ((stats.mode & 0o077) === 0) return;
  if (!options.repair) throw refused(folder, `others may enter it (mode ${(stats.mode & 0o777).toString(8)})`);
  await chmod(folder, 0o700);
}

function refused(folder: string, why: string): BowlineError {
  return new BowlineError('STATE_UNREADABLE', `${folder} cannot be trusted: ${why}.`, {
    hint: `Remove it, or set XDG_RUNTIME_DIR to a folder of your own, and try again.`,
    details: { folder },
  });
}
