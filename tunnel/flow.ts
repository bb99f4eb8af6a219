/**
 * Holds back the writes of streams, so that what is produced faster than it can be sent waits in its stream, where its
 * writer feels it. Under way is at most what the other end took during the last second (it says so by answering pings):
 * all that a fast link can carry, and on a slow one little enough that pings and other streams do not wait behind it.
 * First come, first served: no stream starves.
 */
import type { Http2Session, Http2Stream } from 'node:http2';
import type { Carrier } from './carrier.ts';

/** Always may be under way: the buffer of a slow link, the first round trips of a fast one. */
const leastUnderWay = 1024 * 1024;
/** Written between two pings, and in one turn of the event loop. */
const portion = 256 * 1024;
const second = 1_000;

type Done = (error?: Error | null) => void;

export class Flow {
  readonly #carrier: Carrier;
  readonly #session: Http2Session;
  readonly #held: (() => void)[] = [];
  /** Bytes since the start: handed to the carrier, of these followed by a ping, of these known to have arrived. */
  #sent = 0;
  #marked = 0;
  #arrived = 0;
  /** Bytes that arrived: in the running second, and in the one before. */
  #now = { began: 0, bytes: 0 };
  #before = 0;
  #turn = 0;

  constructor(session: Http2Session, carrier: Carrier) {
    this.#session = session;
    this.#carrier = carrier;
    carrier.onClear(() => this.#release());
  }

  control(stream: Http2Stream): void {
    const write = stream._write.bind(stream);
    const writev = stream._writev?.bind(stream);
    stream._write = (chunk: Buffer, encoding, callback) =>
      this.#pass(chunk.length, (done) => write(chunk, encoding, done), callback);
    if (writev !== undefined)
      stream._writev = (chunks, callback) =>
        this.#pass(stream.writableLength, (done) => writev(chunks, done), callback);
  }

  get #open(): boolean {
    if (this.#turn >= portion || this.#carrier.congested) return false;
    return this.#sent - this.#arrived < Math.max(leastUnderWay, this.#before, this.#now.bytes);
  }

  #pass(bytes: number, begin: (done: Done) => void, callback: Done): void {
    const write = (): void => {
      if (this.#turn === 0) setImmediate(() => this.#nextTurn());
      this.#turn += bytes;
      begin((error) => {
        if (!error) this.#written(bytes);
        callback(error);
      });
    };
    if (this.#held.length === 0 && this.#open) write();
    else this.#held.push(write);
  }

  #nextTurn(): void {
    this.#turn = 0;
    this.#release();
  }

  #release(): void {
    while (this.#open) {
      const write = this.#held.shift();
      if (write === undefined) return;
      write();
    }
  }

  #written(bytes: number): void {
    this.#sent += bytes;
    if (this.#sent - this.#marked < portion || this.#session.destroyed || this.#session.closed) return;
    const mark = this.#sent;
    this.#marked = mark;
    this.#session.ping((error) => {
      if (error === null) this.#arrivedUntil(mark);
    });
  }

  #arrivedUntil(mark: number): void {
    const now = performance.now();
    const age = now - this.#now.began;
    if (age > second) {
      this.#before = age < 2 * second ? this.#now.bytes : 0;
      this.#now = { began: now, bytes: 0 };
    }
    this.#now.bytes += mark - this.#arrived;
    this.#arrived = mark;
    this.#release();
  }
}
