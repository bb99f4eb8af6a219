/** A WebSocket over a connection that is at hand. Dead ones are noticed by pings. */
import { WebSocket } from 'ws';
import { abortReason } from './deadline.ts';
import { readFailure } from './exchange.ts';
import type { OutgoingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';

export interface WebSocketRequest {
  path: string;
  headers: OutgoingHttpHeaders;
  protocols: string[];
}

const pingInterval = 15_000;
const maxMessage = 32 * 1024 * 1024;

/** The WebSocket is paused: whoever gets it resumes it once he listens. */
export async function openWebSocket(socket: Duplex, to: WebSocketRequest, signal: AbortSignal): Promise<WebSocket> {
  try {
    return await opened(socket, to, signal);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

function opened(
  socket: Duplex,
  { path, headers, protocols }: WebSocketRequest,
  signal: AbortSignal,
): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    // The address is of no importance: the connection is there, and `host` is among the headers.
    const ws = new WebSocket(`ws://api-server${path}`, protocols, {
      headers: headers as Record<string, string>,
      createConnection: () => socket,
      perMessageDeflate: false,
      maxPayload: maxMessage,
    });
    const onAbort = (): void => {
      reject(abortReason(signal));
      ws.terminate();
    };
    const settle = (): void => signal.removeEventListener('abort', onAbort);
    signal.addEventListener('abort', onAbort, { once: true });
    ws.once('unexpected-response', (_request, response) => {
      settle();
      readFailure(response, signal).then(reject, reject);
    });
    const onError = (error: Error): void => {
      settle();
      reject(error);
    };
    ws.on('error', onError);
    ws.once('open', () => {
      settle();
      ws.off('error', onError);
      // The first messages may have come with the answer; they must wait for a listener.
      ws.pause();
      // Whoever uses it adds his own listener; without one an error must not end the daemon: `close` follows anyhow.
      ws.on('error', () => {});
      keepAlive(ws);
      resolve(ws);
    });
    if (signal.aborted) onAbort();
  });
}

/** A connection that does not answer two pings in a row is dead. */
function keepAlive(ws: WebSocket): void {
  let unanswered = 0;
  const timer = setInterval(() => {
    if (unanswered >= 2) return ws.terminate();
    unanswered++;
    ws.ping();
  }, pingInterval);
  timer.unref();
  ws.on('pong', () => {
    unanswered = 0;
  });
  ws.once('close', () => clearInterval(timer));
}
