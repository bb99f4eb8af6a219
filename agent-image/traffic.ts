/** Counts connections by where they go. Written by listeners and routes, read by `status` and by the end of the process. */
import type { AgentStatus } from './contract.ts';

export type Way = 'machine' | 'originals';

export class Traffic {
  machine = 0;
  originals = 0;
  machineTotal = 0;
  originalsTotal = 0;
  /** Accepted and not yet on a way: nobody was found who has it. */
  waiting = 0;
  readonly problems: AgentStatus['problems'] = [];
  #accepted = Number.NEGATIVE_INFINITY;

  get open(): number {
    return this.machine + this.originals + this.waiting;
  }

  /** Milliseconds since the last accepted connection. */
  get quiet(): number {
    return Math.min(Math.round(performance.now() - this.#accepted), Number.MAX_SAFE_INTEGER);
  }

  /** Counts a connection from accept until `work` is done with it. */
  async accepted(work: () => Promise<void>): Promise<void> {
    this.#accepted = performance.now();
    this.waiting += 1;
    try {
      await work();
    } finally {
      this.waiting -= 1;
    }
  }

  /** Counts it on a way meanwhile. */
  async on<T>(way: Way, work: Promise<T>): Promise<T> {
    this.waiting -= 1;
    this[way] += 1;
    this[`${way}Total`] += 1;
    try {
      return await work;
    } finally {
      this[way] -= 1;
      this.waiting += 1;
    }
  }

  status(): AgentStatus {
    const { machine, originals, waiting, machineTotal, originalsTotal, quiet, problems } = this;
    return { machine, originals, waiting, machineTotal, originalsTotal, quiet, problems };
  }
}
