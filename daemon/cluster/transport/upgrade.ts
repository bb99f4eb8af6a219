/** An HTTP/1.1 upgrade over a connection that is at hand: to the API server itself, or to an agent through a port-forward. */
import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { abortReason } from './deadline.ts';
import { readFailure } from './exchange.ts';
import type { OutgoingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';

export interface UpgradeRequest {
  path: string;
  headers: OutgoingHttpHeaders;
  protocol: string;
}

/** Resolves with the stream after a 101; bytes that came with the answer are in it. Any other answer is an HttpFailure. */
export async function sendUpgrade(socket: Duplex, to: UpgradeRequest, signal: AbortSignal): Promise<Duplex> {
  try {
    return await answered(socket, to, signal);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

function answered(socket: Duplex, { path, headers, protocol }: UpgradeRequest, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const outgoing = request({
      method: 'GET',
      path,
      headers: {
        ...headers,
        connection: 'Upgrade',
        upgrade: protocol,
        ...(protocol === 'websocket' ? webSocketHeaders() : {}),
      },
      createConnection: () => socket,
    });
    const onAbort = (): void => void outgoing.destroy(abortReason(signal));
    const settle = (): void => signal.removeEventListener('abort', onAbort);
    signal.addEventListener('abort', onAbort, { once: true });
    outgoing.on('error', (error) => {
      settle();
      reject(error);
    });
    outgoing.once('response', (response) => {
      settle();
      readFailure(response, signal).then(reject, reject);
    });
    outgoing.once('upgrade', (_response, stream, head) => {
      settle();
      if (head.length > 0) stream.unshift(head);
      resolve(stream);
    });
    outgoing.end();
    if (signal.aborted) onAbort();
  });
}

/** Proxies that let WebSockets through look for these. */
function webSocketHeaders(): OutgoingHttpHeaders {
  return { 'sec-websocket-key': randomBytes(16).toString('base64'), 'sec-websocket-version': '13' };
}
