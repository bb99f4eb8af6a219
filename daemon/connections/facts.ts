/** What the process of an original says of itself; asked before a redirect, and again by a daemon that was restarted. */
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { readProcess, type ProcessFacts } from '../environment/process.ts';
import { isReady, type Workload } from '../redirect/workload.ts';

const patience = 5000;

/** `undefined` where no pod runs or none can be asked. */
export async function processFacts(
  cluster: Cluster,
  workload: Workload,
  container: string,
  call: CallOptions,
): Promise<ProcessFacts | undefined> {
  const pod = (workload.pods.find(isReady) ?? workload.pods[0])?.metadata?.name;
  if (pod === undefined) return undefined;
  const shared = workload.template.spec?.shareProcessNamespace ?? false;
  const place = { namespace: workload.namespace, name: pod, container };
  return readProcess(cluster, place, shared, { ...call, timeout: patience });
}
