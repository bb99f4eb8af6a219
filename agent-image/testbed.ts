/** The agent as it runs in a pod: the bundle, a process of its own, a session folder, loopback addresses for its peers. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { makeIdentities } from '../tunnel/testbed.ts';
import type { Identities } from '../tunnel/testbed.ts';
import { openInbound } from '../tunnel/inbound.ts';
import type { OpenInboundOptions } from '../tunnel/inbound.ts';
import { openOutbound } from '../tunnel/outbound.ts';
import type { OutboundTunnel, Tunnel } from '../tunnel/tunnel.ts';
import { bundleAgent } from './bundle.ts';
import { agentCommand } from './contract.ts';
import type { AgentPort, AgentSession } from './contract.ts';

export interface RunningAgent extends AsyncDisposable {
  process: ChildProcess;
  session: AgentSession;
  identities: Identities;
  /** Session folder; a process elsewhere finds the daemon's identity in daemon.json. */
  folder: string;
  /** Each line of its log. */
  log: Record<string, unknown>[];
  exited: Promise<number | null>;
}

let given = 0;

export interface OwnAddresses {
  agent: string;
  originals: string;
  machine: string;
}

/** Of one test: nobody else on this machine listens there. A /24 for each process, by its number; they begin at 127.128. */
export function ownAddresses(): OwnAddresses {
  const number = process.pid % 2 ** 15;
  const prefix = `127.${128 + (number >> 8)}.${number % 256}`;
  const first = 1 + (given++ % 80) * 3;
  return { agent: `${prefix}.${first}`, originals: `${prefix}.${first + 1}`, machine: `${prefix}.${first + 2}` };
}

export async function runAgent(
  ports: AgentPort[],
  session: Partial<AgentSession>,
  env: Record<string, string> = {},
): Promise<RunningAgent> {
  const folder = await mkdtemp(join(tmpdir(), 'bowline-agent-'));
  const [identities, { code }] = await Promise.all([makeIdentities(), bundleAgent()]);
  const full: AgentSession = { session: 'test', controlPort: 47101, ports, ...session };
  const { key, cert, peerCert } = identities.agent;
  const files = {
    'agent.key': key,
    'agent.crt': cert,
    'daemon.crt': peerCert,
    'session.json': JSON.stringify(full),
    'daemon.json': JSON.stringify(identities.daemon),
    'agent.mjs': code,
  };
  await Promise.all(Object.entries(files).map(([name, content]) => writeFile(join(folder, name), content)));
  const flags = agentCommand.slice(1, -1);
  const child = spawn(process.execPath, [...flags, join(folder, 'agent.mjs')], {
    env: { BOWLINE_SESSION_FOLDER: folder, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const log: Record<string, unknown>[] = [];
  const ready = Promise.withResolvers<void>();
  const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  createInterface(child.stdout).on('line', (line) => {
    const entry = JSON.parse(line) as Record<string, unknown>;
    log.push(entry);
    if (entry['event'] === 'ready') ready.resolve();
  });
  await Promise.race([
    ready.promise,
    exited.then((code) => Promise.reject(new Error(`The agent exited with ${code}: ${JSON.stringify(log)}`))),
  ]);
  return {
    process: child,
    session: full,
    identities,
    folder,
    log,
    exited,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
      await rm(folder, { recursive: true });
    },
  };
}

/** A pipe as the daemon gets it: an upgrade of the control port. */
export function openPipe(address: string, port: number, purpose: string, upgrade = 'bowline'): Promise<Duplex> {
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  const request = http.request({
    host: address,
    port,
    path: `/a/proxy/${purpose}`,
    agent: false,
    headers: { Connection: 'Upgrade', Upgrade: upgrade },
  });
  request.on('error', reject);
  request.on('response', (response) => reject(new Error(`answered ${response.statusCode}`)));
  request.on('upgrade', (_response, socket, head) => {
    if (head.length > 0) socket.unshift(head);
    resolve(socket);
  });
  request.end();
  return promise;
}

export async function connectOutbound({ session, identities }: RunningAgent): Promise<OutboundTunnel> {
  return openOutbound(
    await openPipe(session.address ?? '127.0.0.1', session.controlPort, 'outbound'),
    identities.daemon,
  );
}

export async function connectInbound(
  { session, identities }: RunningAgent,
  accept: OpenInboundOptions['accept'],
): Promise<Tunnel> {
  return openInbound(
    await openPipe(session.address ?? '127.0.0.1', session.controlPort, 'inbound'),
    identities.daemon,
    { accept },
  );
}

/** A web server that says its name, after a while. */
export async function serveName(name: string, host: string, port: number, delay = 0): Promise<AsyncDisposable> {
  const server = http.createServer((_request, response) => void setTimeout(() => response.end(name), delay));
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve));
  return {
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Listens, and answers no dial any more, as the address of a pod that has ended: its backlog is full, and it is stopped. */
export async function serveNobody(host: string, port: number): Promise<AsyncDisposable> {
  const listen = `require('net').createServer().listen({ host: '${host}', port: ${port}, backlog: 1 }, () => console.log('ready'))`;
  const child = spawn(process.execPath, ['-e', listen], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  await once(child.stdout, 'data');
  child.kill('SIGSTOP');
  // Linux takes one more than the backlog (`sk_acceptq_is_full`).
  const held = await Promise.all([connectTo(host, port), connectTo(host, port)]);
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of held) socket.on('error', () => undefined).destroy();
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** One request on a connection of its own; the answer's body. */
export function get(host: string, port: number, method = 'GET'): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, method, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      response.on('end', () => resolve(body));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end();
  });
}

/** The errno with which a connection ends that was accepted first. */
export async function errnoOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

export function connectTo(host: string, port: number): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port, allowHalfOpen: true }, () => resolve(socket));
    socket.once('error', reject);
  });
}
