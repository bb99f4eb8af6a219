/**
 * The agent's pod template: a clone of the workload's with one container swapped, so that identity, files and network
 * policies are the workload's. What must not be cloned, and why, stands at each line. Pure.
 */
import type {
  V1Affinity,
  V1Container,
  V1EnvVar,
  V1PodSpec,
  V1PodTemplateSpec,
  V1SecurityContext,
  V1Volume,
} from '@kubernetes/client-node';
import { agentCommand, codeFolder, imageFolder, sessionFolder } from '../../agent-image/contract.ts';
import { agentResources } from './agent-resources.ts';
import { hostileVariables, keptVariablePrefix } from './hostile-variables.ts';
import { leaveLostNode } from './lost-node.ts';
import { codeConfigMapName, readinessGate, sessionLabels, sessionObjectName, sessionSelector } from './objects.ts';
import { withOriginalSubPaths } from './sub-paths.ts';
import type { Workload } from './workload.ts';

/**
 * Longer than an agent serves whoever still comes to it (agent.ts): somebody deletes its pod, or drains its node, while the
 * Services lead to it. A session that ends is not in need of it, see release.ts.
 */
const leaveSeconds = 12;

export interface AgentImage {
  name: string;
  /** The image carries the agent, so no code is mounted. */
  hasAgent: boolean;
}

export interface AgentPodOptions {
  session: string;
  image: AgentImage;
  codeHash: string;
  /** The user and group that the original's process has, when the template does not say and the pod may not be root. */
  user?: { uid: number; gid: number };
  /** A node of an original: preferred, or required where a volume can only be mounted there. */
  node?: { name: string; required: boolean };
  /** The original's container in a running pod. */
  running?: V1Container;
  /** With --stop-original the clone of a StatefulSet takes the ordinal's host name. */
  takeHostname: boolean;
  /** The variables of the original's image may have to be asked for, see environment/image.ts. */
  shareImageFolder?: boolean;
  /** The originals' claims for a StatefulSet's volumeClaimTemplates: name of the volume -> claim. */
  claims: Record<string, string>;
}

/** Labels that tie a pod to one controller or one ordinal; with them the clone would be taken for another pod. */
const ownersLabels = [
  'pod-template-hash',
  'controller-revision-hash',
  'pod-template-generation',
  'statefulset.kubernetes.io/pod-name',
  'apps.kubernetes.io/pod-index',
];
/** Annotations that describe the manifest of a bare pod, not the pod. */
const manifestAnnotations = ['kubectl.kubernetes.io/last-applied-configuration'];

export function cloneWithAgent(
  workload: Workload,
  container: V1Container,
  options: AgentPodOptions,
): V1PodTemplateSpec {
  const { metadata, spec } = workload.template;
  const original = spec!;
  const {
    hostNetwork: _hostNetwork, // would take the node's ports
    hostPID: _hostPID,
    hostIPC: _hostIPC,
    nodeName: _nodeName, // of a bare pod: the scheduler shall decide
    priority: _priority, // computed from priorityClassName at admission
    topologySpreadConstraints: _spread, // could make the clone unschedulable
    activeDeadlineSeconds: _deadline,
    ephemeralContainers: _ephemeral,
    resources: _resources, // of the whole pod: its requests might fit nowhere a second time
    hostname,
    subdomain,
    ...kept
  } = original;
  const injected = workload.kind === 'Pod' ? serviceAccountMounts(original) : new Set<string>();
  const swapped = (each: V1Container): V1Container => {
    const mounting = withOriginalSubPaths(each, workload);
    const own = each.name === container.name ? agentContainer(mounting, original, options) : sidecar(mounting);
    return withoutMounts(own, injected);
  };
  const pod: V1PodSpec = {
    ...kept,
    ...hostnames(workload, options, hostname, subdomain),
    // Init containers that end have done their work for the originals (they migrate databases); sidecars are needed.
    ...(original.initContainers === undefined
      ? {}
      : { initContainers: original.initContainers.filter((each) => each.restartPolicy === 'Always').map(swapped) }),
    containers: original.containers.map(swapped),
    volumes: [
      ...(original.volumes ?? []).filter((volume) => !injected.has(volume.name)).map(withoutNewClaim),
      ...Object.entries(options.claims).map(([name, claimName]): V1Volume => ({
        name,
        persistentVolumeClaim: { claimName },
      })),
      ...agentVolumes(options),
    ],
    ...affinity(original.affinity, options),
    tolerations: [...(original.tolerations ?? []), ...leaveLostNode],
    readinessGates: [{ conditionType: readinessGate }],
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: leaveSeconds,
    securityContext: {
      ...original.securityContext,
      sysctls: [
        ...(original.securityContext?.sysctls ?? []).filter((sysctl) => sysctl.name !== unprivilegedPorts.name),
        unprivilegedPorts,
      ],
    },
  };
  if (pod.initContainers?.length === 0) delete pod.initContainers;
  return {
    metadata: {
      labels: { ...without(metadata?.labels, ownersLabels), ...sessionSelector(options.session) },
      annotations: without(metadata?.annotations, manifestAnnotations),
    },
    spec: pod,
  };
}

