/** A proxy in front of an API server, as companies have them: it connects to where it is asked to, and hears no more. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { listen } from './apiserver.ts';

/** Wants `USER:PASSWORD`; `seen` are the HOST:PORTs that it was asked for. `hosts` are names that nobody else can resolve. */
export async function startConnectProxy(
  login: string,
  hosts: Record<string, string> = {},
): Promise<{ proxy: Server; seen: string[]; port: number }> {
  const seen: string[] = [];
  const proxy = createServer();
  proxy.on('connect', (request, socket: Socket, head: Buffer) => {
    if (request.headers['proxy-authorization'] !== `Basic ${Buffer.from(login).toString('base64')}`) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      return;
    }
    seen.push(request.url ?? '');
    connectAsAsked(request, socket, head, hosts);
  });
  return { proxy, seen, port: await listen(proxy) };
}

export function connectAsAsked(
  request: IncomingMessage,
  socket: Socket,
  _head: Buffer,
  hosts: Record<string, string> = {},
): void {
  const [host = '', port] = (request.url ?? '').split(':');
  const upstream = connect(Number(port), hosts[host] ?? host);
  upstream.once('connect', () => {
    socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
    pipeline(socket, upstream, socket, () => {});
  });
}
