/** Hints at what leads traffic other ways than plain Services do: meshes, network policies, the cluster's own proxy. */
import type { V1Pod } from '@kubernetes/client-node';
import type { DoctorCheck } from '../../api/schema.ts';
import { daemonSets, namespaces, networkPolicies, pods } from '../cluster/resources.ts';
import { ok, warning } from './check.ts';
import type { ClusterCheck } from './cluster.ts';
import { notAllowed } from './namespace.ts';

/** Containers by which a mesh is known. */
const meshContainers: Record<string, string> = {
  'istio-proxy': 'Istio',
  'linkerd-proxy': 'Linkerd',
  'consul-dataplane': 'Consul',
  'kuma-sidecar': 'Kuma',
  'envoy-sidecar': 'Open Service Mesh',
};
/** Namespaces whose pods are redirected by the node, without a sidecar. */
const ambientLabels: Record<string, string> = { 'istio.io/dataplane-mode': 'Istio ambient' };
/** Node agents that carry Services instead of, or beside, kube-proxy. */
const carriers = ['kube-proxy', 'cilium', 'calico-node', 'kube-router', 'antrea-agent', 'ovnkube-node', 'aws-node'];

export const network: ClusterCheck = async ({ cluster, namespace, signal }) => {
  const [running, policies, nodeAgents, own] = await Promise.all([
    readable(cluster.list(pods, { namespace, signal })),
    readable(cluster.list(networkPolicies, { namespace, signal })),
    readable(cluster.list(daemonSets, { namespace: 'kube-system', signal })),
    readable(cluster.find(namespaces, namespace, undefined, { signal }).then((found) => (found ? [found] : []))),
  ]);
  const found: DoctorCheck[] = [];
  const meshes = new Set((running ?? []).flatMap(meshesOf));
  for (const [label, mesh] of Object.entries(ambientLabels))
    if (own?.[0]?.metadata?.labels?.[label] !== undefined) meshes.add(mesh);
  found.push(
    meshes.size === 0
      ? ok('mesh', `No pod of namespace ${namespace} shows a service mesh.`)
      : warning(
          'mesh',
          `Namespace ${namespace} is in a service mesh (${[...meshes].join(', ')}).`,
          'The agent gets its sidecar as any pod does; `connect` proves the way through the Service, and says when a route of the mesh leads around it.',
        ),
  );
  if (policies !== undefined && policies.length > 0)
    found.push(
      warning(
        'network-policy',
        `Namespace ${namespace} has network policies (${policies.map(({ metadata }) => metadata?.name).join(', ')}).`,
        "The agent has the workload's labels, so they hold for it as for the workload. Where they forbid the way from the API server to the pod, port-forward is used.",
      ),
    );
  const seen = (nodeAgents ?? []).map(({ metadata }) => metadata?.name ?? '').filter((name) => carriers.includes(name));
  found.push(carriedBy(nodeAgents === undefined ? undefined : seen));
  return found;
};

/** `undefined`: not to be seen. A cluster may well run what carries its Services outside of any pod, as k3s does. */
function carriedBy(seen: string[] | undefined): DoctorCheck {
  if (seen === undefined)
    return ok('services', 'You may not look into namespace kube-system, so it is not known what carries Services.');
  if (seen.length > 0) return ok('services', `Services are carried by ${seen.join(', ')}.`);
  return ok(
    'services',
    'No DaemonSet of namespace kube-system is known to carry Services; `connect` proves that they lead.',
  );
}

/** What the caller may not see is not known; every other failure is one. */
async function readable<T>(list: Promise<T[]>): Promise<T[] | undefined> {
  try {
    return await list;
  } catch (error) {
    if (notAllowed(error)) return undefined;
    throw error;
  }
}

function meshesOf({ spec }: V1Pod): string[] {
  const containers = [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])];
  return containers.flatMap(({ name }) => meshContainers[name] ?? []);
}