/** The agent of a connection without a redirect: a pod of its own, admitted by Pod Security *restricted*. */
export function gatewayPod(options: AgentPodOptions): V1PodTemplateSpec {
  const { uid, gid } = options.user ?? { uid: 65532, gid: 65532 };
  const base: V1Container = { name: 'agent', securityContext: { runAsNonRoot: true, runAsUser: uid, runAsGroup: gid } };
  return {
    metadata: { labels: sessionLabels(options.session) },
    spec: {
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      containers: [agentContainer(base, { containers: [] }, options)],
      volumes: agentVolumes(options),
      tolerations: leaveLostNode,
      readinessGates: [{ conditionType: readinessGate }],
      terminationGracePeriodSeconds: leaveSeconds,
    },
  };
}

/** The safe sysctl that lets an agent without capabilities listen on ports below 1024. */
const unprivilegedPorts = { name: 'net.ipv4.ip_unprivileged_port_start', value: '0' };

function agentContainer(original: V1Container, pod: V1PodSpec, options: AgentPodOptions): V1Container {
  return {
    name: original.name,
    image: options.image.name,
    imagePullPolicy: 'IfNotPresent',
    command: agentCommand,
    ...(original.ports === undefined
      ? {}
      : { ports: original.ports.map(({ hostPort: _hostPort, hostIP: _hostIP, ...port }) => port) }),
    ...(original.envFrom === undefined ? {} : { envFrom: original.envFrom }),
    env: agentVariables(original.env ?? []),
    volumeMounts: [
      ...(original.volumeMounts ?? []),
      { name: 'bowline-session', mountPath: sessionFolder, readOnly: true },
      ...(options.image.hasAgent ? [] : [{ name: 'bowline-agent', mountPath: codeFolder, readOnly: true }]),
      ...(options.shareImageFolder === true ? [imageFolderMount] : []),
    ],
    resources: agentResources(options.running?.resources ?? original.resources),
    securityContext: agentSecurity(original.securityContext, pod, options),
    terminationMessagePolicy: 'FallbackToLogsOnError',
  };
}

/** The workload's own variables stay (kubelet resolves them for us), but none may change the agent's runtime. */
function agentVariables(variables: V1EnvVar[]): V1EnvVar[] {
  const kept = variables.map((variable) =>
    hostileVariables.includes(variable.name) ? { ...variable, name: keptVariablePrefix + variable.name } : variable,
  );
  return [...kept, ...hostileVariables.map((name) => ({ name, value: '' }))];
}

function agentSecurity(
  original: V1SecurityContext | undefined,
  pod: V1PodSpec,
  options: AgentPodOptions,
): V1SecurityContext {
  const mustNotBeRoot = original?.runAsNonRoot ?? pod.securityContext?.runAsNonRoot ?? false;
  const saysUser = original?.runAsUser ?? pod.securityContext?.runAsUser;
  const user =
    saysUser === undefined && (mustNotBeRoot || options.user !== undefined)
      ? (options.user ?? { uid: 65532, gid: 65532 })
      : undefined;
  return {
    ...(original?.runAsUser === undefined ? {} : { runAsUser: original.runAsUser }),
    ...(original?.runAsGroup === undefined ? {} : { runAsGroup: original.runAsGroup }),
    ...(user === undefined
      ? {}
      : { runAsUser: user.uid, runAsGroup: original?.runAsGroup ?? pod.securityContext?.runAsGroup ?? user.gid }),
    ...(original?.runAsNonRoot === undefined ? {} : { runAsNonRoot: original.runAsNonRoot }),
    ...(original?.seLinuxOptions === undefined ? {} : { seLinuxOptions: original.seLinuxOptions }),
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
  };
}

