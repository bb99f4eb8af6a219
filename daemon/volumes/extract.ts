/**
 * Unpacks a tar stream that nobody vouches for into an empty folder. Only plain folders and files are ever made, with
 * names of their own below that folder; a link becomes a copy of what it leads to inside the volume. What an honest
 * archive may hold but cannot be had here (devices, links that lead out) is left out and told; what only a hostile one
 * holds (absolute names, `..`, the same name twice) refuses the whole.
 */
import { constants, copyFile, mkdir, open, readdir, stat, utimes } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { Readable } from 'node:stream';
import type { ReadEntry } from 'tar';
import { Parser } from 'tar/parse';
import { isChosen, isPartial, maxDepth, maxEntries, type FileChoice } from '../../agent-image/volume-choice.ts';
import { Links } from './links.ts';

export interface ExtractOptions {
  /** Exists, is empty, and is the caller's to remove when this rejects. */
  into: string;
  choice: FileChoice;
  maxBytes: number;
  /** Where the volume is mounted: absolute links are meant from there. */
  mountPath: string;
  /** The machine's file system tells `a` from `A`. */
  caseSensitive: boolean;
  /** Bytes so far. */
  onProgress: (bytes: number) => void;
}

export interface Extracted {
  bytes: number;
  files: number;
  /** Entries that are not here, each with the reason. */
  leftOut: string[];
  /** The archive said that it is whole. */
  whole: boolean;
  /** Nothing at all came. */
  empty: boolean;
}

/** More than `maxBytes`. */
export class TooLarge extends Error {}
/** The archive does what no archive of a folder does. */
export class Refused extends Error {}

const block = 512;
const folderTypes = new Set<string>(['Directory', 'GNUDumpDir']);
const fileTypes = new Set<string>(['File', 'OldFile', 'ContiguousFile']);
/** Folders and files that are copied because links lead to them: links to links multiply fast. */
const maxCopies = 5_000;

export async function extract(source: Readable, options: ExtractOptions): Promise<Extracted> {
  const parser = new Parser({ strict: true, maxMetaEntrySize: 64 * 1024 });
  const failure = Promise.withResolvers<never>();
  failure.promise.catch(() => undefined);
  const unpacking = new Unpacking(options, failure.promise);
  let entries = Promise.resolve();
  parser.on('entry', (entry: ReadEntry) => {
    entries = entries.then(() => unpacking.add(entry));
    entries.catch(failure.reject);
  });
  parser.on('ignoredEntry', (entry: ReadEntry) => {
    if (entry.meta) failure.reject(new Refused(`an entry of ${entry.size} bytes that only describes another`));
    else unpacking.leaveOut(entry.path, 'neither a file nor a folder');
  });
  parser.on('eof', () => (unpacking.result.whole = true));
  parser.on('error', (error: Error) => {
    // Streams of `exec` lose their end now and then; the next try may have it.
    const isCut = error.message.includes('Truncated input');
    failure.reject(isCut ? new Error('its end did not arrive') : new Refused(error.message));
  });
  const fed = async (): Promise<void> => {
    for await (const bytes of inBlocks(source)) {
      if (unpacking.result.empty) refuseCompressed(bytes);
      unpacking.result.empty = false;
      if (!parser.write(bytes)) await new Promise<void>((resolve) => void parser.once('drain', resolve));
    }
    if (unpacking.result.empty) return;
    const ended = Promise.withResolvers<void>();
    parser.once('end', ended.resolve);
    parser.end();
    await ended.promise;
    await entries;
  };
  try {
    await Promise.race([fed(), failure.promise]);
    return await unpacking.finish();
  } finally {
    source.destroy();
    failure.reject(new Error('The archive is done with.'));
    await entries.catch(() => undefined); // nothing is written any more when the folder is removed
  }
}

class Unpacking {
  readonly result: Extracted = { bytes: 0, files: 0, leftOut: [], whole: false, empty: true };
  readonly #options: ExtractOptions;
  readonly #links = new Links();
  /** Of every entry, to find the same one again; without regard to case where the file system has none. */
  readonly #names = new Map<string, string>();
  readonly #folders = new Set<string>(['']);
  #copies = 0;
  /** Rejects when no more of the archive comes. */
  readonly #stopped: Promise<never>;

