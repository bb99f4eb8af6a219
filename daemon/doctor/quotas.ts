/**
 * Whether the quotas of a namespace have room for what a connect would make there. What that is comes from its plan, the one
 * that `--dry-run` prints, and is counted as the API server does.
 * https://kubernetes.io/docs/concepts/policy/resource-quotas/
 */
import type {
  KubernetesObject,
  V1Container,
  V1Deployment,
  V1PodSpec,
  V1PodTemplateSpec,
  V1ReplicaSet,
  V1ResourceQuota,
} from '@kubernetes/client-node';
import type { DoctorCheck, Plan } from '../../api/schema.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import * as resources from '../cluster/resources.ts';
import { bytesOrCores } from '../environment/quantity.ts';
import { keeperName, sessionLabel } from '../redirect/objects.ts';
import { ok, warning } from './check.ts';
import type { ClusterCheck } from './cluster.ts';
import { notAllowed } from './namespace.ts';

/** One object, and what it takes of each resource that a quota can name. */
export interface Claim {
  /** `services/bowline-ID-originals`. */
  object: string;
  takes: Record<string, number>;
  /** Of a pod: what decides whether a quota with a scope is about it. */
  pod?: V1PodSpec;
  /** Of the keeper: a session stands without. */
  keeper: boolean;
}

export const quotas: ClusterCheck = async ({ cluster, namespace, held, planned, signal }) => {
  try {
    const found = await cluster.list(resources.resourceQuotas, { namespace, signal });
    if (found.length === 0) return [ok('quota', `Namespace ${namespace} has no quota.`)];
    const named = `The quotas of namespace ${namespace} (${found.map(({ metadata }) => metadata?.name).join(', ')})`;
    if (held !== undefined) return [ok('quota', `${named} have admitted what ${held.name} made.`)];
    const plan = await planned?.catch(() => undefined);
    if (plan === undefined)
      return [
        warning(
          'quota',
          `${named} may refuse what a connect makes: what that would be is not known, because it cannot be planned.`,
          '`bowline connect --dry-run` says why.',
        ),
      ];
    const claims = await claimsOfPlan(cluster, namespace, plan, { signal });
    const short = found.flatMap((quota) => shortages(quota, claims));
    return short.length > 0
      ? short
      : [ok('quota', `${named} leave room for the ${claims.length} objects that a connect makes.`)];
  } catch (error) {
    if (!notAllowed(error)) throw error;
    return [
      warning(
        'quota',
        `You may not look at the quotas of namespace ${namespace}.`,
        'Nothing to do: a refusal would be told by `bowline connect`.',
      ),
    ];
  }
};

/** What of the plan is not there yet: the agent's code and the keeper are shared by the sessions of a namespace. */
export async function claimsOfPlan(
  cluster: Cluster,
  namespace: string,
  plan: Plan,
  call: CallOptions,
): Promise<Claim[]> {
  const made = plan.actions.filter(({ verb }) => verb === 'create').map(({ body }) => body as KubernetesObject);
  const there = await Promise.all(
    made.map(async ({ kind, metadata }) => {
      const resource = Object.values(resources).find((each) => each.kind === kind);
      if (resource === undefined || metadata?.labels?.[sessionLabel] !== undefined) return false;
      const found = cluster.find<KubernetesObject>(resource, metadata?.name ?? '', namespace, call);
      return (await found.catch(() => undefined)) !== undefined;
    }),
  );
  return made.filter((_, index) => !there[index]).flatMap((object) => claimsOf(object));
}

/** Of the object, and of those that its controller makes for it. */
export function claimsOf(object: KubernetesObject): Claim[] {
  const { apiVersion = 'v1', kind = '', metadata } = object;
  const group = apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
  const plural = `${kind.toLowerCase()}s`;
  const name = metadata?.name ?? '';
  const pod = kind === 'Pod' ? ((object as { spec?: V1PodSpec }).spec ?? { containers: [] }) : undefined;
  const own: Claim = {
    object: `${plural}/${name}`,
    takes: {
      [`count/${plural}${group && `.${group}`}`]: 1,
      ...(group === '' && { [plural]: 1 }),
      ...(pod && computeOf(pod)),
    },
    ...(pod && { pod }),
    keeper: name.startsWith(keeperName),
  };
  return [own, ...childrenOf(object).flatMap((child) => claimsOf(child))];
}

function childrenOf({ kind, metadata, ...rest }: KubernetesObject): KubernetesObject[] {
  const named = { name: `${metadata?.name}-...` };
  if (kind === 'Deployment') {
    const { spec } = rest as V1Deployment;
    const { replicas, template } = spec ?? {};
    return [
      { apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: named, spec: { replicas, template } } as V1ReplicaSet,
    ];
  }
  if (kind !== 'ReplicaSet') return [];
  const { replicas = 1, template } = ((rest as V1ReplicaSet).spec ?? {}) as {
    replicas?: number;
    template?: V1PodTemplateSpec;
  };
  const child = { apiVersion: 'v1', kind: 'Pod', metadata: named, spec: template?.spec };
  return Array.from({ length: replicas }, () => child);
}

