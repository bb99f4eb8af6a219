/**
 * What leaves: the tunnel's own frames first, then the bytes of the channels, taking turns. What is said in one turn of the
 * event loop leaves at its end, with one write: each costs both ends and the API server in between more than its bytes. The
 * bytes of one channel that had no company lately do not wait for that.
 * One write is under way at a time, so nothing waits behind more than one. Bytes wait in their channel, where their writer
 * feels it. Reading never waits for any of this.
 */
import type { Duplex } from 'node:stream';
import { frame, headerLength, maxData, writeHeader } from './frames.ts';
import type { FrameType } from './frames.ts';
import { Pace } from './pace.ts';

/** Of one write: what TLS passes on with one system call. */
const writeSize = headerLength + maxData;
/** Of one channel in one write, where others wait. */
const portion = 32 * 1024;

/** One that has bytes to send. */
export interface Sender {
  readonly id: number;
  /** Bytes that it may send now. */
  readonly sendable: number;
  /** Moves so many of them to a place in a buffer; true when they are the last and an END follows. */
  take(to: Buffer, at: number, length: number): boolean;
  /** The turn is over: it may wait again, or ask its writer for more. */
  taken(): void;
}

export class Outbox {
  readonly #socket: Duplex;
  readonly #pace = new Pace();
  /** Free again when the write that carries it is done. */
  readonly #slab = Buffer.allocUnsafeSlow(writeSize);
  #control = Buffer.allocUnsafeSlow(4 * 1024);
  #controlLength = 0;
  readonly #waiting: Sender[] = [];
  /** Of each ping that is not answered yet, oldest first. */
  readonly #pings: { at: number; sent: number }[] = [];
  #scheduled = false;
  /** The last write had bytes of several: more of them is to be expected in the same turn. */
  #inCompany = false;
  /** Of what was said unhurriedly since the last write. */
  #lingering: NodeJS.Immediate | undefined;
  #writing = false;
  #stopped = false;
  readonly #flush = (): void => this.#flushNow();
  readonly #linger = (): void => {
    this.#lingering = setImmediate(this.#flush);
  };
  readonly #written = (): void => {
    this.#writing = false;
    this.#flushNow();
  };

  constructor(socket: Duplex) {
    this.#socket = socket;
  }

  /** Goes before all bytes that wait. */
  say(type: FrameType, channel: number, payload?: Buffer): void {
    this.#put(type, channel, payload);
    this.#schedule();
  }

  /**
   * As `say`, but a turn later, unless something else leaves before: what mostly follows (a caller's first bytes, the next
   * connection) goes in the same write.
   */
  sayUnhurried(type: FrameType, channel: number, payload?: Buffer): void {
    this.#put(type, channel, payload);
    this.#lingering ??= setImmediate(this.#linger);
  }

  /** Goes before whatever leaves next, and causes no write: nobody waits for it. */
  sayWithNext(type: FrameType, channel: number): void {
    this.#put(type, channel);
  }

  credit(channel: number, bytes: number): void {
    const at = writeHeader(this.#roomFor(headerLength + 4), this.#controlLength, frame.credit, channel, 4);
    this.#controlLength = this.#control.writeUInt32BE(bytes, at);
    this.#schedule();
  }

  ping(): void {
    this.#pings.push({ at: performance.now(), sent: this.#pace.sent });
    this.say(frame.ping, 0);
  }

  /** Milliseconds since its ping; undefined when there was none. */
  pong(): number | undefined {
    const ping = this.#pings.shift();
    if (ping === undefined) return undefined;
    const now = performance.now();
    this.#pace.arrivedUntil(ping.sent, now);
    if (this.#waiting.length > 0) this.#schedule();
    return now - ping.at;
  }

  /** `sender` has bytes and credit; it must not wait already. */
  wait(sender: Sender): void {
    this.#waiting.push(sender);
    if (this.#inCompany) this.#schedule();
    else if (!this.#scheduled && !this.#writing) {
      this.#scheduled = true;
      queueMicrotask(this.#flush);
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#waiting.length = 0;
    this.#controlLength = 0;
  }

  #put(type: FrameType, channel: number, payload?: Buffer): void {
    const length = payload?.length ?? 0;
    const at = writeHeader(this.#roomFor(headerLength + length), this.#controlLength, type, channel, length);
    payload?.copy(this.#control, at);
    this.#controlLength = at + length;
  }

  #roomFor(length: number): Buffer {
    const needed = this.#controlLength + length;
    if (needed > this.#control.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#control.length));
      this.#control.copy(larger, 0, 0, this.#controlLength);
      this.#control = larger;
    }
    return this.#control;
  }

  #schedule(): void {
    if (this.#scheduled || this.#writing) return;
    this.#scheduled = true;
    setImmediate(this.#flush);
  }

  #flushNow(): void {
    this.#scheduled = false;
    if (this.#writing || this.#stopped) return;
    clearImmediate(this.#lingering);
    this.#lingering = undefined;
    let length = Math.min(this.#controlLength, writeSize);
    if (length > 0) {
      this.#control.copy(this.#slab, 0, 0, length);
      this.#control.copyWithin(0, length, this.#controlLength);
      this.#controlLength -= length;
    }
    // A frame may have been cut: nothing may come between its parts.
    if (this.#controlLength === 0) length = this.#fill(length);
    if (length === 0) return;
    this.#writing = true;
    this.#socket.write(this.#slab.subarray(0, length), this.#written);
  }

  /** Bytes of those that wait, from `at`; returns where they end. */
  #fill(at: number): number {
    // Always room for an END and a ping that follow.
    const end = writeSize - 2 * headerLength;
    this.#inCompany = this.#waiting.length > 1;
    for (let alone = this.#waiting.length === 1; this.#waiting.length > 0; alone &&= this.#waiting.length === 1) {
      const room = Math.min(end - at - headerLength, this.#pace.room);
      if (room <= 0) break;
      const sender = this.#waiting.shift() as Sender;
      // Nothing, when its bytes have gone with a reset.
      const length = Math.min(sender.sendable, alone ? room : Math.min(room, portion));
      if (length > 0) {
        const ends = sender.take(this.#slab, writeHeader(this.#slab, at, frame.data, sender.id, length), length);
        at += headerLength + length;
        if (ends) at = writeHeader(this.#slab, at, frame.end, sender.id, 0);
        if (this.#pace.send(length)) {
          this.#pings.push({ at: performance.now(), sent: this.#pace.sent });
          at = writeHeader(this.#slab, at, frame.ping, 0, 0);
        }
      }
      sender.taken();
    }
    return at;
  }
}
