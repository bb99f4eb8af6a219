/**
 * The proof that a Service leads here and on to the machine. The agent dials the Service itself and says a token that
 * nobody else knows; while it waits, the listeners look at the first bytes of each connection. The one with the token
 * goes through the inbound tunnel, the daemon says it back, and only then has the proof arrived.
 */
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { dialTcp } from '../tunnel/dial.ts';
import type { AgentCalls } from './contract.ts';
import { reasonOf } from './log.ts';
import type { InboundTunnels } from './tunnels.ts';

const start = 'GET /.well-known/bowline-probe/';
const tokenLength = 36;
const enough = start.length + tokenLength;
/** How long a connection is held back for its first bytes while a proof is under way; servers that speak first wait as long. */
const patience = 250;

export class Probes {
  readonly #arrived = new Map<string, () => void>();
  readonly #tunnels: InboundTunnels;

  constructor(tunnels: InboundTunnels) {
    this.#tunnels = tunnels;
  }

  get pending(): boolean {
    return this.#arrived.size > 0;
  }

  async probe({ host, port, timeout }: AgentCalls['probe']['request']): Promise<AgentCalls['probe']['answer']> {
    const token = randomUUID();
    const arrival = Promise.withResolvers<string>();
    let arrived = false;
    this.#arrived.set(token, () => {
      arrived = true;
      arrival.resolve('arrived');
    });
    const signal = AbortSignal.timeout(timeout);
    try {
      using socket = disposable(await dialTcp({ host, port }, { signal }));
      socket.write(`${start}${token} HTTP/1.1\r\nHost: bowline-probe\r\nConnection: close\r\n\r\n`);
      const answer = await Promise.race([firstLine(socket, signal), arrival.promise]);
      return arrived ? { arrived, detail: 'arrived' } : { arrived, detail: `something else answered: ${answer}` };
    } catch (error) {
      return { arrived, detail: signal.aborted ? `no answer within ${timeout} ms` : reasonOf(error) };
    } finally {
      this.#arrived.delete(token);
    }
  }

  /** Looks at the first bytes. Gives them back for the route, or `undefined` when it was a proof and is dealt with. */
  async sniff(caller: Socket, port: number): Promise<Buffer[] | undefined> {
    const first = await firstBytes(caller);
    const head = Buffer.concat(first).toString('latin1', 0, enough);
    const token = head.slice(start.length);
    if (!head.startsWith(start) || !this.#arrived.has(token)) return first;
    try {
      const answer = await this.#echo(token, port);
      caller.end(`HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${answer.length}\r\n\r\n${answer}`);
      if (answer === token) this.#arrived.get(token)?.();
    } catch (error) {
      const reason = reasonOf(error);
      caller.end(
        `HTTP/1.1 503 The agent was reached, the machine was not: ${reason}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
      );
    }
    caller.resume();
    return undefined;
  }

  async #echo(token: string, port: number): Promise<string> {
    const tunnel = this.#tunnels.current;
    if (tunnel === undefined) throw new Error('there is no tunnel');
    const stream = tunnel.connect({ port, peer: 'probe', probe: token });
    stream.end();
    return text(stream);
  }
}

/** Until there is enough to know, or it cannot be a proof any more, or nothing comes. */
function firstBytes(caller: Socket): Promise<Buffer[]> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const done = (): void => {
      clearTimeout(timer);
      caller.pause();
      caller.off('data', onData).off('end', done).off('close', done);
      resolve(chunks);
    };
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      size += chunk.length;
      const expected = start.slice(0, size);
      if (size >= enough || !Buffer.concat(chunks).toString('latin1', 0, expected.length).startsWith(expected)) done();
    };
    const timer = setTimeout(done, patience);
    caller.on('data', onData).on('end', done).on('close', done);
  });
}

function firstLine(socket: Socket, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error));
    let answer = '';
    const done = (): void =>
      resolve(answer === '' ? 'it closed the connection' : (answer.split('\r\n', 1)[0] ?? '').slice(0, 200));
    socket.on('error', reject);
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString('latin1');
      if (answer.includes('\n') || answer.length > 200) done();
    });
    socket.on('end', done);
    socket.on('close', done);
  });
}

function disposable(socket: Socket): Socket & Disposable {
  return Object.assign(socket, { [Symbol.dispose]: () => void socket.destroy() });
}
