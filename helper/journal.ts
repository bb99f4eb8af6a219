/**
 * The helper's journal and audit: one NDJSON line before each change (synced, so that it is there after a crash) and one
 * after it, and one for each request, done or refused. On a full disk nothing is changed any more without its line before,
 * but everything is undone: that needs no journal. Lies in a folder that only root may read and write. Holds names, addresses
 * and counts, no data of users.
 */
import { closeSync, constants, fstatSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';

export interface JournalLine {
  at: string;
  seq: number;
  phase: 'begin' | 'done' | 'failed' | 'note';
  operation: string;
  [fact: string]: unknown;
}

const rotateAt = 1024 * 1024;

export class Journal {
  readonly #path: string;
  readonly #now: () => Date;
  #seq = 0;

  constructor(path: string, now: () => Date) {
    this.#path = path;
    this.#now = now;
  }

  /** The change that a killed helper had begun and not finished. Throws where the journal is a link. */
  unfinished(): JournalLine | undefined {
    let last: JournalLine | undefined;
    for (const line of this.#lines()) {
      if (line.phase === 'begin') last = line;
      else if (line.phase !== 'note' && line.seq === last?.seq) last = undefined;
    }
    return last;
  }

  /** Never throws. */
  note(operation: string, facts: Record<string, unknown> = {}): void {
    this.#tell({ phase: 'note', operation, seq: this.#seq, ...facts });
  }

  /** Runs `change` between its two lines. `undoing`: also where the first one cannot be written. */
  around(
    operation: string,
    { undoing, ...facts }: { undoing: boolean } & Record<string, unknown>,
    change: () => Record<string, unknown>,
  ): void {
    this.#seq += 1;
    const seq = this.#seq;
    const begin = { phase: 'begin', operation, seq, ...facts } as const;
    if (undoing) this.#tell(begin, true);
    else this.#append(begin, true);
    try {
      this.#tell({ phase: 'done', operation, seq, ...change() });
    } catch (error) {
      this.#tell({ phase: 'failed', operation, seq, reason: error instanceof Error ? error.message : String(error) });
      throw error;
    }
  }

  #tell(line: Omit<JournalLine, 'at'>, sync = false): void {
    try {
      this.#append(line, sync);
    } catch {
      // A full disk, or one that cannot be written any more.
    }
  }

  #append(line: Omit<JournalLine, 'at'>, sync: boolean): void {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW;
    const file = openSync(this.#path, flags, 0o600);
    try {
      writeSync(file, `${JSON.stringify({ at: this.#now().toISOString(), ...line })}\n`);
      if (sync) fsyncSync(file);
      if (fstatSync(file).size > rotateAt && line['phase'] !== 'begin') renameSync(this.#path, `${this.#path}.1`);
    } finally {
      closeSync(file);
    }
  }

  #lines(): JournalLine[] {
    let content: string;
    try {
      content = readFileSync(this.#path, { encoding: 'utf8', flag: constants.O_RDONLY | constants.O_NOFOLLOW });
    } catch (error) {
      // A link that somebody else put there: neither read nor written.
      if ((error as NodeJS.ErrnoException).code === 'ELOOP') throw error;
      return [];
    }
    return content.split('\n').flatMap((line) => {
      try {
        return [JSON.parse(line) as JournalLine];
      } catch {
        return []; // the last line of a killed helper may be cut off
      }
    });
  }
}
