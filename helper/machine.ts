/**
 * Makes this machine as the caller wants it: screens, journals, writes the hosts block, opens low ports. Owns what is
 * applied now. One change at a time; while names are applied the hosts file is watched and mended.
 */
import type { HostsFile } from './hosts.ts';
import type { Journal } from './journal.ts';
import type { LowPorts } from './lowports.ts';
import type { ApplyAnswer, Desired } from './protocol.ts';
import type { Redirects } from './redirects.ts';
import { screen, type NamePolicy, type Refusal } from './validate.ts';

export interface MachineOptions {
  hostsFile: HostsFile;
  /** Absent where the kernel cannot; then low ports are relayed. */
  redirects: Redirects | undefined;
  lowPorts: LowPorts;
  journal: Journal;
  policy: Pick<NamePolicy, 'hostname' | 'allowedSuffixes'>;
}

const nothing: Desired = { hosts: [], lowPorts: [] };

export class Machine {
  readonly #options: MachineOptions;
  #desired: Desired = nothing;
  #last: Promise<unknown> = Promise.resolve();
  #watching: NodeJS.Timeout | undefined;

  constructor(options: MachineOptions) {
    this.#options = options;
  }

  get redirects(): boolean {
    return this.#options.redirects !== undefined;
  }

  /** Undoes what a killed helper left. */
  recover(): void {
    const { hostsFile, journal } = this.#options;
    const unfinished = journal.unfinished();
    journal.around('recover', { undoing: true, unfinished: unfinished?.operation ?? null }, () => ({
      ...hostsFile.recover(),
    }));
  }

  apply(desired: Desired): Promise<ApplyAnswer> {
    return this.#queue(() => this.#apply(desired));
  }

  undo(): Promise<void> {
    return this.#queue(async () => {
      if (this.#desired !== nothing) await this.#apply(nothing);
    });
  }

  restoreLowPorts(): Promise<void> {
    return this.#queue(() => this.#options.lowPorts.restore());
  }

  async #apply(desired: Desired): Promise<ApplyAnswer> {
    const { hostsFile, journal } = this.#options;
    const { accepted, refused } = this.#screen(desired);
    this.#desired = desired;
    const entries = accepted.hosts.length;
    journal.around('hosts', { undoing: entries === 0, entries, refused: refused.length }, () => ({
      ...hostsFile.apply(accepted.hosts),
    }));
    this.#watch(entries > 0);
    const taken = await this.#openPorts(accepted.lowPorts);
    journal.note('low-ports', { open: accepted.lowPorts.length - taken.length, refused: taken });
    return { refused: [...refused, ...taken] };
  }

  #screen(desired: Desired): { accepted: Desired; refused: Refusal[] } {
    const { names, addresses } = this.#options.hostsFile.foreign();
    const { policy } = this.#options;
    return screen(desired, { ...policy, foreignNames: names, foreignAddresses: addresses, anyPort: this.redirects });
  }

  async #openPorts(wanted: Desired['lowPorts']): Promise<Refusal[]> {
    const { redirects, lowPorts } = this.#options;
    if (redirects === undefined) return lowPorts.apply(wanted);
    try {
      await redirects.apply(wanted);
      return [];
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return wanted.map(({ address, port }) => ({ what: `${address}:${port}`, reason }));
    }
  }

  /**
   * Another program rewrote the file and our block is gone, or a name of ours now exists outside it. The first look always
   * reads the file: `fs.watchFile` would not see what happened between our write and its own first look.
   */
  #watch(on: boolean): void {
    const { hostsFile, journal } = this.#options;
    clearInterval(this.#watching);
    if (!on) return;
    let seen: string | undefined;
    const look = async (): Promise<void> => {
      const now = hostsFile.fingerprint();
      if (now === seen) return;
      seen = now;
      const { accepted } = this.#screen(this.#desired);
      const { changed } = hostsFile.apply(accepted.hosts);
      if (changed) journal.note('hosts-mended');
    };
    this.#watching = setInterval(() => {
      this.#queue(look).catch((error: unknown) => journal.note('hosts-not-mended', { reason: String(error) }));
    }, 1000).unref();
  }

  close(): void {
    clearInterval(this.#watching);
    this.#options.lowPorts.close();
  }

  #queue<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#last.then(change);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
