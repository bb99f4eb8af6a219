/** The streams of one connection, both ways, and their count. */
import { DialError, type InboundRequest, type Target, type TunnelStream } from '../../tunnel/tunnel.ts';
import { dialLocal } from './local-port.ts';
import type { Tie } from './tie.ts';

export class Traffic {
  readonly counts = { inbound: 0, outbound: 0, toOriginals: 0 };
  private readonly tie: Tie;
  /** Local ports (by the pod's) that have answered once: from then on a refusal is the program's own. */
  private readonly answered = new Set<number>();

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
      this.counts.inbound++;
      return socket;
    } catch (error) {
      // The program has not come up yet (it is started when the redirect stands), or has gone before the release was
      // through: unreachable makes the agent ask the originals. In between `ifDown` decides.
      const standsIn = this.answered.has(port.remote) && this.tie.state !== 'disconnecting';
      if (standsIn || gone.aborted) throw error;
      this.counts.toOriginals++;
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
}
