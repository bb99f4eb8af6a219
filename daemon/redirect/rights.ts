/** What a connection needs to be allowed, asked before anything is touched, and the one error that lists all that is missing. */
import { BowlineError } from '../../api/errors.ts';
import type { CallOptions, Cluster, Right } from '../cluster/cluster.ts';
import type { WorkloadKind } from './workload.ts';

const of = (group: string, resource: string, ...verbs: string[]): Right[] =>
  verbs.map((verb) => {
    const [name = '', subresource] = resource.split('/');
    return { verb, group, resource: name, ...(subresource === undefined ? {} : { subresource }) };
  });

const connectRights: Right[] = [
  ...of('coordination.k8s.io', 'leases', 'create', 'get', 'list', 'watch', 'patch', 'delete'),
  ...of('', 'configmaps', 'create', 'get', 'list', 'patch', 'delete'),
  ...of('', 'secrets', 'create', 'delete'),
  ...of('apps', 'replicasets', 'create', 'get', 'list', 'watch', 'delete'),
  ...of('', 'pods', 'get', 'list', 'watch', 'delete'),
  ...of('', 'services', 'get', 'list', 'watch'),
  ...of('discovery.k8s.io', 'endpointslices', 'list', 'watch'),
];

const plurals: Record<WorkloadKind, [group: string, plural: string]> = {
  Deployment: ['apps', 'deployments'],
  StatefulSet: ['apps', 'statefulsets'],
  DaemonSet: ['apps', 'daemonsets'],
  ReplicaSet: ['apps', 'replicasets'],
  Pod: ['', 'pods'],
};

/** Kinds that a target may turn out to be: a Service or a bare name leads to any, a ReplicaSet or Pod to its owner. */
function kindsBehind(kind: WorkloadKind | 'Service' | undefined): WorkloadKind[] {
  if (kind === 'Deployment' || kind === 'StatefulSet' || kind === 'DaemonSet') return [kind];
  if (kind === 'ReplicaSet') return ['ReplicaSet', 'Deployment'];
  return ['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'Pod'];
}

/** One of them is enough. A WebSocket is a GET, for which the API server wants `get`, and since Kubernetes 1.35 `create` as well. */
const waysToAgent = [of('', 'pods/proxy', 'get'), of('', 'pods/portforward', 'get', 'create')];

/** Asked with what the command line says alone, so that reading the target is not the first thing to be refused. */
export async function checkRights(
  cluster: Cluster,
  namespace: string,
  target: { kind: WorkloadKind | 'Service' | undefined; redirect?: boolean } | undefined,
  options: CallOptions,
): Promise<void> {
  const forTarget =
    target === undefined
      ? []
      : [
          ...of('', 'services', 'create', 'delete', ...(target.redirect === false ? [] : ['patch'])),
          ...kindsBehind(target.kind).flatMap((kind) => of(...plurals[kind], 'get')),
        ];
  const [missing, ...ways] = await Promise.all(
    [[...connectRights, ...forTarget], ...waysToAgent].map((rights) => missingOf(cluster, namespace, rights, options)),
  );
  const all = ways.every((way) => way.length > 0) ? [...(missing ?? []), ...ways.flat()] : (missing ?? []);
  if (all.length > 0) throw rightsMissing(namespace, all);
}

/** Beside those: to stop the originals (a bare pod is deleted and made again from what a ConfigMap keeps). */
export async function checkStopRights(
  cluster: Cluster,
  namespace: string,
  kind: WorkloadKind,
  options: CallOptions,
): Promise<void> {
  const wanted = kind === 'Pod' ? of('', 'pods', 'create', 'patch') : of(...plurals[kind], 'patch');
  const missing = await missingOf(cluster, namespace, wanted, options);
  if (missing.length > 0) throw rightsMissing(namespace, missing);
}

async function missingOf(cluster: Cluster, namespace: string, rights: Right[], options: CallOptions): Promise<Right[]> {
  const distinct = new Map(rights.map((right) => [JSON.stringify(right), { ...right, namespace }]));
  return cluster.missingRights([...distinct.values()], options);
}

export function rightsMissing(namespace: string, missing: Right[]): BowlineError {
  const byResource = new Map<string, string[]>();
  for (const right of missing) {
    const resource = `${right.resource}${right.subresource === undefined ? '' : `/${right.subresource}`}${right.group === '' ? '' : `.${right.group}`}`;
    byResource.set(resource, [...(byResource.get(resource) ?? []), right.verb]);
  }
  const lines = [...byResource].map(([resource, verbs]) => `${verbs.join(', ')} ${resource}`);
  return new BowlineError(
    'RIGHTS_MISSING',
    `You may not do all that this needs in namespace ${namespace}. Missing: ${lines.join('; ')}.`,
    {
      hint: 'Ask an administrator for the built-in role "edit" in the namespace, or for a Role with these rights. Nothing was changed.',
      details: {
        namespace,
        missing: missing.map(({ verb, group, resource, subresource }) => ({ verb, group, resource, subresource })),
      },
    },
  );
}
