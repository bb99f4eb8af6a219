/**
 * Waits until the agent's container runs, and says why when it does not: what the kubelet, the scheduler, a quota or an
 * admission plugin has to say is in the pod, its events, or the ReplicaSet that may not make it.
 */
import type { V1ContainerStatus, V1Pod, V1ReplicaSet } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { events, pods, replicaSets } from '../cluster/resources.ts';
import { sessionLabel, sessionObjectName } from './objects.ts';

export interface RunningAgent {
  pod: string;
  uid: string;
  node?: string;
  image: string;
}

/** For people, at the start of a sentence. */
export const describeAgent = ({ pod, node }: RunningAgent): string =>
  `The agent ${pod}${node === undefined ? '' : ` on node ${node}`}`;

export interface AgentWaitOptions {
  session: string;
  namespace: string;
  /** The container that was swapped; `agent` for a gateway. */
  container: string;
  image: string;
  /** Milliseconds. */
  timeout: number;
  signal: AbortSignal;
  /** Called when something holds it up that may pass (no node free, image being pulled). */
  onWaiting?: (reason: string) => void;
}

export async function agentRunning(cluster: Cluster, options: AgentWaitOptions): Promise<RunningAgent> {
  const { session, namespace, signal } = options;
  const timeout = AbortSignal.timeout(options.timeout);
  const stop = new AbortController();
  const watching = AbortSignal.any([signal, timeout, stop.signal]);
  let waitingFor = 'the ReplicaSet to make the pod';
  const note = (reason: string): void => {
    if (reason !== waitingFor) options.onWaiting?.(reason);
    waitingFor = reason;
  };
  try {
    return await Promise.race([
      watchPod(cluster, options, watching, note),
      watchReplicaSet(cluster, options, watching),
    ]);
  } catch (error) {
    signal.throwIfAborted();
    if (!timeout.aborted) throw error;
    const said = await eventsOf(cluster, namespace, session);
    throw new BowlineError(
      waitingFor.startsWith('a node') ? 'AGENT_UNSCHEDULABLE' : 'AGENT_TIMEOUT',
      `The agent pod in namespace ${namespace} did not run within ${options.timeout / 1000} s; it waits for ${waitingFor}.${said}`,
      {
        hint: 'Mend the cause, or give more time with --timeout SECONDS.',
      },
    );
  } finally {
    stop.abort();
  }
}

async function watchPod(
  cluster: Cluster,
  options: AgentWaitOptions,
  signal: AbortSignal,
  note: (reason: string) => void,
): Promise<RunningAgent> {
  const { namespace, session } = options;
  for await (const event of cluster.watch(pods, { namespace, labelSelector: `${sessionLabel}=${session}`, signal })) {
    if (event.type === 'trouble' || event.type === 'deleted') continue;
    for (const pod of event.type === 'reset' ? event.objects : [event.object]) {
      if (pod.metadata?.deletionTimestamp !== undefined) continue;
      const running = await lookAt(cluster, pod, options, note);
      if (running !== undefined) return running;
    }
  }
  throw signal.reason;
}

async function lookAt(
  cluster: Cluster,
  pod: V1Pod,
  options: AgentWaitOptions,
  note: (reason: string) => void,
): Promise<RunningAgent | undefined> {
  const { name = '', uid = '' } = pod.metadata ?? {};
  const status = pod.status?.containerStatuses?.find((each) => each.name === options.container);
  if (status?.state?.running !== undefined && pod.status?.podIP !== undefined) {
    return {
      pod: name,
      uid,
      image: options.image,
      ...(pod.spec?.nodeName === undefined ? {} : { node: pod.spec.nodeName }),
    };
  }
  const unscheduled = pod.status?.conditions?.find(
    (condition) => condition.type === 'PodScheduled' && condition.status === 'False',
  );
  if (unscheduled !== undefined) note(`a node (${unscheduled.message ?? unscheduled.reason})`);
  else if (status?.state?.waiting?.reason === 'ContainerCreating' || status === undefined) note('the node to start it');
  const init = pod.status?.initContainerStatuses ?? [];
  const own = init.filter((each) => each.name === options.container);
  for (const each of [...(status === undefined ? [] : [status]), ...own, ...init]) {
    const failure = failureOf(each);
    if (failure !== undefined) throw await startFailure(cluster, pod, each, failure, options);
  }
  return undefined;
}

