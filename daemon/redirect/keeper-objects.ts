/**
 * The objects of a keeper, in a namespace or for the whole cluster. The ServiceAccount is the root: it owns the others, and
 * is itself owned by the sessions of the namespace, so that the keeper goes with the last of them.
 */
import type {
  KubernetesObject,
  V1ConfigMap,
  V1Deployment,
  V1LocalObjectReference,
  V1ObjectMeta,
  V1OwnerReference,
  V1PolicyRule,
} from '@kubernetes/client-node';
import { keeperCommand, keeperFolder } from '../../keeper/contract.ts';
import { leaveLostNode } from './lost-node.ts';
import { keeperConfigMapName, keeperLabel, keeperName, managedBy } from './objects.ts';

/** Everything that a keeper does, and nothing else: a test compares it with what a keeper asked for. */
export const keeperRules: V1PolicyRule[] = [
  // Who is there; to be the holder of what lapsed; the end of a session: with the last of Lease and map the garbage collector takes the rest.
  { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['get', 'list', 'watch', 'patch', 'delete'] },
  // Selectors.
  { apiGroups: [''], resources: ['services'], verbs: ['get', 'list', 'patch'] },
  // Replica counts.
  { apiGroups: ['apps'], resources: ['deployments', 'statefulsets', 'replicasets'], verbs: ['get', 'patch'] },
  // What a session's record map says, and its end, also of one without a Lease; bare pods, from the manifest that was kept.
  { apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list', 'delete'] },
  { apiGroups: [''], resources: ['pods'], verbs: ['get', 'create', 'patch'] },
];

export interface KeeperCode {
  code: string;
  hash: string;
}

export interface KeeperOptions {
  namespace: string;
  scope: 'namespace' | 'cluster';
  image: string;
  imagePullSecrets?: V1LocalObjectReference[];
  code: KeeperCode;
}

export interface KeeperObjects {
  /** In the order in which they are made. */
  access: KubernetesObject[];
  code: V1ConfigMap;
  deployment: V1Deployment;
}

export const keeperAccount = (namespace: string, owners: V1OwnerReference[] = []): KubernetesObject => ({
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: {
    name: keeperName,
    namespace,
    labels: { ...managedBy },
    ...(owners.length === 0 ? {} : { ownerReferences: owners }),
  },
});

/** `owner`: the ServiceAccount, where the objects shall go with it. */
export function keeperObjects(options: KeeperOptions, owner?: V1OwnerReference): KeeperObjects {
  const { namespace, scope, code } = options;
  const named = (name: string): V1ObjectMeta => ({
    name,
    namespace,
    labels: { ...managedBy },
    ...(owner === undefined ? {} : { ownerReferences: [owner] }),
  });
  const wide = scope === 'cluster';
  const group = 'rbac.authorization.k8s.io';
  const { namespace: _namespace, ...clusterWide } = named(keeperName);
  const metadata = wide ? clusterWide : named(keeperName);
  const access = [
    { apiVersion: `${group}/v1`, kind: wide ? 'ClusterRole' : 'Role', metadata, rules: keeperRules },
    {
      apiVersion: `${group}/v1`,
      kind: wide ? 'ClusterRoleBinding' : 'RoleBinding',
      metadata,
      roleRef: { apiGroup: group, kind: wide ? 'ClusterRole' : 'Role', name: keeperName },
      subjects: [{ kind: 'ServiceAccount', name: keeperName, namespace }],
    },
  ];
  return {
    access,
    code: {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: named(keeperConfigMapName(code.hash)),
      immutable: true,
      data: { 'keeper.mjs': code.code },
    },
    deployment: keeperDeployment(named(keeperName), options),
  };
}

function keeperDeployment(metadata: V1ObjectMeta, options: KeeperOptions): V1Deployment {
  const { scope, image, imagePullSecrets, code } = options;
  const labels = { [keeperLabel]: scope };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata,
    spec: {
      replicas: 1,
      // Two at once would do no harm, but there is no use in it.
      strategy: { type: 'Recreate' },
      selector: { matchLabels: labels },
      template: {
        metadata: { labels: { ...managedBy, ...labels } },
        spec: {
          serviceAccountName: keeperName,
          enableServiceLinks: false,
          terminationGracePeriodSeconds: 1,
          ...(imagePullSecrets === undefined ? {} : { imagePullSecrets }),
          securityContext: {
            runAsNonRoot: true,
            runAsUser: 65532,
            runAsGroup: 65532,
            seccompProfile: { type: 'RuntimeDefault' },
          },
          tolerations: leaveLostNode,
          containers: [
            {
              name: 'keeper',
              image,
              imagePullPolicy: 'IfNotPresent',
              command: keeperCommand,
              env: [
                { name: 'BOWLINE_KEEPER_SCOPE', value: scope },
                { name: 'BOWLINE_KEEPER_NAMESPACE', valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } },
              ],
              resources: {
                // It sleeps; but on a node that is full it must not be the last to be served.
                requests: { cpu: '50m', memory: '64Mi' },
                limits: { cpu: '500m', memory: '192Mi' },
              },
              securityContext: {
                allowPrivilegeEscalation: false,
                readOnlyRootFilesystem: true,
                capabilities: { drop: ['ALL'] },
              },
              terminationMessagePolicy: 'FallbackToLogsOnError',
              volumeMounts: [{ name: 'code', mountPath: keeperFolder, readOnly: true }],
            },
          ],
          volumes: [{ name: 'code', configMap: { name: keeperConfigMapName(code.hash) } }],
        },
      },
    },
  };
}
