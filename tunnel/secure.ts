/**
 * TLS 1.3 over a pipe, both ends pinned. Pinning replaces everything a certificate authority would say: the peer must
 * hold the key of exactly the one certificate made for this session. Names and dates mean nothing here (the clocks of
 * machine and cluster differ), so the chain is not built; the raw certificate is compared instead.
 */
import { X509Certificate } from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import type { Duplex } from 'node:stream';
import type { TunnelIdentity } from './tunnel.ts';

export interface SecureOptions {
  signal?: AbortSignal | undefined;
  /** Milliseconds for the whole handshake. */
  timeout?: number;
}

/** Both ends come from the same commit; it only tells a stranger's pipe from ours. */
const protocol = 'bowline';

const common = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  // The cheapest per byte where the processor has AES; the others for those without.
  ciphers: 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384',
  ALPNProtocols: [protocol],
  rejectUnauthorized: false, // checked by `assertPeer`, before a byte goes either way
} as const;

/** The daemon's end. */
export function secureClient(
  pipe: Duplex,
  identity: TunnelIdentity,
  options: SecureOptions = {},
): Promise<tls.TLSSocket> {
  return handshake(pipe, identity, options, (secured, failed) => {
    const socket = tls.connect({ ...common, socket: pipe, key: identity.key, cert: identity.cert });
    socket.once('secureConnect', () => secured(socket));
    socket.on('error', failed);
    socket.on('close', failed);
  });
}

/** The agent's end. */
export function secureServer(
  pipe: Duplex,
  identity: TunnelIdentity,
  options: SecureOptions = {},
): Promise<tls.TLSSocket> {
  return handshake(pipe, identity, options, (secured, failed) => {
    // A server that never listens: the documented way to TLS on a stream that somebody else accepted.
    const server = tls.createServer({
      ...common,
      key: identity.key,
      cert: identity.cert,
      requestCert: true,
      handshakeTimeout: 0,
    });
    server.once('secureConnection', (socket) => {
      socket.on('error', failed);
      secured(socket);
    });
    server.on('tlsClientError', failed);
    pipe.on('close', failed);
    server.emit('connection', pipe);
  });
}

type Start = (secured: (socket: tls.TLSSocket) => void, failed: (error?: unknown) => void) => void;

/** Bounded and cancellable; a pipe that fails it is closed. */
function handshake(
  pipe: Duplex,
  identity: TunnelIdentity,
  { signal, timeout = 10_000 }: SecureOptions,
  start: Start,
): Promise<tls.TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<tls.TLSSocket>();
  const timer = setTimeout(() => fail(new Error(`The TLS handshake took longer than ${timeout} ms.`)), timeout);
  const onAbort = (): void => fail(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  let settled = false;

  function settle(): void {
    settled = true;
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
  function fail(error: unknown, victim: Duplex = pipe): void {
    if (settled) return;
    settle();
    // Never from inside TLS's own callbacks: to take the pipe from under it there crashes the process.
    setImmediate(() => victim.destroy());
    reject(error);
  }
  function secured(socket: tls.TLSSocket): void {
    if (settled) return;
    try {
      assertPeer(socket, identity.peerCert);
    } catch (error) {
      fail(error, socket);
      return;
    }
    settle();
    resolve(socket);
  }
  function failed(error?: unknown): void {
    if (error instanceof Error) fail(new Error(`The TLS handshake failed: ${error.message}`, { cause: error }));
    else fail(new Error('The pipe was closed during the TLS handshake.'));
  }

  // A pipe may fail after its TLS socket has gone; nobody else listens then.
  pipe.on('error', failed);
  if (pipe instanceof net.Socket) pipe.setNoDelay(true);
  if (signal?.aborted) onAbort();
  else start(secured, failed);
  return promise;
}

function assertPeer(socket: tls.TLSSocket, pinned: string): void {
  const shown = socket.getPeerX509Certificate();
  if (shown === undefined) throw new Error('The other end showed no certificate.');
  if (!shown.raw.equals(new X509Certificate(pinned).raw))
    throw new Error('The other end showed another certificate than the one made for this session.');
  if (socket.alpnProtocol !== protocol) throw new Error('The other end does not speak our protocol.');
}