/** Why the agent does not start: its own container, or one of the workload's that must run before it. */
async function startFailure(
  cluster: Cluster,
  { metadata: { name, uid } = {} }: V1Pod,
  status: V1ContainerStatus,
  { code, reason }: Failure,
  options: AgentWaitOptions,
): Promise<BowlineError> {
  const said = await eventsOf(cluster, options.namespace, options.session, uid, reason);
  if (status.name !== options.container) {
    return new BowlineError(
      'AGENT_FAILED',
      `The agent's pod waits for the workload's own container ${status.name} (image ${status.image}), which does not start: ${reason}.${said}`,
      {
        hint: "The agent's pod is a clone of the workload's, sidecars included: a new pod of the workload would not start either.",
        details: { pod: name, container: status.name, image: status.image },
      },
    );
  }
  const details = { pod: name, image: options.image };
  if (code === 'AGENT_IMAGE_PULL') {
    return new BowlineError(code, `The agent's image ${options.image} cannot be pulled: ${reason}.${said}`, {
      hint: 'Name an image that the cluster can pull: --agent-image IMAGE (any image with Node 24 in PATH), or add a pull secret to the workload.',
      details,
    });
  }
  const log = status.state?.terminated?.message ?? status.lastState?.terminated?.message;
  return new BowlineError(
    code,
    `The agent's container does not start: ${reason}.${log ? ` It said: ${log.trim().slice(0, 500)}` : ''}${said}`,
    {
      hint: "The agent image must have Node 24 in PATH and run as the workload's user; see the message of the node above.",
      details,
    },
  );
}

interface Failure {
  code: 'AGENT_IMAGE_PULL' | 'AGENT_FAILED';
  reason: string;
}

/** A container status that will not pass by waiting. Back-off states come after the kubelet has tried more than once. */
function failureOf(status: V1ContainerStatus): Failure | undefined {
  const waiting = status.state?.waiting;
  const reason = [waiting?.reason, waiting?.message].filter(Boolean).join(': ');
  switch (waiting?.reason ?? '') {
    case 'ImagePullBackOff':
    case 'ErrImagePull':
    case 'InvalidImageName':
    case 'ErrImageNeverPull':
    case 'ImageInspectError':
    case 'RegistryUnavailable':
      return { code: 'AGENT_IMAGE_PULL', reason };
    case 'CrashLoopBackOff':
    case 'CreateContainerConfigError':
    case 'CreateContainerError':
    case 'RunContainerError':
      return { code: 'AGENT_FAILED', reason };
    default:
      break;
  }
  const terminated = status.state?.terminated;
  if (terminated !== undefined && terminated.exitCode !== 0)
    return { code: 'AGENT_FAILED', reason: `it ended with status ${terminated.exitCode} (${terminated.reason})` };
  return undefined;
}

/** Never resolves; rejects when the ReplicaSet may not make its pod (quota, Pod Security, a webhook). */
async function watchReplicaSet(cluster: Cluster, options: AgentWaitOptions, signal: AbortSignal): Promise<never> {
  const { namespace, session } = options;
  for await (const event of cluster.watch(replicaSets, {
    namespace,
    fieldSelector: `metadata.name=${sessionObjectName(session)}`,
    signal,
  })) {
    if (event.type === 'trouble' || event.type === 'deleted') continue;
    for (const set of event.type === 'reset' ? event.objects : [event.object]) {
      const refusal = refusalOf(set);
      if (refusal === undefined) continue;
      throw new BowlineError('AGENT_REFUSED', `Namespace ${namespace} does not admit the agent pod: ${refusal}`, {
        hint: "It is a clone of the workload's pod with 64Mi and 10m of its own, and limits like the workload's (256Mi to 512Mi): make room for one more, or ask an administrator.",
        details: { namespace },
      });
    }
  }
  throw signal.reason;
}

const refusalOf = (set: V1ReplicaSet): string | undefined => {
  const condition = set.status?.conditions?.find((each) => each.type === 'ReplicaFailure' && each.status === 'True');
  return condition === undefined ? undefined : (condition.message ?? condition.reason);
};

/** The newest warnings about the agent's pod, as one sentence each; empty when there are none or they may not be read. */
async function eventsOf(
  cluster: Cluster,
  namespace: string,
  session: string,
  uid?: string,
  known = '',
): Promise<string> {
  const options: CallOptions = { timeout: 3000 };
  const all = await cluster
    .list(events, {
      ...options,
      namespace,
      ...(uid === undefined ? {} : { fieldSelector: `involvedObject.uid=${uid}` }),
    })
    .catch(() => []);
  const about = all.filter(
    (event) => event.type === 'Warning' && event.involvedObject.name?.startsWith(sessionObjectName(session)),
  );
  const messages = [
    ...new Set(
      about
        .map((event) => event.message?.trim())
        .filter((message): message is string => message !== undefined && message !== ''),
    ),
  ];
  // The status says the same in other words: an event is told when it adds something.
  const telling = messages.filter(
    (message, index) =>
      !saysAlready(known, message) &&
      !messages.some((other, at) => at !== index && other.length > message.length && saysAlready(other, message)),
  );
  return telling.length === 0 ? '' : ` Events: ${telling.slice(-3).join('; ')}.`;
}

/** Whether `text` says all of `message` but its first word or so ("Failed to pull image ...: CAUSE", "Error: CAUSE"). */
function saysAlready(text: string, message: string): boolean {
  // Not at the colon before the tag of an image.
  const [, cause = message] = /:\s+(.*)/s.exec(message) ?? [];
  return text.includes(cause.trim());
}
