/**
 * The hosts file: one marked block per user, and not a byte of anything else. Owns the block of one user; other programs
 * and the helpers of other users write the same file, so it is read again for every write and checked once more just
 * before it is replaced. Bytes are handled as latin1, which maps each byte to one character and back.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  openSync,
} from 'node:fs';
import { readFileSync, renameSync, rmSync, writeSync, type Stats } from 'node:fs';
import { dirname, join } from 'node:path';
import { loopbackRange } from './protocol.ts';
import type { HostEntry } from './protocol.ts';

export interface HostsFileOptions {
  path: string;
  /** User id whose block it is. */
  user: number;
  /** Where a copy is kept while the file is written in place; in a folder that only root may write. */
  copy: string;
}

export interface HostsChange {
  changed: boolean;
  /** SHA-256 of the bytes that are not ours, the same before and after. */
  outside: string;
}

/** There is no room: of the disk, or of what somebody may have on it. */
const full = ['ENOSPC', 'EDQUOT'];

/** What is not ours: the block stands, or will stand, between the two. */
interface Outside {
  before: string;
  after: string;
}

export class HostsFile {
  readonly #options: HostsFileOptions;

  constructor(options: HostsFileOptions) {
    this.#options = options;
  }

  /** Names (in lower case) and addresses in the file outside the block. */
  foreign(): { names: Set<string>; addresses: Set<string> } {
    const { before, after } = parse(this.#read().text, this.#options.user);
    const names = new Set<string>();
    const addresses = new Set<string>();
    for (const line of (before + after).split(/\r?\n/)) {
      const [address = '', ...found] = line.replace(/#.*/, '').trim().split(/\s+/);
      addresses.add(address);
      for (const name of found) names.add(name.toLowerCase());
    }
    return { names, addresses };
  }

  /** Another one when the file was written or replaced since, by whomever. */
  fingerprint(): string {
    return fingerprintOf(lstatSync(this.#options.path));
  }

  /** Makes the block hold exactly `entries`; no entries, no block. One write, none when nothing changes. */
  apply(entries: HostEntry[]): HostsChange {
    for (let attempt = 1; ; attempt += 1) {
      const { text, stat } = this.#read();
      const outside = parse(text, this.#options.user);
      const next = render(outside, entries, this.#options.user);
      const checksum = sum(outside);
      if (sum(parse(next, this.#options.user)) !== checksum)
        throw new Error(`${this.#options.path} cannot be changed without touching foreign lines.`);
      if (next === text) return { changed: false, outside: checksum };
      if (this.#write(text, next, stat)) return { changed: true, outside: checksum };
      if (attempt === 5) throw new Error(`${this.#options.path} is being changed by another program all the time.`);
    }
  }

  /** Finishes what a killed helper left: a file half written in place, temporary files, the block. */
  recover(): HostsChange {
    this.#mendTornWrite();
    removeQuietly(this.#temporary());
    return this.apply([]);
  }

  #read(): { text: string; stat: Stats } {
    const { path } = this.#options;
    if (lstatSync(path).isSymbolicLink()) throw new Error(`${path} is a symbolic link; it is not followed.`);
    // What was looked at may be something else by now: the open itself follows nothing, and waits for no pipe.
    const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(file);
      if (!stat.isFile()) throw new Error(`${path} is not a file.`);
      if (stat.size > 16 * 1024 * 1024) throw new Error(`${path} is larger than 16 MiB.`);
      return { text: readFileSync(file, 'latin1'), stat };
    } finally {
      closeSync(file);
    }
  }

  /** False when somebody else changed the file since it was read. */
  #write(text: string, next: string, stat: Stats): boolean {
    const unchanged = (): boolean => this.fingerprint() === fingerprintOf(stat);
    // A second hard link would keep the old content.
    if (stat.nlink > 1) return this.#writeInPlace(text, next, unchanged);
    const temporary = this.#temporary();
    try {
      rmSync(temporary, { force: true });
      const file = openSync(
        temporary,
        constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
        0o600,
      );
      try {
        writeAll(file, next);
        fchownSync(file, stat.uid, stat.gid);
        fchmodSync(file, stat.mode & 0o7777);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      if (!unchanged()) {
        rmSync(temporary);
        return false;
      }
      renameSync(temporary, this.#options.path);
    } catch (error) {
      removeQuietly(temporary);
      // A bind mount (EBUSY, EXDEV), a read-only folder around it, a disk without room for a second one: the file itself
      // can still be written.
      if (!['EBUSY', 'EXDEV', 'EROFS', ...full].includes(codeOf(error))) throw error;
      return this.#writeInPlace(text, next, unchanged);
    }
    syncFolder(dirname(this.#options.path));
    return true;
  }

  /** Not atomic: a copy of both texts is kept until done, see `#mendTornWrite`. */
  #writeInPlace(text: string, next: string, unchanged: () => boolean): boolean {
    const { path, copy } = this.#options;
    try {
      this.#keepCopy(JSON.stringify({ text, next }));
    } catch (error) {
      removeQuietly(copy);
      // What becomes shorter needs no room, and must go also where nothing can be written: one write of a few kilobytes,
      // which a kill does not tear; a loss of power might.
      if (next.length > text.length || !full.includes(codeOf(error))) throw error;
    }
    if (!unchanged()) {
      removeQuietly(copy);
      return false;
    }
    overwrite(path, next);
    removeQuietly(copy);
    return true;
  }

  #keepCopy(content: string): void {
    rmSync(this.#options.copy, { force: true });
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const saved = openSync(this.#options.copy, flags, 0o600);
    try {
      writeAll(saved, content);
      fsyncSync(saved);
    } finally {
      closeSync(saved);
    }
  }

  #mendTornWrite(): void {
    const { path, copy } = this.#options;
    let saved: { text: string; next: string };
    try {
      saved = JSON.parse(readFileSync(copy, 'utf8')) as typeof saved;
    } catch {
      // none, or killed while it was written: then the file itself was not touched yet
      rmSync(copy, { force: true });
      return;
    }
    const now = this.#read().text;
    // Torn is what begins as the new and goes on as the old. Anything else was written by somebody else since.
    let same = 0;
    while (same < now.length && now[same] === saved.next[same]) same += 1;
    const torn = now !== saved.next && now !== saved.text && now.slice(same) === saved.text.slice(same);
    // Finished rather than undone, so that being killed here again leaves the same shape; the block goes next.
    if (torn) overwrite(path, saved.next);
    rmSync(copy);
  }

  #temporary(): string {
    return join(dirname(this.#options.path), `.hosts.bowline-${this.#options.user}`);
  }
}

/** How the first line of this user's block begins. */
export const blockBegin = (user: number): string => `# BEGIN bowline (user ${user}`;
const begin = (user: number, joined: boolean): string =>
  `${blockBegin(user)}${joined ? ', joined' : ''}): written while connected, removed afterwards`;
const end = (user: number): string => `# END bowline (user ${user})`;

/**
 * Takes our blocks out. Between a begin and its end every line of ours goes; a line that somebody else put there stays.
 * A begin without an end reaches as far as the lines are ours, an end without a begin is one line.
 */
function parse(text: string, user: number): Outside {
  const lines = text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
  const bare = lines.map((line) => line.replace(/\r?\n$/, ''));
  const isBegin = (index: number): boolean => bare[index] === begin(user, false) || bare[index] === begin(user, true);
  const isEnd = (index: number): boolean => bare[index] === end(user);
  const isOurs = (index: number): boolean => (bare[index] ?? '').startsWith(loopbackRange.prefix);
  const before: string[] = [];
  const after: string[] = [];
  let outside = before;
  let joined = '';
  for (let index = 0; index < lines.length; index += 1) {
    if (isBegin(index)) {
      if (bare[index] === begin(user, true)) joined = lines[index]?.endsWith('\r\n') ? '\r\n' : '\n';
      outside = after;
      let last = index + 1;
      while (last < lines.length && !isEnd(last) && !isBegin(last)) last += 1;
      if (!isEnd(last)) for (last = index; isOurs(last + 1);) last += 1;
      for (index += 1; index <= last; index += 1) if (!isOurs(index) && !isEnd(index)) after.push(lines[index] ?? '');
      index = last;
    } else if (isEnd(index)) {
      outside = after;
    } else {
      outside.push(lines[index] ?? '');
    }
  }
  // The newline before a block at the end of a file that had none is ours too.
  const head = before.join('');
  const separated = joined !== '' && after.length === 0 && head.endsWith(joined);
  return { before: separated ? head.slice(0, -joined.length) : head, after: after.join('') };
}

function render({ before, after }: Outside, entries: HostEntry[], user: number): string {
  if (entries.length === 0) return before + after;
  const newline = /\r\n/.test(before + after) ? '\r\n' : '\n';
  const joined = before !== '' && !before.endsWith('\n');
  const lines = [begin(user, joined && after === ''), ...entries.flatMap(hostLines), end(user)];
  return before + (joined ? newline : '') + lines.map((line) => line + newline).join('') + after;
}

/** Short lines: musl reads 511 bytes of a line, Windows nine names. */
function hostLines({ address, names }: HostEntry): string[] {
  const lines: string[] = [];
  let line = '';
  let count = 0;
  for (const name of names) {
    if (line === '' || count === 8 || line.length + 1 + name.length > 400) {
      if (line !== '') lines.push(line);
      line = address;
      count = 0;
    }
    line += ` ${name}`;
    count += 1;
  }
  return line === '' ? lines : [...lines, line];
}

function fingerprintOf({ ino, dev, mtimeMs, size }: Stats): string {
  return `${dev}:${ino}:${mtimeMs}:${size}`;
}

function sum({ before, after }: Outside): string {
  return createHash('sha256')
    .update(before + after, 'latin1')
    .digest('hex');
}

function overwrite(path: string, text: string): void {
  const file = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW);
  try {
    writeAll(file, text);
    ftruncateSync(file, text.length);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function writeAll(file: number, text: string): void {
  const bytes = Buffer.from(text, 'latin1');
  for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done, bytes.length - done, done);
}

function syncFolder(path: string): void {
  const folder = openSync(path, constants.O_RDONLY);
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function removeQuietly(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // A read-only folder: nothing was made there. A left-over is removed at the next start.
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
