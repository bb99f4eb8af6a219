/** Opens the tunnels to an agent that has just started: its port may refuse for a moment after its container runs. */
import { setTimeout as delay } from 'node:timers/promises';
import { BowlineError } from '../../api/errors.ts';
import type { OpenInboundOptions } from '../../tunnel/inbound.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Session } from './session.ts';
import { openTunnels, type Tunnels } from './tunnels.ts';

export async function reachAgent(
  cluster: Cluster,
  session: Session,
  pod: string,
  accept: OpenInboundOptions['accept'],
  options: { timeout: number; signal: AbortSignal },
): Promise<Tunnels> {
  const until = Date.now() + options.timeout;
  for (let pause = 30; ; pause = Math.min(pause * 2, 500)) {
    const attempt = AbortSignal.any([options.signal, AbortSignal.timeout(10_000)]);
    try {
      return await openTunnels(cluster, session, pod, accept, attempt);
    } catch (error) {
      options.signal.throwIfAborted();
      if (Date.now() + pause < until) {
        await delay(pause, undefined, { signal: options.signal });
        continue;
      }
      if (error instanceof BowlineError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new BowlineError(
        'PIPE_FAILED',
        `The agent ${pod} runs, but no tunnel to it could be opened within ${options.timeout / 1000} s: ${reason}`,
        {
          hint: 'The API server must reach the pod (pods/proxy) or its node (port-forward). `bowline doctor` looks for causes.',
          cause: error,
        },
      );
    }
  }
}
