/** The inbound tunnels, newest last: new connections take the newest living one, an older one serves its streams until it ends. */
import type { InboundTunnel } from '../tunnel/tunnel.ts';

export class InboundTunnels {
  readonly #living: InboundTunnel[] = [];
  readonly #waiting = new Set<(tunnel: InboundTunnel) => void>();

  get current(): InboundTunnel | undefined {
    return this.#living.at(-1);
  }

  add(tunnel: InboundTunnel): void {
    this.#living.push(tunnel);
    void tunnel.closed.then(() => this.#living.splice(this.#living.indexOf(tunnel), 1));
    for (const tell of this.#waiting) tell(tunnel);
  }

  /** The next tunnel to come, `undefined` when none does in time. */
  next(timeout: number, signal: AbortSignal): Promise<InboundTunnel | undefined> {
    return new Promise((resolve) => {
      const done = (tunnel?: InboundTunnel): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        signal.removeEventListener('abort', onAbort);
        resolve(tunnel);
      };
      const onAbort = (): void => done();
      const timer = setTimeout(done, timeout);
      this.#waiting.add(done);
      signal.addEventListener('abort', onAbort);
      if (signal.aborted) done();
    });
  }
}
