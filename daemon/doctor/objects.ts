/** What Bowline has in a cluster, of sessions and keepers: what each object is, and never what it holds. */
import type { KubernetesObject } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';
import type { ClusterObject, ClusterObjects } from '../../api/schema.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import {
  configMaps,
  deployments,
  leases,
  pods,
  replicaSets,
  roleBindings,
  roles,
  secrets,
  serviceAccounts,
  services,
  type Resource,
} from '../cluster/resources.ts';
import type { ConnectionManager } from '../connections/manager.ts';
import { namespacesOf } from '../connections/redirects.ts';
import type { ConnectionsOptions } from '../connections/start.ts';
import { managedBy, originalAnnotation, sessionLabel } from '../redirect/objects.ts';
import type { ObjectLister } from '../server/handlers.ts';

const managedKey = 'app.kubernetes.io/managed-by';
const managed = `${managedKey}=${managedBy[managedKey]}`;

/** An agent has the workload's labels, whatever these say of who manages it. */
const kinds: Array<[resource: Resource<KubernetesObject>, ...labelSelectors: Array<string | undefined>]> = [
  [leases, managed],
  [configMaps, managed],
  [secrets, managed],
  // Redirected ones are not ours: they are known by their annotation.
  [services, undefined],
  [replicaSets, managed],
  [deployments, managed],
  [pods, managed, sessionLabel],
  [serviceAccounts, managed],
  [roles, managed],
  [roleBindings, managed],
];

export interface ObjectListerOptions {
  openCluster: ConnectionsOptions['openCluster'];
  manager: ConnectionManager;
}

/** In the namespace that is named; else in the context's own and those of this machine's connections. */
export function objectLister({ openCluster, manager }: ObjectListerOptions): ObjectLister {
  return async ({ kubeconfig, context, namespace }, signal) => {
    const cluster = await openCluster({ kubeconfig, context }, signal);
    try {
      const namespaces = namespace === undefined ? namespacesOf(cluster, manager.list()) : [namespace];
      const found = await Promise.all(namespaces.map((each) => listObjects(cluster, each, { signal })));
      return {
        objects: found.flatMap(({ objects }) => objects),
        unreadable: found.flatMap(({ unreadable }) => unreadable),
      };
    } finally {
      await cluster.close();
    }
  };
}

async function listObjects(cluster: Cluster, namespace: string, call: CallOptions): Promise<ClusterObjects> {
  const unreadable: ClusterObjects['unreadable'] = [];
  const listed = await Promise.all(
    kinds.map(async ([resource, ...selectors]) => {
      const { kind } = resource;
      try {
        const lists = selectors.map((labelSelector) =>
          cluster.list(resource, { ...call, namespace, ...(labelSelector && { labelSelector }) }),
        );
        const all = (await Promise.all(lists)).flat();
        const each = new Map(all.map((object) => [object.metadata?.uid, object]));
        return [...each.values()].filter(isOurs).map((object) => described(kind, namespace, object));
      } catch (error) {
        unreadable.push({ kind, namespace, why: BowlineError.from(error).message });
        return [];
      }
    }),
  );
  return { objects: listed.flat(), unreadable };
}

const isRedirected = ({ metadata }: KubernetesObject): boolean =>
  metadata?.annotations?.[originalAnnotation] !== undefined;

const isOurs = (object: KubernetesObject): boolean => {
  const labels = object.metadata?.labels ?? {};
  return labels[sessionLabel] !== undefined || labels[managedKey] === managedBy[managedKey] || isRedirected(object);
};

function described(kind: string, namespace: string, object: KubernetesObject): ClusterObject {
  const { name = '', labels = {}, creationTimestamp, deletionTimestamp } = object.metadata ?? {};
  return {
    kind,
    namespace,
    name,
    ...(creationTimestamp && { created: String(creationTimestamp) }),
    ...(deletionTimestamp && { deleted: String(deletionTimestamp) }),
    labels,
    ...(isRedirected(object) && { redirected: true }),
  };
}
