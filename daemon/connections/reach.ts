/** Opens the tunnels to an agent that has just started: its port may refuse for a moment after its container runs. */
import { setTimeout as delay } from 'node:timers/promises';
import { BowlineError } from '../../api/errors.ts';
import type { OpenInboundOptions } from '../../tunnel/inbound.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { describeAgent, type RunningAgent } from '../redirect/agent-wait.ts';
import type { Session } from './session.ts';
import { openTunnels, type Tunnels } from './tunnels.ts';

/** Milliseconds for one attempt. */
const attemptLimit = 10_000;

/** `options.timeout`: milliseconds in which a new attempt is begun. */
export async function reachAgent(
  cluster: Cluster,
  session: Session,
  agent: RunningAgent,
  accept: OpenInboundOptions['accept'],
  options: { timeout: number; signal: AbortSignal },
): Promise<Tunnels> {
  const until = Date.now() + options.timeout;
  for (let pause = 30; ; pause = Math.min(pause * 2, 500)) {
    const attempt = AbortSignal.any([options.signal, AbortSignal.timeout(attemptLimit)]);
    try {
      return await openTunnels(cluster, session, agent.pod, accept, attempt);
    } catch (error) {
      options.signal.throwIfAborted();
      if (Date.now() + pause < until) {
        await delay(pause, undefined, { signal: options.signal });
        continue;
      }
      if (error instanceof BowlineError) throw error;
      const said = error instanceof Error ? error.message : String(error);
      const reason = attempt.aborted ? `no answer within ${attemptLimit / 1000} s.` : said;
      throw new BowlineError(
        'PIPE_FAILED',
        `${describeAgent(agent)} was started, but no tunnel to it can be opened: ${reason}`,
        {
          hint: 'The API server must reach the pod (pods/proxy) or its node (port-forward). `bowline doctor` looks for causes.',
          cause: error,
        },
      );
    }
  }
}
