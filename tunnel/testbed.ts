/** What the tests and the benchmark of the tunnel stand on: certificates, a real TCP pair, both ends of both tunnels. */
import { webcrypto } from 'node:crypto';
import net from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { socketOptions } from './dial.ts';
import { openInbound } from './inbound.ts';
import type { OpenInboundOptions } from './inbound.ts';
import { openOutbound, serveOutbound } from './outbound.ts';
import type { ServeOutboundOptions } from './outbound.ts';
import { serveInbound } from './inbound.ts';
import type { Heartbeat, InboundTunnel, OutboundTunnel, Tunnel, TunnelIdentity } from './tunnel.ts';

// The library wants its polyfill loaded before itself.
await import('reflect-metadata');
const x509 = await import('@peculiar/x509');

export interface Identities {
  daemon: TunnelIdentity;
  agent: TunnelIdentity;
}

export async function makeIdentities(): Promise<Identities> {
  const [daemon, agent] = await Promise.all([makeCertificate('daemon'), makeCertificate('agent')]);
  return { daemon: { ...daemon, peerCert: agent.cert }, agent: { ...agent, peerCert: daemon.cert } };
}

async function makeCertificate(name: string): Promise<{ key: string; cert: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    keys,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - 86_400_000),
    notAfter: new Date(Date.now() + 86_400_000),
  });
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  return {
    key: `-----BEGIN PRIVATE KEY-----\n${key.toString('base64')}\n-----END PRIVATE KEY-----\n`,
    cert: cert.toString('pem'),
  };
}

/** A listener on a free loopback port; `onConnection` gets half-open sockets. */
export async function listen(
  onConnection: (socket: Socket) => void,
  host = '127.0.0.1',
  port = 0,
): Promise<{ port: number; server: net.Server } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = net.createServer(socketOptions, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    onConnection(socket);
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    server,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Two ends of one TCP connection, with what `between` puts in the middle. */
export async function tcpPair(between?: (port: number) => Promise<{ port: number }>): Promise<[Socket, Socket]> {
  const accepted = Promise.withResolvers<Socket>();
  const server = net.createServer((socket) => accepted.resolve(socket)).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  const dialled = net.connect((await between?.(port))?.port ?? port, '127.0.0.1');
  const far = await accepted.promise;
  server.close();
  return [dialled, far];
}

export interface OutboundPair extends AsyncDisposable {
  daemon: OutboundTunnel;
  agent: Tunnel;
  pipes: [Socket, Socket];
}

export async function outboundPair(
  options: Partial<ServeOutboundOptions> & { identities?: Identities; pipes?: [Socket, Socket] } = {},
): Promise<OutboundPair> {
  const {
    identities = await makeIdentities(),
    call = () => Promise.reject(new Error('no such call')),
    pipes = await tcpPair(),
    ...rest
  } = options;
  const [daemon, agent] = await Promise.all([
    openOutbound(pipes[0], identities.daemon, rest.heartbeat === undefined ? {} : { heartbeat: rest.heartbeat }),
    serveOutbound(pipes[1], identities.agent, { call, ...rest }),
  ]);
  return { daemon, agent, pipes, [Symbol.asyncDispose]: () => closeBoth(daemon, agent) };
}

export interface InboundPair extends AsyncDisposable {
  daemon: Tunnel;
  agent: InboundTunnel;
  pipes: [Socket, Socket];
}

export async function inboundPair(
  accept: OpenInboundOptions['accept'],
  heartbeat: Heartbeat = {},
): Promise<InboundPair> {
  const identities = await makeIdentities();
  const pipes = await tcpPair();
  const [daemon, agent] = await Promise.all([
    openInbound(pipes[0], identities.daemon, { accept, heartbeat }),
    serveInbound(pipes[1], identities.agent, { heartbeat }),
  ]);
  return { daemon, agent, pipes, [Symbol.asyncDispose]: () => closeBoth(daemon, agent) };
}

async function closeBoth(one: Tunnel, other: Tunnel): Promise<void> {
  await Promise.all([one.close(), other.close()]);
}
