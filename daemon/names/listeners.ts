/**
 * The open local ports of the services: one listener per (address, port), kept open as long as it is wanted, whatever else
 * changes. Owns the servers and the connections that came in through them. Each connection is dialled as soon as it is
 * accepted, so that servers which speak first are heard.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { takenBy } from '../../helper/owner.ts';
import { socketOptions } from '../../tunnel/dial.ts';
import { reset } from '../../tunnel/reset.ts';
import { splice } from '../../tunnel/splice.ts';
import type { TunnelStream } from '../../tunnel/tunnel.ts';

export interface WantedListener {
  address: string;
  port: number;
  /** What may be opened for it, best first; 0 is any. */
  candidates: readonly number[];
  /** Dials for one connection; may throw. Looked up anew for each, so targets change under an open port. */
  dial: () => TunnelStream;
}

/** How a wanted port answers now. */
export interface ListenerState {
  /** The port that is really open on the address. */
  local?: number;
  problem?: string;
}

/** The other end is on this machine: it does not vanish without a word. */
const localOptions = { ...socketOptions, keepAlive: false };

interface Listener {
  server: Server | undefined;
  state: ListenerState;
  dial: () => TunnelStream;
}

export class Listeners {
  readonly #listeners = new Map<string, Listener>();
  readonly #connections = new Set<Socket>();
  readonly #platform: NodeJS.Platform;

  constructor(platform: NodeJS.Platform) {
    this.#platform = platform;
  }

  /** Connections open at this moment. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Makes the open ports exactly `wanted`. Those that are open already are not touched. */
  async apply(wanted: WantedListener[]): Promise<Map<string, ListenerState>> {
    const keys = new Set(wanted.map(listenerKey));
    for (const [key, { server }] of this.#listeners) {
      if (keys.has(key)) continue;
      this.#listeners.delete(key);
      server?.close(); // connections go on to their own end
    }
    // Real numbers first: a low port may take any free one.
    const ordered = wanted.toSorted((a, b) => Number(a.port < 1024) - Number(b.port < 1024));
    for (const low of [false, true])
      await Promise.all(ordered.filter(({ port }) => port < 1024 === low).map((one) => this.#open(one)));
    return new Map([...this.#listeners].map(([key, { state }]) => [key, state]));
  }

  close(): void {
    for (const { server } of this.#listeners.values()) server?.close();
    this.#listeners.clear();
    for (const socket of this.#connections) socket.resetAndDestroy();
  }

  async #open({ address, port, candidates, dial }: WantedListener): Promise<void> {
    const key = listenerKey({ address, port });
    const known = this.#listeners.get(key);
    if (known !== undefined) known.dial = dial;
    if (known?.server !== undefined) {
      const { local = 0 } = known.state;
      if (candidates.includes(local) || (candidates.includes(0) && local !== port)) return;
      // Not where it may be any more: opened anew elsewhere, while its connections go on.
      known.server.close();
      known.server = undefined;
    }
    const listener: Listener = known ?? { server: undefined, state: {}, dial };
    this.#listeners.set(key, listener);
    let last = '';
    for (const candidate of candidates) {
      try {
        const server = await this.#listen(address, candidate, listener);
        listener.server = server;
        listener.state = { local: (server.address() as { port: number }).port };
        return;
      } catch (error) {
        last = error instanceof Error && 'code' in error ? String(error.code) : String(error);
        // Taken: not answered elsewhere in silence. A low port without root: the next.
        if (candidate === port && last !== 'EACCES') break;
      }
    }
    listener.state = {
      problem:
        last === 'EADDRINUSE'
          ? capital(takenBy(this.#platform, address, port))
          : `Port ${port} cannot be opened on ${address} (${last}).`,
    };
  }

  async #listen(address: string, port: number, listener: Listener): Promise<Server> {
    const server = createServer(localOptions, (socket) => this.#carry(socket, listener));
    server.listen({ host: address, port, exclusive: true, backlog: 511 });
    await once(server, 'listening');
    server.on('error', () => undefined); // out of descriptors for one accept: the port stays
    return server;
  }

  #carry(socket: Socket, listener: Listener): void {
    this.#connections.add(socket);
    socket.once('close', () => this.#connections.delete(socket));
    let stream: TunnelStream;
    try {
      stream = listener.dial();
    } catch {
      reset(socket);
      return;
    }
    void splice(socket, stream);
  }
}

export function listenerKey({ address, port }: { address: string; port: number }): string {
  return `${address}:${port}`;
}

function capital(sentence: string): string {
  return `${sentence.charAt(0).toUpperCase()}${sentence.slice(1)}.`;
}
