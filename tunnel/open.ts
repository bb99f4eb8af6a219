/** A call that goes on as a stream of bytes. It is accepted when the answering end first reads or writes. */
import type { Duplex } from 'node:stream';
import type { Channel } from './channel.ts';
import { refusalOf } from './refusal.ts';
import { ChannelStream } from './stream.ts';
import type { TunnelStream } from './tunnel.ts';

/**
 * Takes the stream over. Rejecting before it has read or written anything refuses the call, with a message that may be
 * shown to the caller; rejecting later resets the stream. `signal` is aborted when the stream is closed.
 */
export type AnswerOpen = (name: string, body: unknown, stream: Duplex, signal: AbortSignal) => Promise<void>;

export async function requestOpen(channel: Channel, signal?: AbortSignal): Promise<TunnelStream> {
  const stream = new ChannelStream(channel);
  const onAbort = (): void => void stream.destroy(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  stream.once('close', () => signal?.removeEventListener('abort', onAbort));
  await stream.established;
  return stream;
}

export async function answerOpen(channel: Channel, name: string, body: unknown, answer: AnswerOpen): Promise<void> {
  const gone = new AbortController();
  let accepted = false;
  const accept = (): void => {
    accepted = true;
    channel.accept();
  };
  const stream = new ChannelStream(channel, accept);
  stream.once('close', () => gone.abort());
  try {
    await answer(name, body, stream, gone.signal);
    accept();
  } catch (error) {
    if (!accepted) channel.refuse(refusalOf(error));
    stream.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}
