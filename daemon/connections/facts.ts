/** What an original says of itself: asked before a redirect, and again by a daemon that was restarted. */
import type { V1Container, V1Pod } from '@kubernetes/client-node';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { readProcess, type ProcessFacts } from '../environment/process.ts';
import { findWorkload, isReady, type Workload } from '../redirect/workload.ts';
import type { Session } from './session.ts';

/** Milliseconds for each question to a container; on a busy node one takes seconds. */
const patience = 10_000;

/** `undefined` where no pod runs or none can be asked. */
export async function processFacts(
  cluster: Cluster,
  workload: Workload,
  container: string,
  call: CallOptions,
): Promise<ProcessFacts | undefined> {
  const pod = anOriginal(workload)?.metadata?.name;
  if (pod === undefined) return undefined;
  const shared = workload.template.spec?.shareProcessNamespace ?? false;
  const place = { namespace: workload.namespace, name: pod, container };
  return readProcess(cluster, place, shared, { ...call, timeout: patience });
}

/** A session's workload as it is now; `undefined` without a target, and where it is gone or cannot be read. */
export async function workloadOf(
  cluster: Cluster,
  { target, namespace }: Pick<Session, 'target' | 'namespace'>,
  signal: AbortSignal,
): Promise<Workload | undefined> {
  if (target === undefined) return undefined;
  return findWorkload(cluster, namespace, `${target.kind}/${target.name}`, { signal }).catch(() => undefined);
}

/** A pod as the cluster has it, and its container of that name. */
export function originalOf(workload: Workload, container: string): { pod: V1Pod; container: V1Container } | undefined {
  const pod = anOriginal(workload);
  const found = pod?.spec?.containers.find((each) => each.name === container);
  return pod && found && { pod, container: found };
}

const anOriginal = ({ pods }: Workload): V1Pod | undefined => pods.find(isReady) ?? pods[0];
