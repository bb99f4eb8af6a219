/** `bowline list`: everybody's redirects, as the Leases in the cluster say. */
import type { Connection, Redirect, RedirectsRequest } from '../../api/schema.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { leases } from '../cluster/resources.ts';
import { describeHolder } from '../redirect/holder.ts';

/** The context's own, and those in which this machine is connected. */
export function namespacesOf(cluster: Cluster, connections: Connection[]): string[] {
  return [
    ...new Set([cluster.defaultNamespace, ...connectionsOf(cluster, connections).map(({ namespace }) => namespace)]),
  ];
}

const connectionsOf = (cluster: Cluster, connections: Connection[]): Connection[] =>
  connections.filter(({ context, server }) => context === cluster.context && server === cluster.server);

/** Without a namespace: of `namespacesOf`. */
export async function listRedirects(
  cluster: Cluster,
  request: RedirectsRequest,
  connections: Connection[],
  signal: AbortSignal,
): Promise<Redirect[]> {
  const call: CallOptions = { signal };
  const own = connectionsOf(cluster, connections);
  const namespaces = request.allNamespaces
    ? [undefined]
    : request.namespace === undefined
      ? namespacesOf(cluster, connections)
      : [request.namespace];
  const labelSelector = 'app.kubernetes.io/managed-by=bowline';
  const [now, ...found] = await Promise.all([
    cluster.serverTime(call).catch(() => undefined),
    ...namespaces.map((namespace) =>
      cluster.list(leases, { ...call, labelSelector, ...(namespace === undefined ? {} : { namespace }) }),
    ),
  ]);
  return found
    .flat()
    .map((lease) => describeHolder(lease, now))
    .filter(({ workload }) => workload !== undefined)
    .map((redirect) => {
      const connection = own.find(({ id }) => id === redirect.session)?.name;
      return { ...redirect, ...(connection === undefined ? {} : { connection }) };
    });
}
