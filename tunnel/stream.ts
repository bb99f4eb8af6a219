/**
 * How connections are written in HTTP/2, on both ends: CONNECT, an answer of 200 or an error answer with the errno,
 * RST_STREAM for a reset. The only file that knows header names.
 */
import http2 from 'node:http2';
import type {
  ClientHttp2Session,
  Http2Session,
  Http2Stream,
  IncomingHttpHeaders,
  OutgoingHttpHeaders,
  ServerHttp2Stream,
} from 'node:http2';
import type { Lifetime } from './lifetime.ts';
import { DialError } from './tunnel.ts';
import type { DialErrno, TunnelStream } from './tunnel.ts';

const { NGHTTP2_CANCEL, NGHTTP2_CONNECT_ERROR, NGHTTP2_NO_ERROR } = http2.constants;
const errnoHeader = 'bowline-errno';
const messageHeader = 'bowline-message';
/** No `date`: it costs time per connection and nobody reads it. */
const answered = { endStream: false, sendDate: false };
const refused = { endStream: true, sendDate: false };

/** Asks for a connection. */
export function requestStream(lifetime: Lifetime<ClientHttp2Session>, headers: OutgoingHttpHeaders): TunnelStream {
  if (lifetime.ended !== undefined) throw endedError('EHOSTUNREACH', lifetime.ended);
  const stream = lifetime.session.request({ ':method': 'CONNECT', ...headers }, { endStream: false });
  resetLikeTcp(stream, lifetime);
  const established = Promise.withResolvers<void>();
  established.promise.catch(ignore);
  stream.once('response', (answer) => {
    if (answer[':status'] === 200) {
      established.resolve();
      return;
    }
    const error = readRefusal(answer);
    established.reject(error);
    stream.destroy(error);
  });
  stream.once('close', () =>
    established.reject(
      stream.errored ?? new DialError('ECONNRESET', 'The connection was closed before it was established.'),
    ),
  );
  return Object.assign(stream, { established: established.promise });
}

/** Says that the connection is made; bytes follow. */
export function answerEstablished(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200 }, answered);
}

/** Says why there is none. */
export function answerRefused(stream: ServerHttp2Stream, error: DialError): void {
  if (stream.destroyed || stream.closed) return;
  stream.respond(
    { ':status': 502, [errnoHeader]: error.errno, [messageHeader]: encodeURIComponent(error.message.slice(0, 500)) },
    refused,
  );
}

function readRefusal(headers: IncomingHttpHeaders): DialError {
  const errno = headers[errnoHeader];
  const message = headers[messageHeader];
  return new DialError(
    typeof errno === 'string' ? (errno as DialErrno) : 'ECONNRESET',
    typeof message === 'string' ? decodeURIComponent(message) : 'The far end refused without a reason.',
  );
}

/**
 * Gives an HTTP/2 stream the manners of a socket: destroying it sends a reset (not INTERNAL_ERROR, nor a clean end), and
 * its error is one that says what happened to the connection. Without a listener an error is no crash.
 */
export function resetLikeTcp(stream: Http2Stream, lifetime: Lifetime<Http2Session>): void {
  lifetime.add(stream);
  stream.on('error', ignore);
  const destroy = stream.destroy.bind(stream);
  let byUs = false;
  stream.destroy = (error) => {
    if (stream.destroyed || byUs) return stream;
    // Both ends are done with it; only a refusal is news (its frames may have closed the stream before it is read).
    if (stream.closed && stream.rstCode === NGHTTP2_NO_ERROR)
      return destroy(error instanceof DialError ? error : undefined);
    const { ended, session } = lifetime;
    // The session may learn of a broken socket before the lifetime does.
    if (ended !== undefined || session.destroyed) return destroy(endedError('ECONNRESET', ended ?? error?.message));
    if (stream.closed) return destroy(new DialError('ECONNRESET', 'The far end reset the connection.'));
    byUs = true;
    // close() ends the writable side first, and END_STREAM would go out before RST_STREAM: a cut would look like an end.
    stream._final = (callback) => callback();
    stream.close(error === undefined ? NGHTTP2_CANCEL : NGHTTP2_CONNECT_ERROR);
    return destroy(error);
  };
}

function endedError(errno: DialErrno, reason = 'the pipe was closed'): DialError {
  return new DialError(errno, `The tunnel has ended: ${reason}.`, { tunnelEnded: true });
}

function ignore(): void {}
