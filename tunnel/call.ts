/** A control call through a tunnel: POST with a JSON body, a JSON answer. Bounded in size; ends with the tunnel. */
import type { ClientHttp2Session, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Readable } from 'node:stream';
import type { Lifetime } from './lifetime.ts';
import { resetLikeTcp } from './stream.ts';
import { DialError } from './tunnel.ts';

/** Rejects with an Error whose message may be shown to the caller. */
export type AnswerCall = (name: string, body: unknown) => Promise<unknown>;

const maxBytes = 4 * 1024 * 1024;

export async function requestCall(
  lifetime: Lifetime<ClientHttp2Session>,
  name: string,
  body: unknown,
  signal?: AbortSignal,
): Promise<unknown> {
  signal?.throwIfAborted();
  if (lifetime.ended !== undefined)
    throw new DialError('EHOSTUNREACH', `The tunnel has ended: ${lifetime.ended}.`, { tunnelEnded: true });
  const stream = lifetime.session.request({ ':method': 'POST', ':path': `/${name}` }, { endStream: false });
  resetLikeTcp(stream, lifetime);
  const onAbort = (): void => void stream.destroy(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  try {
    let status: number | undefined;
    stream.once('response', (headers) => {
      status = headers[':status'];
    });
    stream.end(JSON.stringify(body ?? {}));
    const text = await readText(stream);
    const answer: unknown = JSON.parse(text);
    if (status !== 200) throw new Error(messageOf(answer));
    return answer;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

export async function answerCall(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  answer: AnswerCall,
): Promise<void> {
  try {
    const body: unknown = JSON.parse(await readText(stream));
    respond(stream, 200, await answer(String(headers[':path']).slice(1), body));
  } catch (error) {
    respond(stream, 500, { message: error instanceof Error ? error.message : String(error) });
  }
}

function respond(stream: ServerHttp2Stream, status: number, body: unknown): void {
  if (stream.destroyed || stream.closed) return;
  stream.respond({ ':status': status });
  stream.end(JSON.stringify(body ?? null));
}

async function readText(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw new Error(`The message is larger than ${maxBytes} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function messageOf(answer: unknown): string {
  return typeof answer === 'object' && answer !== null && 'message' in answer
    ? String(answer.message)
    : 'The agent failed without a reason.';
}
