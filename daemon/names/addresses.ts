/**
 * One loopback address per service, the same each time: by hash, moved on where two fall together, remembered in a store.
 * Owns the allocations. The hash is salted with the user, so that two users of a machine seldom meet.
 */
import { createHash } from 'node:crypto';
import { loopbackRange } from '../../helper/protocol.ts';

/** Where allocations live over restarts; the daemon's state folder provides it. */
export interface AllocationStore {
  load(): Promise<Record<string, string>>;
  save(allocations: Record<string, string>): Promise<void>;
}

/** The range has 65,534 addresses; beyond this many the longest unused ones are given back. */
const mostRemembered = 30_000;

export class AddressBook {
  readonly #byKey: Map<string, string>;
  readonly #byAddress: Map<string, string>;
  readonly #salt: string;

  constructor(remembered: Record<string, string>, salt: string) {
    const sound = Object.entries(remembered).filter(([, address]) => address.startsWith(loopbackRange.prefix));
    this.#byKey = new Map(sound);
    this.#byAddress = new Map(sound.map(([key, address]) => [address, key]));
    this.#salt = salt;
  }

  /** The address of each key; new ones are taken in sorted order, so that it does not matter who asked first. */
  assign(keys: Iterable<string>): { addresses: Map<string, string>; changed: boolean } {
    const wanted = [...keys].sort();
    const fresh = wanted.filter((key) => !this.#byKey.has(key));
    this.#forget(new Set(wanted), this.#byKey.size + fresh.length - mostRemembered);
    for (const key of fresh) {
      const address = this.#free(key);
      this.#byKey.set(key, address);
      this.#byAddress.set(address, key);
    }
    return { addresses: new Map(wanted.map((key) => [key, this.#byKey.get(key) ?? ''])), changed: fresh.length > 0 };
  }

  entries(): Record<string, string> {
    return Object.fromEntries(this.#byKey);
  }

  #free(key: string): string {
    const hash = createHash('sha256').update(`${this.#salt}\n${key}`).digest().readUInt16BE(0);
    for (let step = 0; ; step += 1) {
      const number = (hash + step) % 65_536;
      const [third, fourth] = [number >> 8, number & 255];
      const address = `${loopbackRange.prefix}${third}.${fourth}`;
      // .0 and .255 are no host addresses to some programs
      if (fourth !== 0 && fourth !== 255 && !this.#byAddress.has(address)) return address;
    }
  }

  #forget(used: Set<string>, count: number): void {
    if (count <= 0) return;
    const idle = [...this.#byKey.keys()].filter((key) => !used.has(key));
    for (const key of idle.slice(0, count)) {
      this.#byAddress.delete(this.#byKey.get(key) ?? '');
      this.#byKey.delete(key);
    }
  }
}
