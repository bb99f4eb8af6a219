/**
 * What takes long to make (the binaries, the images) lies outside the tree, under a key made from all that goes into it.
 * Things appear there by rename, so that what is there is whole, and several clones may build at the same time.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

export function cacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  return join(environment['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'bowline', 'cluster');
}

export function keyOf(inputs: unknown): string {
  return createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 16);
}

/** Path of the cached file or folder NAME; `make` writes it to the path it is given when it is not there yet. */
export async function cached(name: string, make: (path: string) => Promise<void>): Promise<string> {
  const folder = cacheFolder();
  const path = join(folder, name);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  const workshop = mkdtempSync(join(folder, 'making-'));
  try {
    const made = join(workshop, 'result');
    await make(made);
    try {
      renameSync(made, path);
    } catch (error) {
      // Another process was faster with the same thing: a folder that is there cannot be replaced, and need not be.
      if (!existsSync(path)) throw error;
    }
  } finally {
    rmSync(workshop, { recursive: true, force: true });
  }
  return path;
}
