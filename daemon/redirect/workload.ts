/**
 * The workload behind a TARGET (`deploy/x`, `svc/x`, a bare name), in one shape for all kinds: what redirect needs to
 * know of it, read once. Pods of the workload are those it controls, not those that its labels happen to match.
 */
import type { KubernetesObject, V1Pod, V1PodTemplateSpec, V1Service } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import {
  daemonSets,
  deployments,
  pods,
  replicaSets,
  services,
  statefulSets,
  type Resource,
} from '../cluster/resources.ts';
import { managedBy, selectorText } from './objects.ts';
import { didYouMean } from '../../api/nearest.ts';

export type WorkloadKind = 'Deployment' | 'StatefulSet' | 'DaemonSet' | 'ReplicaSet' | 'Pod';

export interface Workload {
  kind: WorkloadKind;
  name: string;
  namespace: string;
  uid: string;
  /** Wanted replicas; 1 for a bare pod, the number of scheduled pods for a DaemonSet. */
  replicas: number;
  /** As the workload's controller makes its pods; for a bare pod made from itself. */
  template: V1PodTemplateSpec;
  /** StatefulSet: the name of its first pod. */
  firstPod?: string;
  /** StatefulSet: its governing Service. */
  serviceName?: string;
  /** StatefulSet: names of its volumeClaimTemplates. */
  claimTemplates: string[];
  /** The pods it has now, ready ones first. */
  pods: V1Pod[];
  object: KubernetesObject;
}

const kinds: Record<string, WorkloadKind | 'Service'> = {
  deploy: 'Deployment',
  deployment: 'Deployment',
  deployments: 'Deployment',
  'deployments.apps': 'Deployment',
  'deployment.apps': 'Deployment',
  sts: 'StatefulSet',
  statefulset: 'StatefulSet',
  statefulsets: 'StatefulSet',
  'statefulset.apps': 'StatefulSet',
  ds: 'DaemonSet',
  daemonset: 'DaemonSet',
  daemonsets: 'DaemonSet',
  'daemonset.apps': 'DaemonSet',
  rs: 'ReplicaSet',
  replicaset: 'ReplicaSet',
  replicasets: 'ReplicaSet',
  'replicaset.apps': 'ReplicaSet',
  po: 'Pod',
  pod: 'Pod',
  pods: 'Pod',
  svc: 'Service',
  service: 'Service',
  services: 'Service',
};

const short: Record<WorkloadKind | 'Service', string> = {
  Deployment: 'deploy',
  StatefulSet: 'sts',
  DaemonSet: 'ds',
  ReplicaSet: 'rs',
  Pod: 'pod',
  Service: 'svc',
};

const resources: Record<WorkloadKind, Resource<KubernetesObject>> = {
  Deployment: deployments,
  StatefulSet: statefulSets,
  DaemonSet: daemonSets,
  ReplicaSet: replicaSets,
  Pod: pods,
};

export const resourceOf = (kind: WorkloadKind): Resource<KubernetesObject> => resources[kind];
export const describe = (workload: { kind: WorkloadKind; name: string }): string =>
  `${short[workload.kind]}/${workload.name}`;

/** `deploy/x` -> kind and name; a bare `x` -> name only. */
export function parseTarget(target: string): { kind?: WorkloadKind | 'Service'; name: string } {
  const parts = target.split('/');
  const [kindText, name] = parts.length === 2 ? parts : [undefined, target];
  if (parts.length > 2 || !name || !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name)) {
    throw new BowlineError('BAD_TARGET', `"${target}" is not a target.`, {
      hint: 'Write KIND/NAME with KIND one of deploy, sts, ds, rs, pod, svc, for example deploy/stats-api; or the name alone.',
    });
  }
  if (kindText === undefined) return { name };
  const spelling = kindText.toLowerCase();
  const kind = Object.hasOwn(kinds, spelling) ? kinds[spelling] : undefined;
  if (kind === undefined) {
    throw new BowlineError('BAD_TARGET', `"${kindText}" in target "${target}" is not a kind that can be redirected.`, {
      hint: `Use one of deploy, sts, ds, rs, pod, svc. ${didYouMean(kindText, Object.keys(kinds), 'kinds')}`,
    });
  }
  return { kind, name };
}

/** Finds the workload of TARGET in `namespace`, through a Service or an owner where the target names one. */
export async function findWorkload(
  cluster: Cluster,
  namespace: string,
  target: string,
  options: CallOptions,
): Promise<Workload> {
  const { kind, name } = parseTarget(target);
  if (kind === undefined) return findByBareName(cluster, namespace, name, options);
  if (kind === 'Service') {
    const service = await cluster.find(services, name, namespace, options);
    if (service === undefined) throw await notFound(cluster, namespace, 'Service', name, options);
    return workloadOfService(cluster, namespace, service, options);
  }
  const object = await cluster.find(resources[kind], name, namespace, options);
  if (object === undefined) throw await notFound(cluster, namespace, kind, name, options);
  return read(cluster, kind, object, options);
}

