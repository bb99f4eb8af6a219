/**
 * Small state in JSON files that survive a kill at any instant: written to a temporary file, synced, renamed, the folder
 * synced. Files carry the version of their shape. One that cannot be read is set aside and reported: neither lost nor
 * a reason to fail at each start. Owns the folder; writes to one file are done one after the other.
 */
import { open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { BowlineError } from '../../api/errors.ts';
import { makePrivateFolder } from '../../api/private-folder.ts';
import type { Log } from '../log.ts';

export interface JsonFilesOptions<T> {
  /** Version of the shape; a file of another version is set aside unless `parse` is given and takes it. */
  version: number;
  /** Checks (and migrates) what was read; throws when it cannot. Without it the version must be equal. */
  parse?: (value: unknown, version: number) => T;
  log: Log;
}

export interface JsonFolder<T> {
  load(): Promise<Map<string, T>>;
  /** Resolves when it is on the disk. */
  save(id: string, value: T): Promise<void>;
  remove(id: string): Promise<void>;
}

export interface JsonFile<T> {
  load(): Promise<T | undefined>;
  save(value: T): Promise<void>;
  remove(): Promise<void>;
}

export async function openJsonFolder<T>(folder: string, options: JsonFilesOptions<T>): Promise<JsonFolder<T>> {
  await makePrivateFolder(folder, process.getuid?.() ?? -1);
  /** Those that are being read or written. Ids come and go with the sessions: nothing is kept for one that is gone. */
  const busy = new Map<string, { file: JsonFile<T>; uses: number }>();
  const use = async <R>(id: string, work: (file: JsonFile<T>) => Promise<R>): Promise<R> => {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(id)) throw new Error(`not an id for a file: ${JSON.stringify(id)}`);
    const entry = busy.get(id) ?? { file: jsonFile(join(folder, `${id}.json`), options), uses: 0 };
    busy.set(id, entry);
    entry.uses += 1;
    try {
      return await work(entry.file);
    } finally {
      entry.uses -= 1;
      if (entry.uses === 0) busy.delete(id);
    }
  };
  return {
    async load() {
      const found = new Map<string, T>();
      for (const name of (await readdir(folder)).sort()) {
        // What a kill left of a write that was never promised.
        if (name.endsWith('.tmp')) await rm(join(folder, name), { force: true });
        if (!name.endsWith('.json')) continue;
        const id = basename(name, '.json');
        const value = await use(id, (file) => file.load());
        if (value !== undefined) found.set(id, value);
      }
      return found;
    },
    save: (id, value) => use(id, (file) => file.save(value)),
    remove: (id) => use(id, (file) => file.remove()),
  };
}

export async function openJsonFile<T>(path: string, options: JsonFilesOptions<T>): Promise<JsonFile<T>> {
  await makePrivateFolder(dirname(path), process.getuid?.() ?? -1);
  return jsonFile(path, options);
}

function jsonFile<T>(path: string, options: JsonFilesOptions<T>): JsonFile<T> {
  let last: Promise<void> = Promise.resolve();
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  };
  return {
    async load() {
      await last;
      let content: string;
      try {
        content = await readFile(path, 'utf8');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
      try {
        return decode(content, options);
      } catch (error) {
        const aside = `${path}.unreadable-${Date.now()}`;
        await rename(path, aside);
        options.log.error('state.unreadable', { file: path, aside, reason: (error as Error).message });
        return undefined;
      }
    },
    save(value) {
      const content = JSON.stringify({ version: options.version, value });
      return inTurn(() => writeWhole(path, content, { durable: true })).catch((error: unknown) => {
        throw unwritable(path, error);
      });
    },
    remove: () => inTurn(() => rm(path, { force: true })),
  };
}

function unwritable(path: string, error: unknown): BowlineError {
  const reason = (error as NodeJS.ErrnoException).code ?? String(error);
  return new BowlineError('STATE_UNREADABLE', `${path} cannot be written: ${reason}.`, {
    hint:
      reason === 'ENOSPC' || reason === 'EDQUOT' ? 'The disk is full: make room, and try again.' : 'See who owns it.',
    cause: error,
  });
}

function decode<T>(content: string, { version, parse }: JsonFilesOptions<T>): T {
  const read = JSON.parse(content) as { version?: unknown; value?: unknown } | null;
  if (typeof read?.version !== 'number' || read.value === undefined) throw new Error('it is not a state file');
  if (parse) return parse(read.value, read.version);
  if (read.version !== version) throw new Error(`it has version ${read.version}, this program knows ${version}`);
  return read.value as T;
}

/** Readers see the old content or the new, never a part; with `durable` also after a loss of power. */
export async function writeWhole(path: string, content: string, { durable }: { durable: boolean }): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await using file = await open(temporary, 'w', 0o600);
    await file.writeFile(content);
    if (durable) await file.sync();
  } catch (error) {
    await rm(temporary, { force: true }); // on a full disk a part of it would only take room
    throw error;
  }
  await rename(temporary, path);
  if (!durable || process.platform === 'win32') return; // Folders cannot be opened there.
  await using folder = await open(dirname(path), 'r');
  await folder.sync();
}
