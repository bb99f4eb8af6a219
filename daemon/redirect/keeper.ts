/**
 * The keeper of a namespace: made by the first session that redirects, shared by all, gone with the last. As with the
 * agent's code each session's owners are those of the root, so whoever adds himself and whoever removes the last one meet at one
 * resourceVersion, and one of them is refused and looks again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { KubernetesObject, V1Deployment, V1OwnerReference, V1ServiceAccount } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';
import type { CallOptions, Cluster, Right } from '../cluster/cluster.ts';
import {
  configMaps,
  deployments,
  leases,
  pods,
  replicaSets,
  roleBindings,
  roles,
  serviceAccounts,
  type Resource,
} from '../cluster/resources.ts';
import { keeperAccount, keeperObjects, type KeeperOptions } from './keeper-objects.ts';
import type { HeldLease } from './lease.ts';
import { keeperAnnotation, keeperLabel, keeperName } from './objects.ts';

/** What making one needs beyond a redirect. The built-in role `edit` lacks the last two. */
export const keeperRights = (namespace: string): Right[] => [
  ...['get', 'create', 'patch', 'delete'].map((verb) => ({ verb, group: '', resource: 'serviceaccounts', namespace })),
  ...['get', 'create', 'delete'].map((verb) => ({ verb, group: 'apps', resource: 'deployments', namespace })),
  ...['roles', 'rolebindings'].flatMap((resource) =>
    ['get', 'create', 'delete'].map((verb) => ({ verb, group: 'rbac.authorization.k8s.io', resource, namespace })),
  ),
];

/** Makes the keeper of the namespace, or adds this session to those for which it is there. Does not wait until it runs. */
export async function ensureKeeper(
  cluster: Cluster,
  options: KeeperOptions,
  session: V1OwnerReference[],
  call: CallOptions,
): Promise<void> {
  const root = await ensureRoot(cluster, options.namespace, session, call);
  const owner = { apiVersion: 'v1', kind: 'ServiceAccount', name: keeperName, uid: root };
  const { access, code, deployment } = keeperObjects(options, owner);
  const [role, binding] = access;
  await Promise.all([
    ensureChild(cluster, roles, role!, root, call),
    ensureChild(cluster, roleBindings, binding!, root, call),
    ensureChild(cluster, configMaps, code, root, call),
    ensureChild(cluster, deployments, deployment, root, call),
  ]);
}

/** Whether the Deployment of the namespace's keeper is there, to stay, and to run. */
export async function hasKeeper(cluster: Cluster, namespace: string, call: CallOptions): Promise<boolean> {
  const found = await cluster.find(deployments, keeperName, namespace, call);
  return found !== undefined && found.metadata?.deletionTimestamp === undefined && !isAtRest(found);
}

/** Scaled to no pod by somebody. It is made anew and not scaled up: whoever makes a keeper needs no right to change one. */
const isAtRest = (object: KubernetesObject): boolean => (object as V1Deployment).spec?.replicas === 0;

/**
 * Whether a keeper has marked the Lease since it was last asked. It asks by taking the mark off: who still watches puts it
 * there again at once, who only has a Deployment does not.
 */
export async function askKeeper(cluster: Cluster, held: HeldLease, call: CallOptions): Promise<boolean> {
  const lease = await cluster.find(leases, held.name, held.namespace, call);
  const mark = lease?.metadata?.annotations?.[keeperAnnotation];
  if (mark === undefined) return false;
  const path = `/metadata/annotations/${keeperAnnotation.replace('/', '~1')}`;
  const body = [
    { op: 'test' as const, path: '/metadata/uid', value: held.uid },
    { op: 'test' as const, path: '/spec/holderIdentity', value: held.holder },
    { op: 'test' as const, path, value: mark },
    { op: 'remove' as const, path },
  ];
  await cluster.patch(leases, held.name, held.namespace, { type: 'json', body }, call);
  return true;
}

async function ensureRoot(
  cluster: Cluster,
  namespace: string,
  session: V1OwnerReference[],
  call: CallOptions,
): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    try {
      const existing = await cluster.find(serviceAccounts, keeperName, namespace, call);
      if (existing === undefined) {
        const made = await cluster.create(serviceAccounts, keeperAccount(namespace, session), call);
        return made.metadata?.uid ?? '';
      }
      const { ownerReferences: owners = [], resourceVersion, uid = '' } = existing.metadata ?? {};
      const lacking = session.filter((own) => !owners.some((owner) => owner.uid === own.uid));
      if (lacking.length === 0) return uid;
      const body = [
        { op: 'test' as const, path: '/metadata/resourceVersion', value: resourceVersion },
        { op: 'add' as const, path: '/metadata/ownerReferences', value: [...owners, ...lacking] },
      ];
      await cluster.patch(serviceAccounts, keeperName, namespace, { type: 'json', body }, call);
      return uid;
    } catch (error) {
      // Another session made, changed or removed it at the same moment.
      if (attempt >= 5 || BowlineError.from(error).code === 'RIGHTS_MISSING') throw error;
    }
  }
}

