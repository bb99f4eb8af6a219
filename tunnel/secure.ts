/**
 * TLS 1.3 over a pipe, both ends pinned. Pinning replaces everything a certificate authority would say: the peer must
 * hold the key of exactly the one certificate made for this session. Names and dates mean nothing here (the clocks of
 * machine and cluster differ), so the chain is not built; the raw certificate is compared instead.
 */
import { X509Certificate } from 'node:crypto';
import tls from 'node:tls';
import type { Duplex } from 'node:stream';
import { linkTo, socketOf } from './carrier.ts';
import type { Carrier } from './carrier.ts';
import type { TunnelIdentity } from './tunnel.ts';

export interface Secured {
  socket: tls.TLSSocket;
  carrier: Carrier;
}

export interface SecureOptions {
  signal?: AbortSignal | undefined;
  /** Milliseconds for the whole handshake. */
  timeout?: number;
}

const common = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  // The cheapest per byte where the processor has AES; the others for those without.
  ciphers: 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384',
  ALPNProtocols: ['h2'],
  rejectUnauthorized: false, // checked by `assertPeer`, before a byte goes either way
} as const;

/** The daemon's end. */
export function secureClient(pipe: Duplex, identity: TunnelIdentity, options: SecureOptions = {}): Promise<Secured> {
  return handshake(socketOf(pipe), identity, options, (stream, secured, failed) => {
    const socket = tls.connect({ ...common, socket: stream, key: identity.key, cert: identity.cert });
    socket.once('secureConnect', () => secured(socket));
    socket.on('error', failed);
    socket.on('close', failed);
  });
}

/** The agent's end. */
export function secureServer(pipe: Duplex, identity: TunnelIdentity, options: SecureOptions = {}): Promise<Secured> {
  return handshake(linkTo(pipe), identity, options, (stream, secured, failed) => {
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
    stream.on('close', failed);
    server.emit('connection', stream);
  });
}

type Start = (stream: Duplex, secured: (socket: tls.TLSSocket) => void, failed: (error?: unknown) => void) => void;

/** Bounded and cancellable; a pipe that fails it is closed. */
function handshake(
  carrier: Carrier,
  identity: TunnelIdentity,
  { signal, timeout = 10_000 }: SecureOptions,
  start: Start,
): Promise<Secured> {
  const { promise, resolve, reject } = Promise.withResolvers<Secured>();
  const timer = setTimeout(() => fail(new Error(`The TLS handshake took longer than ${timeout} ms.`)), timeout);
  const onAbort = (): void => fail(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  const { stream } = carrier;
  let settled = false;

  function settle(): void {
    settled = true;
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
  function fail(error: unknown, victim: Duplex = stream): void {
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
    resolve({ socket, carrier });
  }
  function failed(error?: unknown): void {
    if (error instanceof Error) fail(new Error(`The TLS handshake failed: ${error.message}`, { cause: error }));
    else fail(new Error('The pipe was closed during the TLS handshake.'));
  }

  // A pipe may fail after its TLS socket has gone; nobody else listens then.
  stream.on('error', failed);
  if (signal?.aborted) onAbort();
  else start(stream, secured, failed);
  return promise;
}

function assertPeer(socket: tls.TLSSocket, pinned: string): void {
  const shown = socket.getPeerX509Certificate();
  if (shown === undefined) throw new Error('The other end showed no certificate.');
  if (!shown.raw.equals(new X509Certificate(pinned).raw))
    throw new Error('The other end showed another certificate than the one made for this session.');
  if (socket.alpnProtocol !== 'h2') throw new Error('The other end does not speak HTTP/2.');
}
