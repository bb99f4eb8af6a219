/**
 * A local HTTPS server in the place of an API server, for the faults that a real one cannot be made to show: it answers
 * as the test says, over real TLS and real sockets. Tests only.
 */
import { createServer } from 'node:https';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../log.ts';
import { createCredentials } from '../config/credentials.ts';
import { createPluginCache } from '../config/plugincache.ts';
import { createTransport } from '../transport/transport.ts';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Server } from 'node:https';
import type { UserConfig } from '../config/access.ts';
import type { Transport } from '../transport/transport.ts';

export interface TestServer extends AsyncDisposable {
  readonly server: Server;
  readonly url: URL;
  readonly port: number;
  /** The authority that vouches for it. */
  readonly ca: string;
  /** TCP connections so far. */
  readonly connections: () => number;
}

// The X.509 library under the authority needs this to be there before.
await import('reflect-metadata');
const { createAuthority } = await import('../../../test/cluster/pki.ts');

export const authority = await createAuthority();
const identity = await authority.issue({ commonName: 'api', names: ['127.0.0.1', 'localhost', 'api.example'] });

export async function startTestServer(answer: RequestListener): Promise<TestServer> {
  const server = createServer(
    { key: identity.key, cert: identity.certificate, requestCert: true, rejectUnauthorized: false },
    answer,
  );
  let connections = 0;
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    connections++;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const port = await listen(server);
  return {
    server,
    port,
    url: new URL(`https://127.0.0.1:${port}`),
    ca: authority.certificate,
    connections: () => connections,
    [Symbol.asyncDispose]: () => close(server, sockets),
  };
}

interface Listening {
  listen(port: number, host: string, done: () => void): unknown;
  address(): AddressInfo | string | null;
  once(event: 'error', listener: (error: Error) => void): unknown;
}

export function listen(server: Listening): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

/** Upgraded connections too, which the server itself no longer knows. */
function close(server: Server, sockets: Set<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    for (const socket of sockets) socket.destroy();
  });
}

export async function transportTo(
  server: TestServer,
  user: Partial<UserConfig> = { token: 'first' },
): Promise<Transport> {
  const config = { url: server.url, ca: server.ca, insecure: false };
  const whole: UserConfig = { name: 'tester', ...user };
  const credentials = createCredentials({
    user: whole,
    server: config,
    env: process.env,
    plugins: createPluginCache(),
    reload: () => Promise.resolve(whole),
  });
  return await createTransport({ server: config, context: 'test', credentials, env: {}, log: silentLog });
}

export function json(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

/** A Kubernetes `Status` as an API server answers it. */
export function failure(response: ServerResponse, code: number, reason: string, message: string): void {
  json(response, code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message });
}

export async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** A folder with some files, gone at the end. */
export async function startFolder(files: Record<string, string> = {}): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'bowline-cluster-'));
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(path, name), content, { mode: name.endsWith('.sh') ? 0o700 : 0o600 });
  }
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
