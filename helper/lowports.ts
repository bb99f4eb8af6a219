/**
 * Ports below 1024: bound here, because that needs root, and handed as open handles to a relay process that runs as the
 * user (relay.ts), so that no byte of a connection passes through root. Owns the relay and the set of handed ports. The
 * relay is trusted with nothing: what it sends is not read; when it ends, it is started again and gets its ports anew.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { takenBy } from './owner.ts';
import type { LowPort } from './protocol.ts';
import type { Refusal } from './validate.ts';

export interface LowPortsOptions {
  uid: number;
  gid: number;
  platform: NodeJS.Platform;
  /** The relay's program; in a folder that only root may write. */
  relayPath: string;
  onProblem: (reason: string) => void;
  /** The relay ended though ports are open; answered by calling `restore` when nothing else is going on. */
  onLost: () => void;
}

/** From helper to relay; `open` carries the listening handle, `connection` one that was accepted before the hand-over. */
export type RelayMessage =
  | { type: 'open'; key: string; address: string; targetPort: number }
  | { type: 'target'; key: string; targetPort: number }
  | { type: 'connection'; key: string }
  | { type: 'close'; key: string };

export class LowPorts {
  readonly #options: LowPortsOptions;
  readonly #open = new Map<string, LowPort>();
  #relay: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #failures = 0;

  constructor(options: LowPortsOptions) {
    this.#options = options;
  }

  /** Makes the open ports exactly `wanted`; answers those that cannot be had. */
  async apply(wanted: LowPort[]): Promise<Refusal[]> {
    const keys = new Set(wanted.map(keyOf));
    for (const key of this.#open.keys()) {
      if (keys.has(key)) continue;
      this.#open.delete(key);
      this.#tell({ type: 'close', key });
    }
    const refused: Refusal[] = [];
    for (const port of wanted) {
      const key = keyOf(port);
      const before = this.#open.get(key);
      if (before?.targetPort === port.targetPort) continue;
      if (before !== undefined) {
        this.#open.set(key, port);
        this.#tell({ type: 'target', key, targetPort: port.targetPort });
        continue;
      }
      const reason = await this.#hand(port);
      if (reason !== undefined) refused.push({ what: key, reason });
    }
    return refused;
  }

  /** Opens everything anew, for a relay that ended. */
  async restore(): Promise<void> {
    if (this.#relay !== undefined) return;
    const ports = [...this.#open.values()];
    this.#open.clear();
    for (const { what, reason } of await this.apply(ports)) this.#options.onProblem(`${what}: ${reason}`);
  }

  close(): void {
    clearTimeout(this.#restart);
    this.#open.clear();
    this.#relay?.removeAllListeners('exit');
    this.#relay?.kill('SIGKILL');
    this.#relay = undefined;
  }

  /** Binds the port and gives it away; answers why it could not. */
  async #hand({ address, port, targetPort }: LowPort): Promise<string | undefined> {
    const key = `${address}:${port}`;
    // Nothing is read from what arrives before the relay has the handle; the connection itself is handed on.
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) =>
      this.#tell({ type: 'connection', key }, socket),
    );
    try {
      server.listen({ host: address, port, exclusive: true, backlog: 511 });
      await once(server, 'listening');
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
      return code === 'EADDRINUSE'
        ? takenBy(this.#options.platform, address, port)
        : `port ${port} cannot be opened (${code})`;
    }
    // Before it is sent, so that a relay which ends meanwhile is seen as one with ports.
    this.#open.set(key, { address, port, targetPort });
    const sent = new Promise<Error | null>((resolve) => {
      this.#relay ??= this.#start();
      this.#relay.send({ type: 'open', key, address, targetPort } satisfies RelayMessage, server, {}, resolve);
    });
    const error = await sent;
    server.close();
    if (error === null) return undefined;
    this.#open.delete(key);
    return `the relay does not run (${error.message})`;
  }

  #tell(message: RelayMessage, handle?: Socket): void {
    if (this.#relay?.connected !== true) handle?.resetAndDestroy();
    else this.#relay.send(message, handle, {}, (error) => (error === null ? undefined : handle?.resetAndDestroy()));
  }

  #start(): ChildProcess {
    const { uid, gid, relayPath } = this.#options;
    const relay = fork(relayPath, [], {
      uid,
      gid,
      cwd: '/',
      env: {},
      execArgv: ['--max-old-space-size=128', '--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      serialization: 'json',
    });
    relay.on('error', (error) => this.#options.onProblem(`The relay: ${error.message}`));
    const started = Date.now();
    relay.once('exit', (code, signal) => {
      if (this.#relay === relay) this.#relay = undefined;
      if (this.#open.size === 0) return; // it ends by itself when it has no ports
      this.#failures = Date.now() - started > 10_000 ? 0 : this.#failures + 1;
      this.#options.onProblem(`The relay ended (${signal ?? code}); it is started again.`);
      this.#restart = setTimeout(this.#options.onLost, Math.min(100 * 2 ** this.#failures, 10_000));
    });
    return relay;
  }
}

function keyOf({ address, port }: LowPort): string {
  return `${address}:${port}`;
}
