/**
 * What this user's daemons have made on the machine for sessions, written down before it is made, so that it goes with
 * the session, or at the next start after a crash. Only what stands here is ever removed, and no link is followed.
 */
import { lstat, mkdir, readlink, rm, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../log.ts';
import type { JsonFile } from '../state/json-files.ts';
import { SessionFolder } from './session-folder.ts';
import type { Place } from './place.ts';

export interface MadeFiles {
  folder: string;
  links: MadeLink[];
}

/** A link that was put elsewhere at somebody's wish. */
export interface MadeLink {
  at: string;
  to: string;
  /** An empty folder gives way to it, and comes back. */
  insteadOfFolder: boolean;
  /** Folders that were made on the way to it, outermost first. */
  folders: string[];
}

/** By session. */
export type Made = Record<string, MadeFiles>;

export class VolumeRegistry {
  readonly place: Place;
  readonly #file: JsonFile<Made>;
  readonly #made: Made;
  readonly #log: Log;

  private constructor(place: Place, file: JsonFile<Made>, made: Made, log: Log) {
    this.place = place;
    this.#file = file;
    this.#made = made;
    this.#log = log;
  }

  static async open(place: Place, file: JsonFile<Made>, log: Log): Promise<VolumeRegistry> {
    return new VolumeRegistry(place, file, (await file.load()) ?? {}, log);
  }

  /** The session's folder; that of an earlier daemon where it is still there. */
  async take(session: string): Promise<SessionFolder> {
    const made = (this.#made[session] ??= { folder: join(this.place.folder, session), links: [] });
    await this.#file.save(this.#made);
    return SessionFolder.open(made.folder);
  }

  /** What was made for one session is another's from now on. */
  async rename(from: string, to: string): Promise<void> {
    const made = this.#made[from];
    if (made === undefined) return;
    this.#made[to] = made;
    delete this.#made[from];
    await this.#file.save(this.#made);
  }

  links(session: string): MadeLink[] {
    return this.#made[session]?.links ?? [];
  }

  async addLink(session: string, link: MadeLink): Promise<void> {
    this.#made[session]?.links.push(link);
    await this.#file.save(this.#made);
  }

  /** Removes all of a session; what cannot be removed is tried again at the next start. */
  async release(session: string): Promise<void> {
    const made = this.#made[session];
    if (made === undefined) return;
    try {
      for (const link of made.links) await removeLink(link);
      // Only when all links are gone: several may lie in one of them.
      for (const link of made.links.toReversed()) await removeEmpty(link.folders);
      await removeFolder(made.folder);
      delete this.#made[session];
      await this.#file.save(this.#made);
    } catch (error) {
      this.#log.error('volumes.not-removed', { session, reason: (error as Error).message });
    }
  }

  /** Removes what belongs to none of these sessions. */
  async releaseOthers(sessions: ReadonlySet<string>): Promise<void> {
    for (const session of Object.keys(this.#made)) if (!sessions.has(session)) await this.release(session);
  }
}

/** Only the link that was made: what somebody put in its place is his. It may be missing: it was written down before. */
async function removeLink({ at, to, insteadOfFolder }: MadeLink): Promise<void> {
  const there = await lstat(at).catch(() => undefined);
  if (there !== undefined) {
    if ((await readlink(at).catch(() => undefined)) !== to) return;
    await unlink(at);
  }
  if (!insteadOfFolder) return;
  await mkdir(at).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error; // somebody has removed the folder that it was in
  });
}

/** From the innermost, until one has something in it, which somebody else has put there. */
async function removeEmpty(folders: readonly string[]): Promise<void> {
  const stays = ['ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'ENOENT'];
  for (const folder of folders.toReversed()) {
    await rmdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (!stays.includes(error.code ?? '')) throw error;
    });
  }
}

async function removeFolder(folder: string): Promise<void> {
  const found = await lstat(folder).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isDirectory()) return unlink(folder); // a link: what it leads to is not ours
  await rm(folder, { recursive: true, force: true });
}