function sidecar(container: V1Container): V1Container {
  const { lifecycle: _lifecycle, ...kept } = container; // hooks register and deregister the real workload
  return kept.ports === undefined
    ? kept
    : { ...kept, ports: kept.ports.map(({ hostPort: _hostPort, hostIP: _hostIP, ...port }) => port) };
}

export const imageFolderMount = { name: 'bowline-image', mountPath: imageFolder };

function agentVolumes(options: AgentPodOptions): V1Volume[] {
  const session: V1Volume = { name: 'bowline-session', secret: { secretName: sessionObjectName(options.session) } };
  const code: V1Volume = { name: 'bowline-agent', configMap: { name: codeConfigMapName(options.codeHash) } };
  const image: V1Volume = { name: imageFolderMount.name, emptyDir: { medium: 'Memory', sizeLimit: '32Mi' } };
  return [session, ...(options.image.hasAgent ? [] : [code]), ...(options.shareImageFolder === true ? [image] : [])];
}

/** A volume that every pod has of its own would be another disk, made and thrown away: the clone has an empty directory there. */
const withoutNewClaim = (volume: V1Volume): V1Volume =>
  volume.ephemeral === undefined ? volume : { name: volume.name, emptyDir: {} };

/** Of a bare pod: the token volume that admission added; it adds a new one. */
function serviceAccountMounts(spec: V1PodSpec): Set<string> {
  return new Set(
    (spec.volumes ?? [])
      .filter((volume) => /^kube-api-access-[a-z0-9]{5}$/.test(volume.name))
      .map((volume) => volume.name),
  );
}

const withoutMounts = (container: V1Container, volumes: Set<string>): V1Container =>
  volumes.size === 0 || container.volumeMounts === undefined
    ? container
    : { ...container, volumeMounts: container.volumeMounts.filter((mount) => !volumes.has(mount.name)) };

function hostnames(
  workload: Workload,
  options: AgentPodOptions,
  hostname: string | undefined,
  subdomain: string | undefined,
): Partial<V1PodSpec> {
  // The pod's own name under a headless Service: the ordinal's for a StatefulSet that has no other pod under it now.
  if (workload.firstPod !== undefined && (options.takeHostname || workload.replicas === 1)) {
    return { hostname: workload.firstPod, ...(workload.serviceName ? { subdomain: workload.serviceName } : {}) };
  }
  return { ...(hostname === undefined ? {} : { hostname }), ...(subdomain === undefined ? {} : { subdomain }) };
}

function affinity(original: V1Affinity | undefined, options: AgentPodOptions): { affinity?: V1Affinity } {
  const { podAntiAffinity: _podAntiAffinity, ...kept } = original ?? {}; // against the originals: would not schedule
  if (options.node === undefined) return original === undefined ? {} : { affinity: kept };
  const match = { matchFields: [{ key: 'metadata.name', operator: 'In', values: [options.node.name] }] };
  const nodeAffinity = kept.nodeAffinity ?? {};
  if (options.node.required) {
    // Terms are alternatives: each one needs the node beside what it says already.
    const terms = nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [{}];
    return {
      affinity: {
        ...kept,
        nodeAffinity: {
          ...nodeAffinity,
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: terms.map((term) => ({
              ...term,
              matchFields: [...(term.matchFields ?? []), ...match.matchFields],
            })),
          },
        },
      },
    };
  }
  return {
    affinity: {
      ...kept,
      nodeAffinity: {
        ...nodeAffinity,
        preferredDuringSchedulingIgnoredDuringExecution: [
          ...(nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution ?? []),
          { weight: 100, preference: match },
        ],
      },
    },
  };
}

function without(map: Record<string, string> | undefined, keys: string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(map ?? {}).filter(([key]) => !keys.includes(key)));
}
