/** A control call through a tunnel: JSON both ways. Bounded in size; ends with the tunnel. */
import type { Readable } from 'node:stream';
import type { Channel } from './channel.ts';
import { refusalOf } from './refusal.ts';
import { ChannelStream } from './stream.ts';

/** Rejects with an Error whose message may be shown to the caller. */
export type AnswerCall = (name: string, body: unknown) => Promise<unknown>;

const maxBytes = 4 * 1024 * 1024;

export async function requestCall(channel: Channel, body: unknown, signal?: AbortSignal): Promise<unknown> {
  const stream = new ChannelStream(channel);
  const onAbort = (): void => void stream.destroy(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  try {
    stream.end(JSON.stringify(body ?? {}));
    return JSON.parse(await readText(stream));
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

export async function answerCall(channel: Channel, name: string, answer: AnswerCall): Promise<void> {
  const stream = new ChannelStream(channel);
  try {
    const body: unknown = JSON.parse(await readText(stream));
    const result = JSON.stringify((await answer(name, body)) ?? null);
    channel.accept();
    stream.end(result);
  } catch (error) {
    channel.refuse(refusalOf(error));
  }
}

async function readText(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Not the iterator: it destroys the stream after the last byte, and an answer is to be written to it.
  await new Promise<void>((resolve, reject) => {
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size > maxBytes) stream.destroy(new Error(`The message is larger than ${maxBytes} bytes.`));
    });
    stream.on('end', resolve);
    stream.on('error', reject);
    stream.on('close', () => reject(new Error('The call was given up.')));
  });
  return Buffer.concat(chunks).toString();
}