/** One that belongs to a former root is about to be collected: it is made anew, because nothing of it works any more. One at rest too. */
async function ensureChild(
  cluster: Cluster,
  resource: Resource<KubernetesObject>,
  wanted: KubernetesObject,
  root: string,
  call: CallOptions,
): Promise<void> {
  const { name = '', namespace } = wanted.metadata ?? {};
  for (let attempt = 0; ; attempt++) {
    try {
      const existing = await cluster.find(resource, name, namespace, call).catch((error: unknown) => {
        // Whoever may not look at Roles uses what others made.
        if (BowlineError.from(error).code === 'RIGHTS_MISSING') return 'unknown' as const;
        throw error;
      });
      if (existing === 'unknown') return;
      const stays = existing?.metadata?.ownerReferences?.some(({ uid }) => uid === root) === true;
      if (stays && !isAtRest(existing)) return;
      const uid = existing?.metadata?.uid;
      if (uid !== undefined) {
        await cluster.delete(resource, name, namespace, {
          ...call,
          preconditions: { uid },
          propagationPolicy: 'Background',
        });
      }
      await cluster.create(resource, wanted, call);
      return;
    } catch (error) {
      if (attempt >= 5 || BowlineError.from(error).code === 'RIGHTS_MISSING') throw error;
    }
  }
}

/** The account of the keeper that is there for the session with these owners, and perhaps for others. */
export async function accountOfKeeper(
  cluster: Cluster,
  namespace: string,
  ownUids: ReadonlySet<string>,
  call: CallOptions,
): Promise<V1ServiceAccount | undefined> {
  const existing = await cluster.find(serviceAccounts, keeperName, namespace, call).catch(() => undefined);
  return existing?.metadata?.ownerReferences?.some(({ uid }) => ownUids.has(uid)) === true ? existing : undefined;
}

/**
 * Takes a session off the keeper, and removes the keeper with the last one: after the session's Lease, so that whoever is
 * killed in between leaves a keeper that the garbage collector takes, and never a Lease that nobody watches. What the caller
 * may not remove goes with the root by itself.
 */
export async function releaseKeeper(
  cluster: Cluster,
  namespace: string,
  account: V1ServiceAccount,
  ownUids: ReadonlySet<string>,
  call: CallOptions & { signal: AbortSignal },
): Promise<void> {
  const root = account.metadata?.uid;
  if (root === undefined) return;
  let known = account;
  for (let attempt = 0; attempt < 5; attempt++) {
    const { ownerReferences: owners = [], resourceVersion = '' } = known.metadata ?? {};
    const others = owners.filter((owner) => !ownUids.has(owner.uid));
    if (others.length === 0) {
      // Also where it is gone: the garbage collector may be faster.
      const preconditions = { uid: root, resourceVersion };
      const gone = await succeeds(cluster.delete(serviceAccounts, keeperName, namespace, { ...call, preconditions }));
      if (gone) return removeKeeper(cluster, namespace, root, call);
    } else {
      const body = [
        { op: 'test' as const, path: '/metadata/resourceVersion', value: resourceVersion },
        { op: 'replace' as const, path: '/metadata/ownerReferences', value: others },
      ];
      const patch = { type: 'json' as const, body };
      if (await succeeds(cluster.patch(serviceAccounts, keeperName, namespace, patch, call))) return;
    }
    // A session that takes it up at this moment changes the version, and so does the garbage collector.
    known = (await cluster.find(serviceAccounts, keeperName, namespace, call).catch(() => undefined)) ?? known;
    if (known.metadata?.uid !== root) return removeKeeper(cluster, namespace, root, call);
  }
}

const succeeds = (act: Promise<unknown>): Promise<boolean> =>
  act.then(
    () => true,
    () => false,
  );

async function removeKeeper(
  cluster: Cluster,
  namespace: string,
  root: string,
  call: CallOptions & { signal: AbortSignal },
): Promise<void> {
  const ofRoot = (object: KubernetesObject): boolean =>
    object.metadata?.ownerReferences?.some(({ uid }) => uid === root) === true;
  const remove = async (
    resource: Resource<KubernetesObject>,
    object: KubernetesObject | undefined,
    grace: { gracePeriodSeconds?: number } = {},
  ): Promise<void> => {
    const { name = '', uid } = object?.metadata ?? {};
    if (object === undefined || uid === undefined) return;
    const preconditions = { uid };
    const options = { ...call, ...grace, preconditions, propagationPolicy: 'Background' as const };
    await cluster.delete(resource, name, namespace, options).catch(() => false);
  };
  const named = async (resource: Resource<KubernetesObject>): Promise<void> => {
    const found = await cluster.find(resource, keeperName, namespace, call).catch(() => undefined);
    if (found !== undefined && ofRoot(found)) await remove(resource, found);
  };
  const codes = async (): Promise<void> => {
    const labelSelector = 'app.kubernetes.io/managed-by=bowline';
    const maps = await cluster.list(configMaps, { ...call, namespace, labelSelector }).catch(() => []);
    await Promise.all(maps.filter(ofRoot).map((map) => remove(configMaps, map)));
  };
  // The cluster's own work, only sooner. The pod is not waited for as long as its node takes to end it: it holds nothing,
  // and its account, without which it can do nothing and no other pod is made in its place, is gone already.
  const running = async (): Promise<void> => {
    await named(deployments);
    const labelSelector = `${keeperLabel}=namespace`;
    for (const until = Date.now() + 10_000; Date.now() < until;) {
      const [sets, left] = await Promise.all([
        cluster.list(replicaSets, { ...call, namespace, labelSelector }),
        cluster.list(pods, { ...call, namespace, labelSelector }),
      ]);
      if (sets.length + left.length === 0) return;
      await Promise.all(sets.map((set) => remove(replicaSets, set)));
      await Promise.all(left.map((pod) => remove(pods, pod, { gracePeriodSeconds: 0 })));
      await delay(20, undefined, { signal: call.signal });
    }
  };
  await Promise.all([running(), named(roles), named(roleBindings), codes()]);
}
