/**
 * While no agent can be reached, the originals answer: the Services are led back to them, and to the agent again when there
 * is one. The saved session says that it is so before it is done, because the Services themselves do not show it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { pods, services } from '../cluster/resources.ts';
import { sessionLabel } from '../redirect/objects.ts';
import { readOriginal } from '../redirect/record.ts';
import { redirectService, restoreService } from '../redirect/services.ts';
import type { Session } from './session.ts';

/** Whether it would help anybody: there are Services, and originals behind them. */
export function canSuspend({ proofs, originals, suspended }: Session): boolean {
  return proofs.length > 0 && originals?.stopped !== true && suspended !== true;
}

export async function suspendRedirect(cluster: Cluster, session: Session, signal: AbortSignal): Promise<void> {
  const { id, namespace, proofs } = session;
  for (const { service } of proofs) await restoreService(cluster, service, namespace, id, { signal });
}

/**
 * Milliseconds until a pod that should have gone is removed by force: its node may never say that it has. Longer than it may
 * take to go (agent-pod.ts).
 */
const leaveBound = 15_000;

/**
 * To the agent `agent`, once no other pod of the session is left: it would be an endpoint too, and may not listen any more.
 * A Service that was not yet led back, is gone, or is somebody else's by now is left as it is.
 */
export async function resumeRedirect(
  cluster: Cluster,
  session: Session,
  agent: string,
  signal: AbortSignal,
): Promise<void> {
  const { id, namespace, proofs, yielded } = session;
  const until = Date.now() + leaveBound;
  for (;;) {
    const all = await cluster.list(pods, { namespace, labelSelector: `${sessionLabel}=${id}`, signal });
    const others = all.flatMap(({ metadata }) => (metadata?.name === agent ? [] : [metadata?.name ?? '']));
    if (others.length === 0) break;
    if (Date.now() > until)
      for (const pod of others) await cluster.delete(pods, pod, namespace, { signal, gracePeriodSeconds: 0 });
    await delay(200, undefined, { signal });
  }
  for (const { service: name } of proofs) {
    if (yielded?.includes(name) === true) continue;
    const service = await cluster.find(services, name, namespace, { signal });
    if (service === undefined || readOriginal(service)?.session === id) continue;
    await redirectService(cluster, service, id, { signal });
  }
}

/** Whether a pod of the session runs and is to stay. */
export async function hasAgent(cluster: Cluster, { id, namespace }: Session, call: CallOptions): Promise<boolean> {
  const found = await cluster.list(pods, { ...call, namespace, labelSelector: `${sessionLabel}=${id}` });
  return found.some(({ metadata, status }) => metadata?.deletionTimestamp === undefined && status?.phase === 'Running');
}

/** Resolves with the reason when that pod is deleted, evicted or ended; with nothing when `signal` comes first. */
export async function agentLeaves(
  cluster: Cluster,
  { id, namespace }: Session,
  agent: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const watched = { namespace, labelSelector: `${sessionLabel}=${id}`, signal };
  try {
    for await (const event of cluster.watch(pods, watched)) {
      if (event.type === 'trouble') continue;
      const seen = event.type === 'reset' ? event.objects : [event.object];
      const pod = seen.find(({ metadata }) => metadata?.name === agent);
      if (pod === undefined && event.type !== 'reset') continue;
      const stays =
        pod?.metadata?.deletionTimestamp === undefined && pod?.status?.phase === 'Running' && event.type !== 'deleted';
      if (!stays) return `the agent's pod ${agent} is being removed`;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return undefined;
}
