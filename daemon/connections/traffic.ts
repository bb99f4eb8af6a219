/** The streams of one connection, both ways, their count, and the local ports that nobody listens on. */
import type { Connection } from '../../api/schema.ts';
import { DialError, type InboundRequest, type Target, type TunnelStream } from '../../tunnel/tunnel.ts';
import { dialLocal, isRefusal, lookLocal } from './local-port.ts';
import type { Tie } from './tie.ts';

/** Milliseconds for a look at a local port. */
const lookTimeout = 1000;

export class Traffic {
  readonly counts = { inbound: 0, outbound: 0, toOriginals: 0 };
  private readonly tie: Tie;
  /** Local ports (by the pod's) that have answered once: from then on a refusal is the program's own. */
  private readonly answered = new Set<number>();
  /** Local ports that nobody listened on when last seen, with the ISO 8601 time of the first sight. */
  private readonly silent = new Map<number, string>();

  constructor(tie: Tie) {
    this.tie = tie;
  }

  /** A connection from the cluster: to the local port that belongs to the pod's. */
  async accept(request: InboundRequest, gone: AbortSignal): ReturnType<typeof dialLocal> {
    const port = this.tie.session.ports.find((each) => each.remote === request.port);
    if (port === undefined) throw new DialError('ECONNREFUSED', `port ${request.port} is not redirected`);
    try {
      const socket = await dialLocal(port.local, gone);
      this.answered.add(port.remote);
      this.saw(port.local, true);
      this.counts.inbound++;
      return socket;
    } catch (error) {
      if (gone.aborted) throw error;
      if (isRefusal(error)) this.saw(port.local, false);
      if (this.callersOf(port.remote) === 'originals') this.counts.toOriginals++;
      // The program has not come up yet (it is started when the redirect stands), or has gone before the release was
      // through: unreachable makes the agent ask the originals. In between `ifDown` decides.
      if (this.standsIn(port.remote)) throw error;
      throw new DialError('EHOSTUNREACH', `nothing listens on local port ${port.local}`, { cause: error });
    }
  }

  /** A connection into the cluster. Throws DialError EHOSTUNREACH while there is no way. */
  dial(target: Target): TunnelStream {
    const { tunnels, name, state } = this.tie;
    if (tunnels === undefined) throw new DialError('EHOSTUNREACH', `${name} is ${state}`);
    this.counts.outbound++;
    return tunnels.outbound.connect(target);
  }

  /** As in the snapshot. */
  get down(): Connection['down'] {
    const down = this.tie.session.ports.flatMap(({ local, remote }) => {
      const since = this.silent.get(local);
      return since === undefined
        ? []
        : [{ local, since, callers: this.callersOf(remote), stopped: this.answered.has(remote) }];
    });
    return down.length === 0 ? undefined : down;
  }

  /** Looks who listens now: programs come and go without a request. Never rejects. */
  async look(): Promise<void> {
    const signal = AbortSignal.timeout(lookTimeout);
    const look = async ({ local }: { local: number }): Promise<void> => {
      const listens = await lookLocal(local, this.silent.has(local), signal);
      if (listens !== undefined) this.saw(local, listens);
    };
    await Promise.all(this.tie.session.ports.map(look));
  }

  private saw(local: number, listens: boolean): void {
    if (listens !== this.silent.has(local)) return;
    if (listens) this.silent.delete(local);
    else this.silent.set(local, new Date().toISOString());
    this.tie.log.info('local-port', { connection: this.tie.name, port: local, listens });
    this.tie.changed('local-port');
  }

  private standsIn(remote: number): boolean {
    return this.answered.has(remote) && this.tie.state !== 'disconnecting';
  }

  /** What a caller gets while nobody listens. */
  private callersOf(remote: number): 'reset' | 'originals' {
    const { originals, request } = this.tie.session;
    if (originals?.stopped === true) return 'reset';
    return this.standsIn(remote) && request.ifDown === 'refuse' ? 'reset' : 'originals';
  }
}
