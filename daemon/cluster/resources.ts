/** The Kubernetes resources that Bowline touches. `plural` is the path segment; namespaced unless said otherwise. */
import type {
  KubernetesObject,
  V1ConfigMap,
  V1DaemonSet,
  V1Deployment,
  CoreV1Event,
  V1Lease,
  V1Namespace,
  V1Pod,
  V1ReplicaSet,
  V1Role,
  V1RoleBinding,
  V1Secret,
  V1Service,
  V1ServiceAccount,
  V1StatefulSet,
  V1EndpointSlice,
  V1HorizontalPodAutoscaler,
  V1NetworkPolicy,
  V1Node,
  V1PersistentVolumeClaim,
  V1ResourceQuota,
} from '@kubernetes/client-node';

export interface Resource<T extends KubernetesObject> {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Only for inference; never set. */
  readonly __object?: T;
}

const resource = <T extends KubernetesObject>(
  group: string,
  version: string,
  plural: string,
  kind: string,
  namespaced = true,
): Resource<T> => ({
  group,
  version,
  plural,
  kind,
  namespaced,
});

export const pods = resource<V1Pod>('', 'v1', 'pods', 'Pod');
export const services = resource<V1Service>('', 'v1', 'services', 'Service');
export const configMaps = resource<V1ConfigMap>('', 'v1', 'configmaps', 'ConfigMap');
export const secrets = resource<V1Secret>('', 'v1', 'secrets', 'Secret');
export const events = resource<CoreV1Event>('', 'v1', 'events', 'Event');
export const namespaces = resource<V1Namespace>('', 'v1', 'namespaces', 'Namespace', false);
export const deployments = resource<V1Deployment>('apps', 'v1', 'deployments', 'Deployment');
export const statefulSets = resource<V1StatefulSet>('apps', 'v1', 'statefulsets', 'StatefulSet');
export const daemonSets = resource<V1DaemonSet>('apps', 'v1', 'daemonsets', 'DaemonSet');
export const replicaSets = resource<V1ReplicaSet>('apps', 'v1', 'replicasets', 'ReplicaSet');
export const leases = resource<V1Lease>('coordination.k8s.io', 'v1', 'leases', 'Lease');
export const endpointSlices = resource<V1EndpointSlice>('discovery.k8s.io', 'v1', 'endpointslices', 'EndpointSlice');
export const horizontalPodAutoscalers = resource<V1HorizontalPodAutoscaler>(
  'autoscaling',
  'v2',
  'horizontalpodautoscalers',
  'HorizontalPodAutoscaler',
);
export const serviceAccounts = resource<V1ServiceAccount>('', 'v1', 'serviceaccounts', 'ServiceAccount');
export const roles = resource<V1Role>('rbac.authorization.k8s.io', 'v1', 'roles', 'Role');
export const roleBindings = resource<V1RoleBinding>('rbac.authorization.k8s.io', 'v1', 'rolebindings', 'RoleBinding');
export const persistentVolumeClaims = resource<V1PersistentVolumeClaim>(
  '',
  'v1',
  'persistentvolumeclaims',
  'PersistentVolumeClaim',
);
export const nodes = resource<V1Node>('', 'v1', 'nodes', 'Node', false);
export const resourceQuotas = resource<V1ResourceQuota>('', 'v1', 'resourcequotas', 'ResourceQuota');
export const networkPolicies = resource<V1NetworkPolicy>('networking.k8s.io', 'v1', 'networkpolicies', 'NetworkPolicy');
