/** A channel as a stream of Node's, for everything that is not simply joined to a socket. */
import { Duplex } from 'node:stream';
import type { Channel, ChannelHandler } from './channel.ts';
import { DialError } from './tunnel.ts';
import type { TunnelStream } from './tunnel.ts';

type Done = (error?: Error | null) => void;

export class ChannelStream extends Duplex implements TunnelStream, ChannelHandler {
  readonly #channel: Channel;
  /** Called when the stream is first read or written. */
  readonly #onUse: (() => void) | undefined;
  #accepted = false;
  #detached = false;
  #established: PromiseWithResolvers<void> | undefined;
  /** Pushed, and not read yet. */
  #unread = 0;
  #written: Done | undefined;

  constructor(channel: Channel, onUse?: () => void) {
    super({ highWaterMark: 256 * 1024 });
    this.#channel = channel;
    this.#onUse = onUse;
    this.on('error', ignore);
    channel.attach(this);
  }

  get established(): Promise<void> {
    if (this.#established === undefined) {
      this.#established = Promise.withResolvers();
      this.#established.promise.catch(ignore);
      if (this.#accepted) this.#established.resolve();
      else if (this.destroyed) this.#established.reject(this.#refusal);
    }
    return this.#established.promise;
  }

  get #refusal(): Error {
    return this.errored ?? new DialError('ECONNRESET', 'The connection was closed before it was established.');
  }

  /**
   * Gives the channel away, and what of it was not read yet; the stream is dead from then on, without an event. Undefined
   * when it is in use: something that was written waits here, or somebody for `established`.
   */
  detach(): { channel: Channel; unread: Buffer[] } | undefined {
    if (this.destroyed || this.writableLength > 0 || (this.writableEnded && !this.writableFinished)) return undefined;
    if (this.#established !== undefined && !this.#accepted) return undefined;
    const unread: Buffer[] = [];
    for (let bytes: Buffer | null; (bytes = this.read() as Buffer | null) !== null;) unread.push(bytes);
    this.#detached = true;
    return { channel: this.#channel, unread };
  }

  onAccept(): void {
    this.#accepted = true;
    this.#established?.resolve();
  }

  onData(bytes: Buffer): void {
    this.#unread += bytes.length;
    if (this.push(bytes)) this.#passedOn();
  }

  onEnd(): void {
    this.push(null);
  }

  onDrain(): void {
    const done = this.#written;
    this.#written = undefined;
    done?.();
  }

  onClose(error: DialError | undefined): void {
    if (error !== undefined) this.destroy(error);
  }

  override _read(): void {
    this.#onUse?.();
    this.#passedOn();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#onUse?.();
    this.#written = done;
    if (chunk.length > 0) this.#channel.writeAndTell(chunk);
    else this.onDrain();
  }

  override _writev(chunks: { chunk: Buffer }[], done: Done): void {
    this.#onUse?.();
    this.#written = done;
    const all = chunks.filter(({ chunk }) => chunk.length > 0);
    for (const { chunk } of all) this.#channel.writeAndTell(chunk);
    if (all.length === 0) this.onDrain();
  }

  override _final(done: Done): void {
    this.#onUse?.();
    this.#channel.end();
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    if (!this.#detached) this.#channel.reset();
    done(error);
    if (!this.#accepted) this.#established?.reject(this.#refusal);
  }

  #passedOn(): void {
    if (this.#unread === 0) return;
    this.#channel.consumed(this.#unread);
    this.#unread = 0;
  }
}

function ignore(): void {}
