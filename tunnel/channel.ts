/**
 * One connection inside the tunnel, as cheap as it can be: no stream of Node's, one handler instead of listeners. It
 * sends what its credit allows and keeps the rest; it grants credit as its reader passes bytes on. The mux owns it.
 */
import { frame, ProtocolError } from './frames.ts';
import type { Outbox, Sender } from './outbox.ts';
import type { DialError } from './tunnel.ts';
import type { Allowance } from './window.ts';
import { firstWindow } from './window.ts';

/** Held here before `write` asks its writer to wait. */
const highWater = 256 * 1024;

/** The local side of a channel. Called from the tunnel's own callbacks: must not throw. */
export interface ChannelHandler {
  /** The far end has connected. */
  onAccept(): void;
  /** The handler says `consumed` when it has passed the bytes on. */
  onData(bytes: Buffer): void;
  /** The far end has ended its direction. */
  onEnd(): void;
  /** All that was written has been sent, after a `write` that returned false. */
  onDrain(): void;
  /** Both directions have ended, or (with an error) the connection was refused, reset, or lost with the tunnel. */
  onClose(error: DialError | undefined): void;
}

/** What the mux does for its channels. */
export interface ChannelOwner {
  readonly outbox: Outbox;
  readonly allowance: Allowance;
  /** Forgets it. */
  remove(channel: Channel): void;
}

export class Channel implements Sender {
  readonly id: number;
  readonly #owner: ChannelOwner;
  #handler: ChannelHandler | undefined;
  /** This end was asked for it. */
  readonly #answers: boolean;
  #accepted = false;
  #closed = false;
  #error: DialError | undefined;
  #onGone: (() => void) | undefined;

  #queue: Buffer[] = [];
  /** Where in the first buffer of the queue. */
  #offset = 0;
  #queued = 0;
  #credit = firstWindow;
  #waiting = false;
  #needDrain = false;
  #ending = false;
  #sentEnd = false;

  /** Came before there was a handler. */
  #early: Buffer[] | undefined;
  /** What the far end may have under way, of this: it may still send, the reader has passed on and it was not told. */
  #window = firstWindow;
  #receivable = firstWindow;
  #consumed = 0;
  #receivedEnd = false;

  constructor(owner: ChannelOwner, id: number, answers: boolean) {
    this.#owner = owner;
    this.id = id;
    this.#answers = answers;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get ended(): boolean {
    return this.#receivedEnd;
  }