/** A bare name means the one workload of that name; a Deployment before the Service that leads to it is no ambiguity. */
async function findByBareName(
  cluster: Cluster,
  namespace: string,
  name: string,
  options: CallOptions,
): Promise<Workload> {
  const candidates: WorkloadKind[] = ['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'Pod'];
  const [found, service] = await Promise.all([
    Promise.all(
      candidates.map(async (kind) => ({ kind, object: await cluster.find(resources[kind], name, namespace, options) })),
    ),
    cluster.find(services, name, namespace, options),
  ]);
  const hits = found.filter((hit) => hit.object !== undefined);
  if (hits.length === 1) return read(cluster, hits[0]!.kind, hits[0]!.object!, options);
  if (hits.length > 1) {
    const alternatives = hits.map((hit) => `${short[hit.kind]}/${name}`);
    throw new BowlineError(
      'TARGET_AMBIGUOUS',
      `"${name}" may be ${alternatives.join(' or ')} in namespace ${namespace}.`,
      {
        hint: `Say which: ${alternatives.map((alternative) => `\`bowline connect ${alternative}\``).join(', ')}.`,
        details: { alternatives },
      },
    );
  }
  if (service !== undefined) return workloadOfService(cluster, namespace, service, options);
  throw await notFound(cluster, namespace, undefined, name, options);
}

async function notFound(
  cluster: Cluster,
  namespace: string,
  kind: WorkloadKind | 'Service' | undefined,
  name: string,
  options: CallOptions,
): Promise<BowlineError> {
  const listed: Array<WorkloadKind | 'Service'> =
    kind === undefined ? ['Deployment', 'StatefulSet', 'DaemonSet', 'Service'] : [kind];
  const names = (
    await Promise.all(
      listed.map(async (each) => {
        const resource: Resource<KubernetesObject> = each === 'Service' ? services : resources[each];
        const objects = await cluster.list(resource, { ...options, namespace }).catch(() => []);
        return objects.map((object) => `${short[each]}/${object.metadata?.name ?? ''}`);
      }),
    )
  ).flat();
  const asked = kind === undefined ? name : `${short[kind]}/${name}`;
  const near = names.filter((each) => !each.includes('/bowline-'));
  const byName = new Map(near.map((each) => [kind === undefined ? each.slice(each.indexOf('/') + 1) : each, each]));
  return new BowlineError(
    'WORKLOAD_NOT_FOUND',
    `There is no ${kind === undefined ? 'workload or Service' : kind} "${name}" in namespace ${namespace}.`,
    {
      hint: didYouMean(asked, [...byName.keys()], 'workloads'),
      details: { namespace, alternatives: near },
    },
  );
}

/** The one workload whose pods a Service selects. */
export async function workloadOfService(
  cluster: Cluster,
  namespace: string,
  service: V1Service,
  options: CallOptions,
): Promise<Workload> {
  const name = service.metadata?.name ?? '';
  const selector = service.spec?.selector;
  if (selector === undefined || Object.keys(selector).length === 0) {
    throw new BowlineError(
      'WORKLOAD_UNSUPPORTED',
      `Service ${name} in namespace ${namespace} has no selector, so it leads to no workload.`,
      {
        hint: 'Name the workload itself, for example deploy/NAME.',
      },
    );
  }
  const labelSelector = selectorText(selector);
  const selected = (await cluster.list(pods, { ...options, namespace, labelSelector })).filter(
    (pod) => pod.metadata?.deletionTimestamp === undefined,
  );
  const owners = new Map<string, Workload>();
  for (const pod of selected) {
    const owner = await ownerOf(cluster, namespace, pod, options);
    owners.set(owner.uid, owner);
  }
  if (owners.size === 0) {
    throw new BowlineError(
      'WORKLOAD_HAS_NO_PODS',
      `Service ${name} in namespace ${namespace} selects no pod now, so its workload cannot be told.`,
      {
        hint: 'Name the workload itself, or scale it up first.',
      },
    );
  }
  if (owners.size > 1) {
    const alternatives = [...owners.values()].map(describe).sort();
    throw new BowlineError(
      'TARGET_AMBIGUOUS',
      `Service ${name} in namespace ${namespace} leads to several workloads: ${alternatives.join(', ')}.`,
      {
        hint: `Say which: ${alternatives.map((alternative) => `\`bowline connect ${alternative}\``).join(', ')}.`,
        details: { alternatives },
      },
    );
  }
  return [...owners.values()][0]!;
}

/** Climbs from a pod to what a user would name: ReplicaSet -> Deployment. */
async function ownerOf(cluster: Cluster, namespace: string, pod: V1Pod, options: CallOptions): Promise<Workload> {
  const owner = pod.metadata?.ownerReferences?.find((reference) => reference.controller === true);
  if (owner === undefined) return read(cluster, 'Pod', pod, options);
  if (owner.kind === 'ReplicaSet') {
    const replicaSet = await cluster.get(replicaSets, owner.name, namespace, options);
    const above = replicaSet.metadata?.ownerReferences?.find((reference) => reference.controller === true);
    if (above?.kind === 'Deployment')
      return read(cluster, 'Deployment', await cluster.get(deployments, above.name, namespace, options), options);
    return read(cluster, 'ReplicaSet', replicaSet, options);
  }
  if (owner.kind === 'StatefulSet' || owner.kind === 'DaemonSet') {
    return read(cluster, owner.kind, await cluster.get(resources[owner.kind], owner.name, namespace, options), options);
  }
  throw new BowlineError(
    'WORKLOAD_UNSUPPORTED',
    `Pod ${pod.metadata?.name} belongs to ${owner.kind}/${owner.name}, a kind that cannot be redirected.`,
    {
      hint: 'Deployment, StatefulSet, DaemonSet, ReplicaSet and bare pods can.',
    },
  );
}

/** The fields that all kinds have in some form. */
type AnyWorkload = KubernetesObject & {
  spec?: {
    replicas?: number;
    template?: V1PodTemplateSpec;
    serviceName?: string;
    ordinals?: { start?: number };
    volumeClaimTemplates?: Array<{ metadata?: { name?: string } }>;
  };
  status?: { desiredNumberScheduled?: number };
};

async function read(
  cluster: Cluster,
  kind: WorkloadKind,
  object: KubernetesObject,
  options: CallOptions,
): Promise<Workload> {
  const { metadata, spec, status } = object as AnyWorkload;
  const name = metadata?.name ?? '';
  const namespace = metadata?.namespace ?? '';
  const uid = metadata?.uid ?? '';
  if (
    metadata?.labels?.['app.kubernetes.io/managed-by'] === managedBy['app.kubernetes.io/managed-by'] ||
    metadata?.labels?.['bowline.dev/session'] !== undefined
  ) {
    throw new BowlineError('WORKLOAD_UNSUPPORTED', `${describe({ kind, name })} belongs to a Bowline session itself.`, {
      hint: `See \`bowline list\`; \`bowline restore -n ${namespace}\` removes what a dead session left.`,
    });
  }
  const base = {
    kind,
    name,
    namespace,
    uid,
    object,
    claimTemplates: (spec?.volumeClaimTemplates ?? []).map((claim) => claim.metadata?.name ?? ''),
  };
  if (kind === 'Pod') {
    const pod = object as V1Pod;
    const controller = pod.metadata?.ownerReferences?.find((reference) => reference.controller === true);
    if (controller !== undefined) return ownerOf(cluster, namespace, pod, options);
    return { ...base, replicas: 1, template: { metadata: { ...pick(pod.metadata) }, spec: pod.spec! }, pods: [pod] };
  }
  if (kind === 'ReplicaSet') {
    const above = metadata?.ownerReferences?.find((reference) => reference.controller === true);
    if (above?.kind === 'Deployment') {
      return read(cluster, 'Deployment', await cluster.get(deployments, above.name, namespace, options), options);
    }
  }
  const all = await cluster.list(pods, { ...options, namespace, labelSelector: labelSelectorOf(object) });
  const controllers = new Set([uid]);
  if (kind === 'Deployment') {
    const sets = await cluster.list(replicaSets, { ...options, namespace, labelSelector: labelSelectorOf(object) });
    for (const set of sets)
      if (set.metadata?.ownerReferences?.some((reference) => reference.uid === uid))
        controllers.add(set.metadata.uid ?? '');
  }
  const own = all.filter(
    (pod) =>
      pod.metadata?.deletionTimestamp === undefined &&
      pod.metadata?.ownerReferences?.some((reference) => controllers.has(reference.uid)),
  );
  own.sort(
    (a, b) => Number(isReady(b)) - Number(isReady(a)) || (a.metadata?.name ?? '').localeCompare(b.metadata?.name ?? ''),
  );
  return {
    ...base,
    replicas: kind === 'DaemonSet' ? (status?.desiredNumberScheduled ?? own.length) : (spec?.replicas ?? 1),
    template: spec?.template ?? {},
    ...(kind === 'StatefulSet' ? { firstPod: `${name}-${spec?.ordinals?.start ?? 0}` } : {}),
    ...(spec?.serviceName === undefined ? {} : { serviceName: spec.serviceName }),
    pods: own,
  };
}

export const isReady = (pod: V1Pod): boolean =>
  pod.status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') ?? false;

const pick = (metadata: V1Pod['metadata']): V1PodTemplateSpec['metadata'] => ({
  ...(metadata?.labels === undefined ? {} : { labels: metadata.labels }),
  ...(metadata?.annotations === undefined ? {} : { annotations: metadata.annotations }),
});

/** A `LabelSelector` as the query parameter has it. */
function labelSelectorOf(object: KubernetesObject): string {
  const selector = (
    object as {
      spec?: {
        selector?: {
          matchLabels?: Record<string, string>;
          matchExpressions?: Array<{ key: string; operator: string; values?: string[] }>;
        };
      };
    }
  ).spec?.selector;
  const labels = Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const expressions = (selector?.matchExpressions ?? []).map(({ key, operator, values = [] }) => {
    if (operator === 'Exists') return key;
    if (operator === 'DoesNotExist') return `!${key}`;
    return `${key} ${operator === 'In' ? 'in' : 'notin'} (${values.join(',')})`;
  });
  return [...labels, ...expressions].join(',');
}
