/**
 * The daemon's lasting tie to the helper: connects when needed, sends the desired state, and after a loss connects again
 * with back-off and sends it anew. Owns the one client. Knows nothing of services.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { BowlineError } from '../../api/errors.ts';
import type { ApplyAnswer, Desired, HelperClient } from '../../helper/protocol.ts';
import type { Log } from '../log.ts';

export type ConnectHelper = (signal: AbortSignal) => Promise<HelperClient>;

export interface HelperLinkOptions {
  connect: ConnectHelper;
  log: Log;
  /** The helper was lost or is back: what was applied must be looked at again. */
  onChange: () => void;
}

const firstWait = 100;
const longestWait = 5000;

export class HelperLink {
  readonly #options: HelperLinkOptions;
  readonly #signal: AbortSignal;
  #client: HelperClient | undefined;
  #connecting: Promise<HelperClient> | undefined;
  /** What the present client has been told, to send nothing twice. */
  #told = '';
  #answer: ApplyAnswer = { refused: [] };
  #keep = false;

  constructor(options: HelperLinkOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  /** Whether the helper leads any port to another; as it last said. */
  redirects = false;

  /** Throws why there is no helper. */
  connect(): Promise<HelperClient> {
    if (this.#client !== undefined) return Promise.resolve(this.#client);
    this.#connecting ??= this.#open().finally(() => (this.#connecting = undefined));
    return this.#connecting;
  }

  /** It is there, whatever it could do. */
  get connected(): boolean {
    return this.#client !== undefined;
  }

  /** The helper's answer, or why it cannot be had now; one that is gone is looked for. `again` sends what was sent before. */
  async apply(desired: Desired, again = false): Promise<ApplyAnswer | BowlineError> {
    this.#keep = true;
    try {
      const client = await this.connect();
      const text = JSON.stringify(desired);
      if (text !== this.#told || again) {
        this.#answer = await client.apply(desired);
        this.#told = text;
      }
      return this.#answer;
    } catch (error) {
      const reason = BowlineError.from(error);
      if (this.#client === undefined) this.#retry();
      return reason;
    }
  }

  /** Undoes what was applied, and lets go. */
  async release(): Promise<void> {
    this.#keep = false;
    const client = this.#client;
    const told = this.#told;
    this.#client = undefined;
    this.#told = '';
    if (client === undefined) return;
    try {
      if (told !== '') await client.release();
    } catch (error) {
      this.#options.log.warn('names.helper-release-failed', { reason: BowlineError.from(error).message });
    }
    client.close();
  }

  /** What an earlier daemon asked for goes at once, not after the helper's grace. Nothing may be applied meanwhile. Never throws. */
  async releaseFormer(): Promise<void> {
    try {
      const client = await this.connect();
      await client.release();
    } catch {
      // No helper, so nothing of it; or another daemon has it.
    }
    await this.release();
  }

  async #open(): Promise<HelperClient> {
    const client = await this.#options.connect(this.#signal);
    this.#client = client;
    this.redirects = client.redirects;
    this.#told = '';
    this.#options.log.info('names.helper-connected', { version: client.version });
    void client.closed.then(() => {
      if (this.#client !== client) return;
      this.#client = undefined;
      this.#options.log.warn('names.helper-lost');
      this.#options.onChange();
      this.#retry();
    });
    return client;
  }

  #retrying = false;
  #retry(): void {
    if (this.#retrying || !this.#keep) return;
    this.#retrying = true;
    const attempt = async (): Promise<void> => {
      for (let wait = firstWait; this.#keep && this.#client === undefined; wait = Math.min(wait * 2, longestWait)) {
        await delay(wait, undefined, { signal: this.#signal, ref: false });
        try {
          await this.connect();
        } catch {
          continue;
        }
        this.#options.onChange();
      }
    };
    attempt()
      .catch(() => undefined) // only the signal ends it
      .finally(() => (this.#retrying = false));
  }
}
