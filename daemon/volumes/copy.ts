/** One content of a connection on this machine: brings it, again when it has changed, and knows how it stands. */
import { readdir, rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { FileChoice } from '../../agent-image/volume-choice.ts';
import { BowlineError } from '../../api/errors.ts';
import type { MountedVolume, PartOfVolume } from '../../api/schema.ts';
import { extract, Refused, TooLarge } from './extract.ts';
import type { PlannedCopy } from './mounts.ts';
import type { SessionFolder } from './session-folder.ts';
import { Unavailable, type Source } from './sources.ts';

export interface CopyOptions {
  planned: PlannedCopy;
  folder: SessionFolder;
  choice: FileChoice;
  maxBytes: number;
  /** An earlier daemon has brought it. */
  there: boolean;
  onChange: () => void;
  /** Milliseconds until what could not be had is asked for again. */
  againAfter?: number;
}

type State = Pick<MountedVolume, 'state' | 'bytes' | 'received' | 'files' | 'reason' | 'updated'>;

const tries = 3;
const firstPause = 500;
/** Milliseconds after those tries: the first pause, and the longest, after as many have doubled. */
const againAfter = 10_000;
const againAtLeastEvery = 300_000;

type InTurn = (work: () => Promise<void>) => Promise<void>;

export class VolumeCopy {
  readonly planned: PlannedCopy;
  /** Of what was asked for last, as kubelet names it; `undefined` before anything was. */
  version: string | undefined;
  readonly #options: CopyOptions;
  #state: State;
  #bringing: Promise<void> = Promise.resolve();
  /** It was asked for and could not be had, for a reason that may pass. */
  #isBehind = false;
  /** Counts the calls of `keepBringing`. */
  #asked = 0;

  constructor(options: CopyOptions) {
    this.#options = options;
    this.planned = options.planned;
    this.#state = { state: options.there ? 'ready' : 'waiting' };
  }

  get state(): MountedVolume['state'] {
    return this.#state.state;
  }

  get #local(): string {
    return this.#options.folder.local(this.planned.entry);
  }

  /** It has come, or will not. */
  get settled(): boolean {
    return this.state !== 'waiting' && this.state !== 'downloading';
  }

  /** None of a part. */
  mounts(): MountedVolume[] {
    const { mounts, part } = this.planned;
    if (part !== undefined) return [];
    return mounts.map(({ entry: _entry, ...mount }) => ({ ...mount, local: this.#local, ...this.#state }));
  }

  parts(): PartOfVolume[] {
    const { mounts, part } = this.planned;
    if (part === undefined) return [];
    return [{ volume: mounts[0]!.volume, path: part, local: this.#local, ...this.#state }];
  }

  /** Never rejects: how it went is its state. One after the other; aborting leaves it waiting for the next call. */
  bring(source: Source, signal: AbortSignal): Promise<void> {
    this.#bringing = this.#bringing.then(() => this.#bring(source, signal));
    return this.#bringing;
  }

  /**
   * Brings it, and where that fails for a reason that may pass, again, later and later: kubelet does not tell of a version
   * twice. Until it is here, a newer version is asked for, or the signal. Never rejects.
   */
  async keepBringing(source: Source, signal: AbortSignal, inTurn: InTurn): Promise<void> {
    const asked = ++this.#asked;
    for (let pause = this.#options.againAfter ?? againAfter; ; pause = Math.min(pause * 2, againAtLeastEvery)) {
      await inTurn(() => this.bring(source, signal));
      if (!this.#isBehind || signal.aborted) return;
      await delay(spread(pause), undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted || asked !== this.#asked) return;
    }
  }

  /** There is nobody to ask. */
  giveUp(reason: string): void {
    if (this.state !== 'ready') this.#become({ state: 'unavailable', reason });
  }

  async #bring(source: Source, signal: AbortSignal): Promise<void> {
    this.#isBehind = false;
    for (let attempt = 1; ; attempt++) {
      try {
        signal.throwIfAborted();
        await this.#once(source, signal);
        return;
      } catch (error) {
        const final = isFull(error) || [TooLarge, Unavailable, Refused].some((kind) => error instanceof kind);
        if (signal.aborted && !final) {
          this.version = undefined;
          this.#fail({ state: 'waiting', reason: 'the tunnel was cut; it is brought anew when it is back' });
          return;
        }
        if (final || attempt === tries) {
          this.#isBehind = !final || isFull(error);
          // The next tunnel's agent tells of the same version, which is to be brought then.
          if (this.#isBehind) this.version = undefined;
          this.#fail(isFull(error) ? await this.#noRoom() : outcomeOf(error, this.#options.maxBytes));
          return;
        }
        await delay(spread(firstPause * 2 ** (attempt - 1)), undefined, { signal, ref: false }).catch(() => undefined);
      }
    }
  }

  async #once(source: Source, signal: AbortSignal): Promise<void> {
    const { folder, choice, maxBytes, planned } = this.#options;
    const size = await source.size(signal);
    if (size?.problem !== undefined) throw new Error(size.problem);
    if (size !== undefined && size.bytes > maxBytes) {
      this.#note({ bytes: size.bytes, files: size.files });
      throw new TooLarge();
    }
    this.#note({ state: 'downloading', bytes: size?.bytes, files: size?.files, received: 0, reason: undefined });
    if (size !== undefined && size.bytes > (await folder.free())) throw new Full();
    const into = await folder.begin(planned.entry);
    let kept = false;
    try {
      const { archive, checkEnd } = await source.open(signal);
      const onProgress = (received: number): void => this.#note({ received });
      const { mountPath } = planned;
      // The only file of a mount was chosen by the mount itself.
      const wanted = size?.single === true ? { include: [], exclude: [], except: [] } : choice;
      const caseSensitive = process.platform === 'linux';
      const got = await extract(archive, { into, choice: wanted, maxBytes, mountPath, caseSensitive, onProgress });
      const told = [await checkEnd(got), await source.complete?.(into)].filter(Boolean);
      signal.throwIfAborted();
      await folder.become(planned.entry, into, size?.single === true ? (await readdir(into))[0] : undefined);
      kept = true;
      const leftOut = [...(size?.leftOut ?? []), ...got.leftOut];
      const count = (size?.leftOutCount ?? 0) + got.leftOut.length;
      const reason = [count > 0 ? `left out: ${someOf(leftOut, count)}` : '', ...told].filter(Boolean).join('; ');
      this.#become({
        state: 'ready',
        bytes: got.bytes,
        files: got.files,
        updated: new Date().toISOString(),
        ...(reason === '' ? {} : { reason }),
      });
    } finally {
      if (!kept) await rm(into, { recursive: true, force: true });
    }
  }

  async #noRoom(): Promise<State> {
    const { path } = this.#options.folder;
    const free = describeBytes(await this.#options.folder.free().catch(() => 0));
    const { bytes } = this.#state;
    const needs = bytes === undefined ? '' : `, and it has ${describeBytes(bytes)}`;
    const where = `there is no room for it in ${path}: ${free} are free${needs}`;
    return {
      state: 'failed',
      reason: `${where}; make room there and it comes by itself, or connect anew and bring less with --max-volume, --include and --exclude`,
    };
  }

  /** What is here stays, and stays ready, when a newer content could not be had. */
  #fail(outcome: State): void {
    if (this.#state.updated === undefined && this.state !== 'ready') this.#become({ ...this.#sizes(), ...outcome });
    else this.#become({ ...this.#state, reason: `not the newest: ${outcome.reason}` });
  }

  #sizes(): Partial<State> {
    const { bytes, files } = this.#state;
    return { ...(bytes === undefined ? {} : { bytes }), ...(files === undefined ? {} : { files }) };
  }

  /** On the way; a content that is here stays ready meanwhile. */
  #note(change: Partial<State>): void {
    if (this.state !== 'ready') this.#become({ ...this.#state, ...change });
  }

  #become(state: State): void {
    this.#state = state;
    this.#options.onChange();
  }
}

/** So that those who failed together do not come together. */
const spread = (pause: number): number => pause * (0.75 + Math.random() / 2);

/** Known before anything is written. */
class Full extends Error {}

function isFull(error: unknown): boolean {
  return error instanceof Full || ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '');
}

function outcomeOf(error: unknown, maxBytes: number): State {
  if (error instanceof TooLarge)
    return {
      state: 'skipped',
      reason: `it is larger than ${describeBytes(maxBytes)}; bring it with a larger --max-volume, or parts of it with --include and --exclude`,
    };
  if (error instanceof Unavailable) return { state: 'unavailable', reason: error.message };
  if (error instanceof Refused) return { state: 'failed', reason: `its archive is refused: ${error.message}` };
  return { state: 'failed', reason: BowlineError.from(error).message };
}

function someOf(all: string[], count: number): string {
  const some = all.slice(0, 5).join(', ');
  return count > 5 ? `${some} and ${count - 5} more` : some;
}

function describeBytes(bytes: number): string {
  return bytes < 1024 * 1024 ? `${Math.ceil(bytes / 1024)} KiB` : `${Math.round(bytes / 1024 / 1024)} MiB`;
}
