/** One HTTP request over the keep-alive connections of one identity, and the reading of its answer. */
import { Agent, request } from 'node:http';
import { callbackify } from 'node:util';
import { createGunzip } from 'node:zlib';
import { HttpFailure, errnoOf } from '../errors.ts';
import { abortReason } from './deadline.ts';
import type { ClientRequestArgs, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import type { ClientCertificate } from '../config/access.ts';
import type { Dialer } from './dial.ts';

/** Shorter than what load balancers in front of API servers allow, so that we close first. */
const idleTimeout = 30_000;
/** How long a connection that was idle may be silent before a request that can be repeated goes over a fresh one. */
const staleAfter = 5_000;
/** An error page is for people; no more of it is read. */
const maxFailure = 64 * 1024;

/** Keep-alive connections that are dialled our way. TLS is the dialer's affair, hence plain HTTP here. */
export class DialingAgent extends Agent {
  readonly certificate: ClientCertificate | undefined;
  readonly #dialer: Dialer;
  readonly #lifetime: AbortSignal;

  constructor(dialer: Dialer, certificate: ClientCertificate | undefined, lifetime: AbortSignal) {
    super({ keepAlive: true, keepAliveMsecs: 15_000, timeout: idleTimeout });
    this.#dialer = dialer;
    this.certificate = certificate;
    this.#lifetime = lifetime;
  }

  override createConnection(
    _options: ClientRequestArgs,
    done?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    // The connection is not bound to the request that asked for it: another one may get it.
    const dialled = this.#dialer.dial(this.certificate, this.#lifetime);
    callbackify(() => dialled)((error, socket) => done?.(error, socket));
    return undefined;
  }
}

/** The connection died or fell silent before any answer, and it had been idle: the request itself is not to blame. */
export class StaleConnection extends Error {
  override readonly name = 'StaleConnection';
}

export interface HttpRequest {
  agent: Agent;
  method: string;
  path: string;
  headers: OutgoingHttpHeaders;
  body: Buffer | undefined;
}

/** Resolves with a 2xx whose body is still to come. `signal` counts until then. */
export function send(
  { agent, method, path, headers, body }: HttpRequest,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ agent, method, path, headers });
    const repeatable = method === 'GET';
    let staleTimer: NodeJS.Timeout | undefined;
    const onAbort = (): void => void outgoing.destroy(abortReason(signal));
    const settle = (): void => {
      clearTimeout(staleTimer);
      signal.removeEventListener('abort', onAbort);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    outgoing.once('socket', () => {
      if (!repeatable || !outgoing.reusedSocket) return;
      staleTimer = setTimeout(() => outgoing.destroy(new StaleConnection('silent')), staleAfter);
    });
    outgoing.on('error', (error) => {
      settle();
      const cut = ['ECONNRESET', 'EPIPE'].includes(errnoOf(error));
      reject(repeatable && outgoing.reusedSocket && cut ? new StaleConnection('cut', { cause: error }) : error);
    });
    outgoing.once('response', (response) => {
      settle();
      const status = response.statusCode ?? 0;
      if (status >= 200 && status < 300) return resolve(response);
      readFailure(response, signal).then(reject, reject);
    });
    outgoing.end(body);
    if (signal.aborted) onAbort();
  });
}

/** The whole body as text. */
export async function readBody(response: IncomingMessage, signal: AbortSignal): Promise<string> {
  using _bound = destroyOnAbort(response, [signal]);
  const source: Readable = response.headers['content-encoding'] === 'gzip' ? response.pipe(createGunzip()) : response;
  if (source !== response) response.once('error', (error) => source.destroy(error));
  const chunks: Buffer[] = [];
  for await (const chunk of source) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

/** An answer that is no success, as an error for whoever knows what it means. */
export async function readFailure(response: IncomingMessage, signal: AbortSignal): Promise<HttpFailure> {
  using _bound = destroyOnAbort(response, [signal]);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > maxFailure) break;
  }
  const seconds = Number.parseFloat(response.headers['retry-after'] ?? '');
  const retryAfter = Number.isFinite(seconds) ? Math.max(0, seconds * 1000) : undefined;
  const mayRepeat = response.statusCode === 429 || (response.statusCode ?? 0) >= 500;
  return new HttpFailure(
    response.statusCode ?? 0,
    mayRepeat ? retryAfter : undefined,
    Buffer.concat(chunks).toString('utf8'),
  );
}

/** Ends the answer with the first of the signals, as long as it is not disposed. */
export function destroyOnAbort(response: IncomingMessage, signals: Array<AbortSignal | undefined>): Disposable {
  const removals = signals
    .filter((signal) => signal !== undefined)
    .map((signal) => {
      const onAbort = (): void => void response.destroy(abortReason(signal));
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) onAbort();
      return () => signal.removeEventListener('abort', onAbort);
    });
  return { [Symbol.dispose]: () => removals.forEach((remove) => remove()) };
}
