/** `bowline list`: everybody's redirects, as the Leases in the cluster say. */
import type { Connection, Redirect, RedirectsRequest } from '../../api/schema.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { leases } from '../cluster/resources.ts';
import { describeHolder } from '../redirect/holder.ts';

/** Without a namespace: of the context's own and of those in which this machine is connected. */
export async function listRedirects(
  cluster: Cluster,
  request: RedirectsRequest,
  connections: Connection[],
  signal: AbortSignal,
): Promise<Redirect[]> {
  const call: CallOptions = { signal };
  const own = connections.filter(({ context, server }) => context === cluster.context && server === cluster.server);
  const namespaces = request.allNamespaces
    ? [undefined]
    : request.namespace === undefined
      ? [...new Set([cluster.defaultNamespace, ...own.map(({ namespace }) => namespace)])]
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
