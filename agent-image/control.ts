/**
 * The control port: health for the kubelet, and upgrades that become pipes. Anybody in the cluster can reach it, so it
 * says nothing before TLS has checked the pinned certificate, and holds few pipes that have not passed yet.
 */
import { createHash } from 'node:crypto';
import http from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { upgradeName } from './contract.ts';

export type Purpose = 'outbound' | 'inbound';

export interface ControlOptions {
  port: number;
  address: string | undefined;
  /** Takes the pipe over; settles when the peer has passed or failed. */
  onPipe: (purpose: Purpose, pipe: Duplex) => Promise<void>;
}

const maxUnproven = 64;

export async function startControl({ port, address, onPipe }: ControlOptions): Promise<AsyncDisposable> {
  const unproven = new Set<Duplex>();
  const server = http.createServer(
    { noDelay: true, headersTimeout: 10_000, requestTimeout: 10_000, keepAliveTimeout: 5_000 },
    (request, response) => {
      const healthy = request.method === 'GET' && request.url === '/healthz';
      response.writeHead(healthy ? 200 : 404).end();
    },
  );

  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => {});
    const purpose = /\/(outbound|inbound)$/.exec(request.url ?? '')?.[1] as Purpose | undefined;
    const upgrade = request.headers.upgrade?.toLowerCase();
    if (purpose === undefined || (upgrade !== upgradeName && upgrade !== 'websocket')) {
      socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${upgrade}\r\n${webSocketAccept(request)}\r\n`,
    );
    // What came in the same packet belongs to the pipe.
    if (head.length > 0) socket.unshift(head);
    const [oldest] = unproven;
    if (oldest !== undefined && unproven.size >= maxUnproven) {
      unproven.delete(oldest); // now: of many that come at once each throws out another
      oldest.destroy();
    }
    unproven.add(socket);
    void onPipe(purpose, socket).finally(() => unproven.delete(socket));
  });

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, ...(address === undefined ? {} : { host: address }) }, () => resolve());
  });
  return {
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** A proxy that knows WebSocket may check the answer; the bytes that follow are no frames. */
function webSocketAccept(request: IncomingMessage): string {
  const key = request.headers['sec-websocket-key'];
  if (key === undefined) return '';
  return `Sec-WebSocket-Accept: ${createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')}\r\n`;
}
