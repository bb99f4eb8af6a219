/**
 * What a caller has sent so far, kept so that it can be said again to the originals when the machine vanishes before it
 * has answered. Bounded: beyond the limit the copy is given up (`complete` is false).
 */
import type { Duplex } from 'node:stream';

const limit = 64 * 1024;
const safeMethod = /^(?:GET|HEAD|OPTIONS) /;
const endOfHead = '\r\n\r\n';

export class Replay {
  #chunks: Buffer[] = [];
  #size = 0;
  #complete = true;

  constructor(first: Buffer[] = []) {
    for (const chunk of first) this.add(chunk);
  }

  get full(): boolean {
    return this.#size >= limit;
  }

  get complete(): boolean {
    return this.#complete;
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
  }

  /** Lets go of the copy. */
  forget(): void {
    this.#chunks = [];
    this.#complete = false;
  }

  writeTo(stream: Duplex): void {
    for (const chunk of this.#chunks) stream.write(chunk);
  }

  /**
   * May be said a second time although the machine may have heard it: nothing was said, or one HTTP request that only
   * asks and has no body (and nothing behind it).
   */
  get repeatable(): boolean {
    if (!this.#complete) return false;
    if (this.#size === 0) return true;
    const text = Buffer.concat(this.#chunks).toString('latin1');
    const end = text.indexOf(endOfHead);
    return safeMethod.test(text) && (end === -1 || end + endOfHead.length === text.length);
  }
}
