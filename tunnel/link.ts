/**
 * What TLS and HTTP/2 stand on instead of the bare pipe. Node's HTTP/2 stops reading while a write is under way; on a
 * busy link both ends then wait for each other for ever, and a slow one looks dead. So the link takes every write at
 * once and is never waited for; what it holds is bounded by the streams, which ask `clear` before they write more
 * (flow.ts). It counts the bytes that arrive, for the heartbeat.
 */
import net from 'node:net';
import { Duplex } from 'node:stream';

/** Waiting in the pipe for the kernel: enough to keep it busy, little enough that a ping does not wait long behind it. */
const congestion = 256 * 1024;

export class Link extends Duplex {
  /** Bytes that came from the pipe. */
  received = 0;
  readonly #pipe: Duplex;

  constructor(pipe: Duplex) {
    super({ readableHighWaterMark: 1024 * 1024, allowHalfOpen: false });
    this.#pipe = pipe;
    if (pipe instanceof net.Socket) pipe.setNoDelay(true);
    pipe.on('data', (chunk: Buffer) => {
      this.received += chunk.length;
      if (!this.push(chunk)) pipe.pause();
    });
    pipe.on('end', () => this.push(null));
    pipe.on('drain', () => this.emit('clear'));
    pipe.on('error', (error) => this.destroy(error));
    pipe.on('close', () => this.destroy());
    if (pipe.destroyed) this.destroy();
  }

  /** The pipe takes more than it passes on. `clear` is emitted when that is over. */
  get congested(): boolean {
    return this.#pipe.writableLength > congestion;
  }

  override _read(): void {
    this.#pipe.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    this.#pipe.write(chunk);
    callback();
  }

  override _writev(chunks: { chunk: Buffer }[], callback: () => void): void {
    this.#pipe.cork();
    for (const { chunk } of chunks) this.#pipe.write(chunk);
    this.#pipe.uncork();
    callback();
  }

  override _final(callback: () => void): void {
    this.#pipe.end();
    callback();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#pipe.destroy();
    callback(error);
  }
}
