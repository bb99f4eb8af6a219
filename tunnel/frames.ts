/**
 * How the tunnel is written inside TLS: frames of an 8 byte header, big endian, and a payload.
 *
 *     u32 channel | u8 type | u24 length | payload
 *
 * One end opens channels, numbered upwards from 1 and never used again; 0 is the tunnel itself. The reader is strict: it
 * throws a ProtocolError for whatever a correct peer does not send, and never holds more than one small payload.
 */

export const headerLength = 8;
/** Of one DATA frame; with its header, eight TLS records. */
export const maxData = 128 * 1024 - headerLength;
/** Of the JSON in OPEN and REFUSE. */
export const maxMessage = 64 * 1024;

export type FrameType = (typeof frame)[keyof typeof frame];

export const frame = {
  /** JSON: what is asked for. Bytes may follow at once. */
  open: 1,
  /** Connected; comes before any byte of the answering end. */
  accept: 2,
  /** JSON: why not. The channel is closed. */
  refuse: 3,
  /** Bytes, within the credit. */
  data: 4,
  /** No more bytes this way (half-close). */
  end: 5,
  /** Closed both ways, whatever was under way. */
  reset: 6,
  /** u32: more bytes that may be sent. */
  credit: 7,
  /** Of channel 0; the peer answers each with a pong, in order. */
  ping: 8,
  pong: 9,
} as const;

/** All but DATA: passed on whole. */
export type MessageType = Exclude<FrameType, typeof frame.data>;

/** Length of the payload: the least and the most, by type. */
const lengths: readonly (readonly [least: number, most: number] | undefined)[] = [
  undefined,
  [2, maxMessage],
  [0, 0],
  [2, maxMessage],
  [1, maxData],
  [0, 0],
  [0, 0],
  [4, 4],
  [0, 0],
  [0, 0],
];

export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

/** Writes a header and returns where the payload begins. */
export function writeHeader(to: Buffer, at: number, type: FrameType, channel: number, length: number): number {
  to.writeUInt32BE(channel, at);
  to.writeUInt32BE(type * 0x1000000 + length, at + 4);
  return at + headerLength;
}

export interface FrameSink {
  /** Bytes of a DATA frame as they come: a large one in several calls. */
  onData(channel: number, bytes: Buffer): void;
  /** Any other frame. The payload is valid during the call. */
  onFrame(type: MessageType, channel: number, payload: Buffer): void;
}

const nothing = Buffer.alloc(0);

export class FrameReader {
  readonly #sink: FrameSink;
  /** What has come of a header, or of a payload that is passed on whole. */
  #part: Buffer = nothing;
  #type: FrameType | 0 = 0;
  #channel = 0;
  /** Of the payload, still to come. */
  #left = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Throws a ProtocolError, its own or the sink's; nothing more may be pushed then. */
  push(chunk: Buffer): void {
    let at = 0;
    for (;;) {
      if (this.#type === 0) {
        const header = this.#whole(chunk, at, headerLength);
        at += this.#taken;
        if (header === undefined) return;
        this.#begin(header);
      }
      if (this.#type === frame.data) {
        const size = Math.min(this.#left, chunk.length - at);
        if (size === 0) return;
        this.#left -= size;
        if (this.#left === 0) this.#type = 0;
        this.#sink.onData(this.#channel, chunk.subarray(at, at + size));
        at += size;
      } else {
        const payload = this.#left === 0 ? nothing : this.#whole(chunk, at, this.#left);
        if (this.#left > 0) at += this.#taken;
        if (payload === undefined) return;
        const type = this.#type as MessageType;
        this.#type = 0;
        this.#left = 0;
        this.#sink.onFrame(type, this.#channel, payload);
      }
    }
  }

  /** Bytes of the chunk that the last #whole has used. */
  #taken = 0;

  /** So many bytes from `at`, together with what came before; undefined when there are not enough yet. */
  #whole(chunk: Buffer, at: number, length: number): Buffer | undefined {
    const missing = length - this.#part.length;
    this.#taken = Math.min(missing, chunk.length - at);
    if (this.#part.length === 0 && this.#taken === length) return chunk.subarray(at, at + length);
    if (this.#taken > 0) this.#part = Buffer.concat([this.#part, chunk.subarray(at, at + this.#taken)]);
    if (this.#taken < missing) return undefined;
    const whole = this.#part;
    this.#part = nothing;
    return whole;
  }

  #begin(header: Buffer): void {
    const channel = header.readUInt32BE(0);
    const type = header.readUInt8(4);
    const length = header.readUIntBE(5, 3);
    const allowed = lengths[type];
    if (allowed === undefined) throw new ProtocolError(`there is no frame of type ${type}`);
    if (length < allowed[0] || length > allowed[1])
      throw new ProtocolError(`a frame of type ${type} with ${length} bytes`);
    if ((channel === 0) !== (type === frame.ping || type === frame.pong))
      throw new ProtocolError(`a frame of type ${type} on channel ${channel}`);
    this.#channel = channel;
    this.#type = type as FrameType;
    this.#left = length;
  }
}