const computed = ['cpu', 'memory', 'ephemeral-storage'];

/** A pod's requests and limits. https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers */
function computeOf(pod: V1PodSpec): Record<string, number> {
  const takes: Record<string, number> = {};
  for (const resource of computed) {
    const requests = total(pod, ({ resources }) => resources?.requests?.[resource] ?? resources?.limits?.[resource]);
    const limits = total(pod, ({ resources }) => resources?.limits?.[resource]);
    takes[resource] = requests;
    takes[`requests.${resource}`] = requests;
    takes[`limits.${resource}`] = limits;
  }
  return takes;
}

/** Containers and sidecars run together; an init container runs with the sidecars before it, and alone with them. */
function total(
  { containers, initContainers = [], overhead }: V1PodSpec,
  of: (one: V1Container) => string | undefined,
): number {
  const amount = (container: V1Container): number => bytesOrCores(of(container) ?? '0');
  let sidecars = 0;
  let starting = 0;
  for (const container of initContainers) {
    if (container.restartPolicy === 'Always') sidecars += amount(container);
    else starting = Math.max(starting, sidecars + amount(container));
  }
  const running = containers.reduce((sum, container) => sum + amount(container), sidecars);
  const more = of({ name: '', resources: { requests: overhead ?? {}, limits: overhead ?? {} } });
  return Math.max(running, starting) + bytesOrCores(more ?? '0');
}

/** One line for each resource of which a quota has less left than is needed. */
export function shortages(quota: V1ResourceQuota, claims: Claim[]): DoctorCheck[] {
  const { metadata, spec, status } = quota;
  const within = claims.filter((claim) => isAbout(quota, claim));
  return Object.entries(status?.hard ?? spec?.hard ?? {}).flatMap(([resource, hard]) => {
    const used = status?.used?.[resource] ?? '0';
    const left = bytesOrCores(hard) - bytesOrCores(used);
    const takers = within.filter(({ takes }) => (takes[resource] ?? 0) > 0);
    const needed = sum(takers, resource);
    // Quantities are decimal fractions, which add up to a little less or more.
    if (needed === 0 || needed <= left + 1e-9) return [];
    const enough = takers.filter(({ keeper }) => !keeper);
    const without = sum(enough, resource) <= left + 1e-9 && enough.length < takers.length;
    const message = `Quota ${metadata?.name} in namespace ${metadata?.namespace} has ${used} of ${hard} ${resource} in use, and a connect needs ${amount(resource, needed)} more: ${takers.map(({ object }) => object).join(', ')}.`;
    return without
      ? [
          warning(
            'quota',
            `${message} It has room for the agent, and none for a keeper.`,
            'Free some, or have the quota raised: nobody would put back what a vanished machine left.',
          ),
        ]
      : [{ check: 'quota', state: 'failure' as const, message, hint: 'Free some, or have the quota raised.' }];
  });
}

const sum = (claims: Claim[], resource: string): number =>
  claims.reduce((all, { takes }) => all + (takes[resource] ?? 0), 0);

function amount(resource: string, value: number): string {
  if (/memory|storage/.test(resource)) return `${Math.ceil(value / 2 ** 20)}Mi`;
  return /cpu/.test(resource) ? `${Math.round(value * 1000)}m` : String(value);
}

/** Quotas with scopes are about some pods, and about nothing else. All scopes must hold. */
function isAbout({ spec }: V1ResourceQuota, { pod, takes }: Claim): boolean {
  const scopes = [
    ...(spec?.scopes ?? []).map((scopeName) => ({ scopeName, operator: 'Exists', values: [] as string[] })),
    ...(spec?.scopeSelector?.matchExpressions ?? []),
  ];
  if (scopes.length === 0) return true;
  if (pod === undefined) return false;
  const bestEffort = takes['cpu'] === 0 && takes['memory'] === 0;
  return scopes.every(({ scopeName, operator, values = [] }) => {
    if (scopeName === 'Terminating') return pod.activeDeadlineSeconds !== undefined;
    if (scopeName === 'NotTerminating') return pod.activeDeadlineSeconds === undefined;
    if (scopeName === 'BestEffort') return bestEffort;
    if (scopeName === 'NotBestEffort') return !bestEffort;
    if (scopeName !== 'PriorityClass') return false; // CrossNamespacePodAffinity, and what is not known yet
    const named = pod.priorityClassName;
    if (operator === 'Exists') return named !== undefined;
    if (operator === 'DoesNotExist') return named === undefined;
    return values.includes(named ?? '') === (operator === 'In');
  });
}
