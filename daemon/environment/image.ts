/**
 * The variables that an image itself sets, where nothing in it can be run to ask. A short-lived ephemeral container of
 * that image in the agent's pod starts a program of the agent, which writes them down. Never in a pod of the workload:
 * what was once added to a pod stays in it, while the agent's pod goes with the connection.
 */
import type { V1Container, V1Pod } from '@kubernetes/client-node';
import type { AgentCalls } from '../../agent-image/contract.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { pods } from '../cluster/resources.ts';
import { imageFolderMount } from '../redirect/agent-pod.ts';

export interface ImageInput {
  cluster: Cluster;
  namespace: string;
  /** The agent's pod. */
  pod: string;
  /** As the original has it. */
  container: V1Container;
  call: <Name extends keyof AgentCalls>(
    name: Name & ('layOutProgram' | 'imageVariables'),
    signal: AbortSignal,
  ) => Promise<AgentCalls[Name]['answer']>;
}

/** Milliseconds; the image is on the node, where an original runs. */
const patience = 15_000;

/**
 * `undefined` where the cluster does not allow it, the pod was not made for it, or it did not end in time. With the
 * variables of Services and the host name that every container has.
 */
export async function imageVariables(
  input: ImageInput,
  caller: AbortSignal,
): Promise<Record<string, string> | undefined> {
  const signal = AbortSignal.any([caller, AbortSignal.timeout(patience)]);
  try {
    return await ask(input, signal);
  } catch {
    caller.throwIfAborted();
    return undefined;
  }
}

async function ask(
  { cluster, namespace, pod: name, container, call }: ImageInput,
  signal: AbortSignal,
): Promise<Record<string, string> | undefined> {
  const pod = await cluster.get(pods, name, namespace, { signal });
  const agent = pod.spec?.containers.find((each) => each.name === container.name);
  if (agent?.volumeMounts?.some((mount) => mount.name === imageFolderMount.name) !== true) return undefined;
  if (!pod.spec?.ephemeralContainers?.some((each) => each.name === imageFolderMount.name)) {
    const { command } = await call('layOutProgram', signal);
    const asking = {
      name: imageFolderMount.name,
      image: container.image,
      imagePullPolicy: 'IfNotPresent',
      command,
      volumeMounts: [imageFolderMount],
      securityContext: agent.securityContext,
    };
    const patch = { type: 'strategic' as const, body: { spec: { ephemeralContainers: [asking] } } };
    await cluster.patch(pods, name, namespace, patch, { signal, subresource: 'ephemeralcontainers' });
  }
  return (await ended(cluster, namespace, name, signal)) ? (await call('imageVariables', signal)).variables : undefined;
}

/** Whether it has done its work; false when it cannot. */
async function ended(cluster: Cluster, namespace: string, name: string, signal: AbortSignal): Promise<boolean> {
  const stop = new AbortController();
  const watching = AbortSignal.any([signal, stop.signal]);
  const fieldSelector = `metadata.name=${name}`;
  try {
    for await (const event of cluster.watch(pods, { namespace, fieldSelector, signal: watching })) {
      if (event.type === 'trouble') continue;
      if (event.type === 'deleted') return false;
      for (const pod of event.type === 'reset' ? event.objects : [event.object]) {
        const end = endOf(pod);
        if (end !== undefined) return end;
      }
    }
    return false;
  } finally {
    stop.abort();
  }
}

function endOf(pod: V1Pod): boolean | undefined {
  const status = pod.status?.ephemeralContainerStatuses?.find((each) => each.name === imageFolderMount.name);
  if (status?.state?.terminated !== undefined) return status.state.terminated.exitCode === 0;
  const waiting = status?.state?.waiting?.reason;
  // The rest passes: it is being pulled or started.
  return waiting === undefined || ['ContainerCreating', 'PodInitializing'].includes(waiting) ? undefined : false;
}
