/**
 * How much may be under way to the other end. The buffers of a slow link hold megabytes, and whatever is said next waits
 * behind them. So under way is at most what the other end took during the last second (pings that follow the bytes tell):
 * all that a fast link can carry, and little enough on a slow one.
 */

/** Always may be under way: the buffer of a slow link, the first round trips of a fast one. */
export const leastUnderWay = 1024 * 1024;
/** Bytes between two marks. */
const markEvery = 256 * 1024;
const second = 1_000;

export class Pace {
  /** Bytes since the start: sent, of these followed by a mark, of these known to have arrived. */
  #sent = 0;
  #marked = 0;
  #arrived = 0;
  /** Bytes that arrived: in the running second, and in the one before. */
  #began = 0;
  #now = 0;
  #before = 0;

  /** Bytes that may be sent now. */
  get room(): number {
    return Math.max(leastUnderWay, this.#before, this.#now) - (this.#sent - this.#arrived);
  }

  get sent(): number {
    return this.#sent;
  }

  /** Counts bytes that are sent; true when a mark (a ping) has to follow them. */
  send(bytes: number): boolean {
    this.#sent += bytes;
    if (this.#sent - this.#marked < markEvery) return false;
    this.#marked = this.#sent;
    return true;
  }

  /** All that was sent until then has arrived. */
  arrivedUntil(sent: number, now: number): void {
    const age = now - this.#began;
    if (age > second) {
      this.#before = age < 2 * second ? this.#now : 0;
      this.#now = 0;
      this.#began = now;
    }
    this.#now += sent - this.#arrived;
    this.#arrived = sent;
  }
}