  /** Hands the local side over, together with what has come already. */
  attach(handler: ChannelHandler): void {
    this.#handler = handler;
    this.#onGone = undefined;
    const early = this.#early;
    this.#early = undefined;
    for (const bytes of early ?? []) handler.onData(bytes);
    if (this.#receivedEnd) handler.onEnd();
    if (this.#closed) handler.onClose(this.#error);
  }

  /** Called once when it closes while nobody is attached. */
  set onGone(listener: () => void) {
    this.#onGone = listener;
  }

  /**
   * Of the answering end, before it writes: connected. `quietly` with the first byte, or whatever else leaves next (within a
   * second there is a ping): a write less, for an asker that does not wait for it.
   */
  accept(quietly = false): void {
    if (this.#closed || this.#accepted) return;
    this.#accepted = true;
    const { outbox } = this.#owner;
    if (quietly) outbox.sayWithNext(frame.accept, this.id);
    else outbox.say(frame.accept, this.id);
  }

  /** Of the answering end, instead of `accept`. */
  refuse(error: DialError): void {
    if (this.#closed) return;
    const message = JSON.stringify({ errno: error.errno, message: error.message.slice(0, 4_000) });
    this.#owner.outbox.say(frame.refuse, this.id, Buffer.from(message));
    this.#forget();
  }

  /** Keeps the bytes until they are sent. False: the writer should wait for `onDrain`. */
  write(bytes: Buffer): boolean {
    if (this.#closed || this.#ending || bytes.length === 0) return true;
    this.#queue.push(bytes);
    this.#queued += bytes.length;
    this.#wait();
    if (this.#queued < highWater) return true;
    this.#needDrain = true;
    return false;
  }

  /** As `write`, and `onDrain` is called in any case. */
  writeAndTell(bytes: Buffer): void {
    this.#needDrain = true;
    this.write(bytes);
  }

  /** No more bytes; those written before go first. */
  end(): void {
    if (this.#closed || this.#ending) return;
    this.#ending = true;
    if (this.#queued > 0) return;
    this.#owner.outbox.sayUnhurried(frame.end, this.id);
    this.#endSent();
  }

  reset(): void {
    if (this.#closed) return;
    this.#owner.outbox.say(frame.reset, this.id);
    this.#forget();
  }

  /** The reader has passed so many bytes on: the far end may send as many more. */
  consumed(bytes: number): void {
    this.#consumed += bytes;
    if (this.#consumed < this.#window / 4 || this.#closed || this.#receivedEnd) return;
    // The reader keeps up, so that it is the window that holds the far end back.
    const more = this.#receivable + this.#consumed === this.#window ? this.#owner.allowance.grow(this.#window) : 0;
    this.#window += more;
    this.#receivable += this.#consumed + more;
    this.#owner.outbox.credit(this.id, this.#consumed + more);
    this.#consumed = 0;
  }

  // For the outbox:

  get sendable(): number {
    return Math.min(this.#queued, this.#credit);
  }

  take(to: Buffer, at: number, length: number): boolean {
    let left = length;
    while (left > 0) {
      const bytes = this.#queue[0] as Buffer;
      const size = Math.min(left, bytes.length - this.#offset);
      bytes.copy(to, at, this.#offset, this.#offset + size);
      at += size;
      left -= size;
      this.#offset += size;
      if (this.#offset < bytes.length) break;
      this.#queue.shift();
      this.#offset = 0;
    }
    this.#queued -= length;
    this.#credit -= length;
    return this.#ending && this.#queued === 0;
  }

  taken(): void {
    this.#waiting = false;
    if (this.#closed) return;
    if (this.#queued > 0) this.#wait();
    else if (this.#ending) this.#endSent();
    else if (this.#needDrain) {
      this.#needDrain = false;
      this.#handler?.onDrain();
    }
  }

  // For the mux, as frames come:

  receiveAccept(): void {
    if (this.#answers || this.#accepted) throw new ProtocolError('an answer to nothing');
    this.#accepted = true;
    this.#handler?.onAccept();
  }

  receiveRefusal(error: DialError): void {
    if (this.#answers || this.#accepted) throw new ProtocolError('an answer to nothing');
    this.close(error);
  }

  receive(bytes: Buffer): void {
    this.#receivable -= bytes.length;
    if (this.#receivable < 0) throw new ProtocolError('more bytes than there was credit for');
    if (this.#receivedEnd) throw new ProtocolError('bytes after the end');
    if (!this.#answers && !this.#accepted) throw new ProtocolError('bytes before the answer');
    if (this.#handler !== undefined) this.#handler.onData(bytes);
    else (this.#early ??= []).push(bytes);
  }

  receiveEnd(): void {
    if (this.#receivedEnd) throw new ProtocolError('a second end');
    if (!this.#answers && !this.#accepted) throw new ProtocolError('an end before the answer');
    this.#receivedEnd = true;
    this.#handler?.onEnd();
    if (this.#sentEnd) this.close(undefined);
  }

  receiveCredit(bytes: number): void {
    this.#credit += bytes;
    if (this.#queued > 0) this.#wait();
  }

  /** Nothing is said to the far end. */
  close(error: DialError | undefined): void {
    if (this.#closed) return;
    this.#error = error;
    this.#forget();
    if (this.#handler !== undefined) this.#handler.onClose(error);
    else this.#onGone?.();
  }

  #wait(): void {
    if (this.#waiting || this.#credit === 0) return;
    this.#waiting = true;
    this.#owner.outbox.wait(this);
  }

  #endSent(): void {
    this.#sentEnd = true;
    if (this.#receivedEnd) this.close(undefined);
  }

  #forget(): void {
    this.#closed = true;
    this.#queue = [];
    this.#queued = 0;
    this.#owner.allowance.giveBack(this.#window);
    this.#owner.remove(this);
  }
}
