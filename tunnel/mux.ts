/**
 * Many channels over one TLS socket: hands each frame to its channel, and makes and forgets channels. One end opens them,
 * the other answers. Owns the channels and what leaves (outbox.ts); whoever owns the socket ends it.
 */
import type { Duplex } from 'node:stream';
import { Channel } from './channel.ts';
import type { ChannelOwner } from './channel.ts';
import { frame, FrameReader, ProtocolError } from './frames.ts';
import type { FrameSink, MessageType } from './frames.ts';
import { Outbox } from './outbox.ts';
import { DialError } from './tunnel.ts';
import type { DialErrno } from './tunnel.ts';
import { Allowance } from './window.ts';

export interface MuxOptions {
  /** Of the answering end: somebody asks for a connection. Throws when the request makes no sense. */
  onOpen?: (channel: Channel, request: unknown) => void;
  /** The first sign that the other end has accepted us. */
  onHeard: () => void;
  /** Nothing more can be read, or no more channels be made; called once. The owner ends the tunnel. */
  onFailure: (reason: string) => void;
  /** Numbers that are used up, for tests. */
  used?: number;
}

/** Numbers are never used again: from here on the tunnel ends as soon as no channel is open, and at the last in any case. */
export const retireAfter = 2 ** 31;
const lastNumber = 2 ** 32 - 1;

export class Mux implements ChannelOwner, FrameSink {
  readonly outbox: Outbox;
  readonly allowance = new Allowance();
  readonly #options: MuxOptions;
  readonly #channels = new Map<number, Channel>();
  /** The number of the newest channel. */
  #last: number;
  #heard = false;
  #stopped = false;
  roundTrip = Number.NaN;

  constructor(socket: Duplex, options: MuxOptions) {
    this.#options = options;
    this.#last = options.used ?? 0;
    this.outbox = new Outbox(socket);
    const reader = new FrameReader(this);
    socket.on('data', (chunk: Buffer) => {
      if (this.#stopped) return;
      try {
        reader.push(chunk);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        this.#fail(`the other end broke the protocol: ${error.message}`);
      }
    });
  }

  get channels(): number {
    return this.#channels.size;
  }

  open(request: unknown): Channel {
    this.#last += 1;
    const channel = new Channel(this, this.#last, false);
    this.#channels.set(channel.id, channel);
    this.outbox.sayUnhurried(frame.open, channel.id, Buffer.from(JSON.stringify(request)));
    if (this.#last === lastNumber) this.#fail('it has no more numbers for connections');
    return channel;
  }

  remove(channel: Channel): void {
    this.#channels.delete(channel.id);
    if (this.#last > retireAfter && this.#channels.size === 0) this.#fail('it has served long enough');
  }

  /** Closes every channel, nothing more is read or written. */
  stop(error: DialError): void {
    this.#stopped = true;
    this.outbox.stop();
    for (const channel of this.#channels.values()) channel.close(error);
  }

  onData(id: number, bytes: Buffer): void {
    this.#find(id)?.receive(bytes);
  }

  onFrame(type: MessageType, id: number, payload: Buffer): void {
    if (!this.#heard) {
      this.#heard = true;
      this.#options.onHeard();
    }
    switch (type) {
      case frame.ping:
        this.outbox.say(frame.pong, 0);
        return;
      case frame.pong:
        this.roundTrip = this.outbox.pong() ?? impossible('a pong that no ping asked for');
        return;
      case frame.open:
        this.#answer(id, parse(payload));
        return;
      case frame.accept:
        this.#find(id)?.receiveAccept();
        return;
      case frame.refuse:
        this.#find(id)?.receiveRefusal(readRefusal(parse(payload)));
        return;
      case frame.end:
        this.#find(id)?.receiveEnd();
        return;
      case frame.reset:
        this.#find(id)?.close(new DialError('ECONNRESET', 'The far end reset the connection.'));
        return;
      case frame.credit:
        this.#find(id)?.receiveCredit(payload.readUInt32BE(0));
        return;
    }
  }

  /** Undefined when it is closed already: what was under way then is still coming. */
  #find(id: number): Channel | undefined {
    const channel = this.#channels.get(id);
    if (channel === undefined && id > this.#last) impossible(`channel ${id} was never opened`);
    return channel;
  }

  #answer(id: number, request: unknown): void {
    const { onOpen } = this.#options;
    if (onOpen === undefined) impossible('this end does not answer');
    if (id <= this.#last) impossible(`channel ${id} was opened before`);
    this.#last = id;
    const channel = new Channel(this, id, true);
    this.#channels.set(id, channel);
    onOpen(channel, request);
  }

  #fail(reason: string): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#options.onFailure(reason);
  }
}

function parse(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString());
  } catch {
    return impossible('a message that is no JSON');
  }
}

function readRefusal(message: unknown): DialError {
  if (typeof message !== 'object' || message === null) return impossible('a refusal without a reason');
  const { errno, message: reason } = message as { errno?: DialErrno; message?: unknown };
  return new DialError(errno ?? 'ECONNRESET', String(reason));
}

function impossible(what: string): never {
  throw new ProtocolError(what);
}
