/**
 * Joins a socket to a channel so that each looks like the far end of the other: ends are half-closes, a reset of one
 * resets the other, and a slow reader holds back the writer. The way of nearly every byte: no stream in between.
 */
import type { Socket } from 'node:net';
import type { Channel, ChannelHandler } from './channel.ts';
import { reset } from './reset.ts';
import type { DialError } from './tunnel.ts';
import { writeInBatches } from './batches.ts';

/** Resolves when both have closed, whichever way; never rejects. */
export function join(socket: Socket, channel: Channel): Promise<void> {
  return new Promise((resolve) => {
    const joint = new Joint(socket, channel, resolve);
    joint.start();
  });
}

class Joint implements ChannelHandler {
  readonly #socket: Socket;
  readonly #channel: Channel;
  readonly #write: (bytes: Buffer) => boolean;
  readonly #done: () => void;
  /** Taken from the channel, and still in the socket's buffer. */
  #held = 0;
  #paused = false;
  /** Closed here, after the last byte of both directions. */
  #finished = false;

  constructor(socket: Socket, channel: Channel, done: () => void) {
    this.#socket = socket;
    this.#channel = channel;
    this.#done = done;
    this.#write = writeInBatches(socket);
  }

  start(): void {
    const socket = this.#socket;
    socket.on('error', ignore); // `close` follows, and says the same
    if (socket.closed) {
      this.#channel.attach(this);
      this.#onSocketClose();
      return;
    }
    socket.on('data', (bytes: Buffer) => {
      if (this.#channel.write(bytes)) return;
      this.#paused = true;
      socket.pause();
    });
    socket.on('drain', () => this.#passedOn());
    socket.on('close', () => this.#onSocketClose());
    if (socket.readableEnded) this.#channel.end();
    else socket.on('end', () => this.#channel.end());
    this.#channel.attach(this);
    socket.resume();
  }

  onAccept(): void {}

  onData(bytes: Buffer): void {
    this.#held += bytes.length;
    if (this.#write(bytes)) this.#passedOn();
  }

  onEnd(): void {
    const { readableEnded, writableLength } = this.#socket;
    this.#finished = readableEnded && writableLength === 0;
    // To close it says the end as well, and costs an eighth less than to end it first.
    if (this.#finished) this.#socket.destroy();
    else this.#socket.end();
  }

  onDrain(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }

  onClose(error: DialError | undefined): void {
    if (error !== undefined) reset(this.#socket);
    if (this.#socket.closed) this.#done();
  }

  #onSocketClose(): void {
    const { readableEnded, writableFinished, errored } = this.#socket;
    const wholly = this.#finished || (readableEnded && writableFinished);
    if (!wholly || errored !== null) this.#channel.reset();
    if (this.#channel.closed) this.#done();
  }

  #passedOn(): void {
    this.#channel.consumed(this.#held);
    this.#held = 0;
  }
}

function ignore(): void {}
