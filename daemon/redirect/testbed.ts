/** Objects for the unit tests of this folder, as an API server gives them. */
import type { V1Container, V1PodSpec, V1Service } from '@kubernetes/client-node';
import type { Workload, WorkloadKind } from './workload.ts';

export interface WorkloadOptions {
  kind?: WorkloadKind;
  replicas?: number;
  containers?: V1Container[];
  spec?: Partial<V1PodSpec>;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  serviceName?: string;
}

export function workloadOf(options: WorkloadOptions = {}): Workload {
  const { kind = 'Deployment', replicas = 1, spec = {}, labels = { app: 'web' }, annotations } = options;
  const { containers = [{ name: 'main', ports: [{ name: 'http', containerPort: 8080 }] }] } = options;
  return {
    kind,
    name: 'web',
    namespace: 'shop',
    uid: 'uid-of-web',
    replicas,
    ...(kind === 'StatefulSet' ? { firstPod: 'web-0' } : {}),
    claimTemplates: [],
    pods: [],
    template: {
      metadata: { labels, ...(annotations === undefined ? {} : { annotations }) },
      spec: { containers, ...spec },
    },
    ...(options.serviceName === undefined ? {} : { serviceName: options.serviceName }),
    object: { metadata: { name: 'web' }, spec: { selector: { matchLabels: { app: 'web' } } } } as Workload['object'],
  };
}

export const serviceOf = (
  name: string,
  ports: NonNullable<V1Service['spec']>['ports'],
  more: Partial<V1Service['spec']> = {},
): V1Service => ({
  metadata: { name, namespace: 'shop' },
  spec: { selector: { app: 'web' }, clusterIP: '10.96.0.9', ...more, ...(ports === undefined ? {} : { ports }) },
});