  constructor(options: ExtractOptions, stopped: Promise<never>) {
    this.#options = options;
    this.#stopped = stopped;
  }

  leaveOut(path: string, why: string): void {
    this.result.leftOut.push(`${printable(path)} (${why})`);
  }

  async add(entry: ReadEntry): Promise<void> {
    const path = checked(entry.path);
    if (this.#names.size >= maxEntries) throw new Refused(`more than ${maxEntries} entries`);
    const { type } = entry;
    const kind = folderTypes.has(type) ? 'folder' : 'file';
    if (path === '' || !isChosen(path, kind, this.#options.choice)) return skip(entry);
    // Of a part, folders come with what is in them.
    if (kind === 'folder' && isPartial(this.#options.choice)) return skip(entry);
    // oxlint-disable-next-line eslint/no-control-regex -- they would change a terminal that shows the name
    if (/[\x00-\x1f\x7f\ufffd]/.test(path)) return this.#without(entry, path, 'a name that is no text');
    const twin = this.#names.get(this.#key(path));
    if (twin !== undefined && twin !== path) return this.#without(entry, path, `differs from ${twin} by case only`);
    if (twin !== undefined && kind === 'file') throw new Refused(`${printable(path)} is in it twice`);
    this.#names.set(this.#key(path), path);
    if (kind === 'folder') {
      await this.#folder(path);
      return skip(entry);
    }
    if (fileTypes.has(type)) return this.#file(path, entry);
    if (type === 'SymbolicLink') this.#link(path, fromLink(path, entry.linkpath ?? '', this.#options.mountPath));
    // As tar has them: named from the root of the archive.
    else if (type === 'Link') this.#links.add(path, checked(entry.linkpath ?? ''));
    else this.leaveOut(path, 'neither a file nor a folder');
    return skip(entry);
  }

  /** Copies what links lead to, now that everything is there. */
  async finish(): Promise<Extracted> {
    const { into } = this.#options;
    for (const { path, target } of this.#links.inOrder()) {
      const from = target === undefined ? undefined : await stat(join(into, target)).catch(() => undefined);
      if (target === undefined || from === undefined) this.leaveOut(path, 'a link that leads nowhere');
      else if (target === '' || `${path}/`.startsWith(`${target}/`))
        this.leaveOut(path, 'a link to a folder that it lies in');
      else if (from.isDirectory()) await this.#copyFolder(target, path);
      else await this.#copyFile(target, path, from.size);
    }
    return this.result;
  }

  #key(path: string): string {
    return this.#options.caseSensitive ? path : path.normalize('NFC').toLowerCase();
  }

  #without(entry: ReadEntry, path: string, why: string): Promise<void> {
    this.leaveOut(path, why);
    return skip(entry);
  }

  #link(path: string, target: string | undefined): void {
    if (target === undefined) this.leaveOut(path, 'a link that leads out of the volume');
    else this.#links.add(path, target);
  }

  async #folder(path: string): Promise<void> {
    if (this.#folders.has(path)) return;
    const parent = path.includes('/') ? posix.dirname(path) : '';
    await this.#folder(parent);
    if (this.#folders.size > maxEntries) throw new Refused(`more than ${maxEntries} folders`);
    await mkdir(join(this.#options.into, path), { mode: 0o700 }).catch(refusing(path));
    this.#folders.add(path);
  }

  async #file(path: string, entry: ReadEntry): Promise<void> {
    this.#reserve(entry.size);
    if (path.includes('/')) await this.#folder(posix.dirname(path));
    const mode = modeOf(entry.mode ?? 0);
    await using file = await open(join(this.#options.into, path), 'wx', mode).catch(refusing(path));
    const chunks = entry[Symbol.asyncIterator]();
    for (let next; (next = await Promise.race([chunks.next(), this.#stopped])).done !== true;) {
      const chunk = next.value;
      await file.writeFile(chunk);
      this.#count(chunk.length);
    }
    const written = entry.mtime?.getTime() ?? Number.NaN;
    // A date that is none, of an archive that nobody vouches for, is no date.
    if (written >= 0) await file.utimes(written / 1000, written / 1000);
    this.result.files++;
  }

  async #copyFolder(from: string, to: string): Promise<void> {
    this.#countCopy();
    if (to.split('/').length > maxDepth) throw new Refused(`folders nested deeper than ${maxDepth}`);
    await this.#folder(to);
    for (const each of await readdir(join(this.#options.into, from), { withFileTypes: true })) {
      const [source, target] = [`${from}/${each.name}`, `${to}/${each.name}`];
      if (each.isDirectory()) await this.#copyFolder(source, target);
      else {
        await this.#copyFile(source, target, (await stat(join(this.#options.into, source))).size);
      }
    }
  }

  async #copyFile(from: string, to: string, size: number): Promise<void> {
    const { into } = this.#options;
    this.#countCopy();
    this.#reserve(size);
    if (to.includes('/')) await this.#folder(posix.dirname(to));
    await copyFile(join(into, from), join(into, to), constants.COPYFILE_EXCL).catch(refusing(to));
    const { mtime } = await stat(join(into, from));
    await utimes(join(into, to), mtime, mtime);
    this.#count(size);
    this.result.files++;
  }

  #countCopy(): void {
    if (++this.#copies > maxCopies) throw new Refused(`its links lead to more than ${maxCopies} entries`);
  }

  #reserve(bytes: number): void {
    if (this.result.bytes + bytes > this.#options.maxBytes) throw new TooLarge();
  }

  #count(bytes: number): void {
    this.#reserve(bytes);
    this.result.bytes += bytes;
    this.#options.onProgress(this.result.bytes);
  }
}

/** Without `./` and a closing slash; empty for the root itself. */
function checked(path: string): string {
  const refuse = (why: string): Refused => new Refused(`${printable(path)}: ${why}`);
  if (path.startsWith('/') || /^[A-Za-z]:[\\/]/.test(path)) throw refuse('its name is absolute');
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || (process.platform === 'win32' && path.includes('\\')))
    throw refuse('its name leads out of the volume');
  if (parts.length > maxDepth) throw refuse(`nested deeper than ${maxDepth}`);
  return parts.join('/');
}

/** Where a link leads, from the volume's root; `undefined` for out of it. */
function fromLink(path: string, link: string, mountPath: string): string | undefined {
  const root = mountPath.replace(/\/+$/, '');
  const absolute = link.startsWith('/') ? posix.normalize(link) : posix.join(root, posix.dirname(path), link);
  if (absolute.replace(/\/+$/, '') === root) return '';
  return absolute.startsWith(`${root}/`) ? absolute.slice(root.length + 1).replace(/\/+$/, '') : undefined;
}

/** For the user alone; programs stay programs. */
const modeOf = (mode: number): number => ((mode & 0o111) === 0 ? 0o600 : 0o700);

function refusing(path: string): (error: NodeJS.ErrnoException) => never {
  return (error) => {
    if (error.code === 'EEXIST' || error.code === 'ENOTDIR') throw new Refused(`${printable(path)} is in it twice`);
    throw error;
  };
}

/** For messages: without what a terminal would obey, and not endless. */
function printable(path: string): string {
  // oxlint-disable-next-line eslint/no-control-regex -- the point
  return path.replaceAll(/[\x00-\x1f\x7f]/g, '?').slice(0, 120);
}

async function skip(entry: ReadEntry): Promise<void> {
  entry.resume();
}

/** The parser guesses gzip and others by their first bytes; what is sent here is plain, so a small stream cannot become a large one. */
function refuseCompressed(bytes: Buffer): void {
  if (
    bytes.length >= block &&
    bytes.subarray(257, 262).toString('latin1') !== 'ustar' &&
    !bytes.subarray(0, block).every((byte) => byte === 0)
  )
    throw new Refused('it is not tar');
}

/** Cut where tar is: the parser reads each piece of a long name as text by itself, which breaks letters that lie across two. */
async function* inBlocks(source: Readable): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    const bytes = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
    const whole = bytes.length - (bytes.length % block);
    if (whole > 0) yield bytes.subarray(0, whole);
    rest = bytes.subarray(whole);
  }
  if (rest.length > 0) yield rest;
}
