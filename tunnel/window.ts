/**
 * How much one end lets the other have under way. Each channel begins with little, and grows as long as its reader keeps
 * up: a transfer over a long way gets what it needs (rate x round trip: 320 MB/s at 50 ms) within some round trips, and
 * readers that stall, however many, hold little. What all channels of a tunnel have grown by is bounded too.
 */

/** Known to both ends. */
export const firstWindow = 256 * 1024;
const largestWindow = 16 * 1024 * 1024;
const largestGrowth = 64 * 1024 * 1024;

export class Allowance {
  #grown = 0;

  /** Bytes by which a window of this size may grow: it doubles while it can. */
  grow(window: number): number {
    const more = Math.min(window, largestWindow - window, largestGrowth - this.#grown);
    this.#grown += more;
    return more;
  }

  /** Of a channel that is closed. */
  giveBack(window: number): void {
    this.#grown -= window - firstWindow;
  }
}
