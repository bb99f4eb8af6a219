/**
 * A call that goes on as a stream: POST with the JSON request in a header, so that all bytes belong to the stream. It is
 * accepted when the answering end first reads or writes.
 */
import type { ClientHttp2Session, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import type { Lifetime } from './lifetime.ts';
import { answerEstablished, answerRefused, requestStream } from './stream.ts';
import { DialError } from './tunnel.ts';
import type { TunnelStream } from './tunnel.ts';

/**
 * Takes the stream over. Rejecting before it has read or written anything refuses the call, with a message that may be
 * shown to the caller; rejecting later resets the stream. `signal` is aborted when the stream is closed.
 */
export type AnswerOpen = (name: string, body: unknown, stream: Duplex, signal: AbortSignal) => Promise<void>;

const requestHeader = 'bowline-open';

export async function requestOpen(
  lifetime: Lifetime<ClientHttp2Session>,
  name: string,
  body: unknown,
  signal?: AbortSignal,
): Promise<TunnelStream> {
  signal?.throwIfAborted();
  const stream = requestStream(lifetime, {
    ':method': 'POST',
    ':path': `/${name}`,
    [requestHeader]: encodeURIComponent(JSON.stringify(body ?? {})),
  });
  const onAbort = (): void => void stream.destroy(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  stream.once('close', () => signal?.removeEventListener('abort', onAbort));
  await stream.established;
  return stream;
}

export function isOpen(headers: IncomingHttpHeaders): boolean {
  return headers[requestHeader] !== undefined;
}

export async function answerOpen(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  answer: AnswerOpen,
): Promise<void> {
  const gone = new AbortController();
  stream.once('close', () => gone.abort());
  const accept = (): void => {
    if (!stream.headersSent && !stream.destroyed) answerEstablished(stream);
  };
  const read = stream._read.bind(stream);
  stream._read = (size) => {
    accept();
    read(size);
  };
  try {
    const body: unknown = JSON.parse(decodeURIComponent(String(headers[requestHeader])));
    await answer(String(headers[':path']).slice(1), body, stream, gone.signal);
    accept();
  } catch (error) {
    if (stream.headersSent) stream.destroy(error instanceof Error ? error : new Error(String(error)));
    else answerRefused(stream, new DialError('ECONNRESET', error instanceof Error ? error.message : String(error)));
  }
}
