/** The checks of one cluster: opened once, asked at once, and a check that fails says so without stopping the others. */
import type { DoctorCheck, DoctorRequest } from '../../api/schema.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { AccessOptions } from '../cluster/open.ts';
import type { ConnectionsOptions } from '../connections/start.ts';
import type { ConnectionManager } from '../connections/manager.ts';
import type { DoctorProbe } from '../server/handlers.ts';
import { checkAccess, clock } from './access.ts';
import { failure, ok } from './check.ts';
import { podSecurity, quotas } from './namespace.ts';
import { network } from './network.ts';
import { rights } from './rights.ts';
import { checkTarget } from './target.ts';

export interface ClusterChecked {
  cluster: Cluster;
  namespace: string;
  request: DoctorRequest;
  manager: ConnectionManager;
  signal: AbortSignal;
}

export type ClusterCheck = (checked: ClusterChecked) => Promise<DoctorCheck[]>;

const checks: Record<string, ClusterCheck> = {
  clock,
  rights,
  'pod-security': podSecurity,
  quota: quotas,
  network,
};

export interface ClusterProbeOptions extends Pick<AccessOptions, 'env' | 'home'> {
  openCluster: ConnectionsOptions['openCluster'];
  manager: ConnectionManager;
}

export function clusterProbe({ openCluster, manager, env, home }: ClusterProbeOptions): DoctorProbe {
  return async (request, signal) => {
    const { kubeconfig, context } = request;
    const access = await checkAccess({ kubeconfig, context, env, home });
    try {
      const cluster = await openCluster({ kubeconfig, context }, signal);
      try {
        const answering = await answers(cluster, signal);
        const namespace = request.namespace ?? cluster.defaultNamespace;
        const checked: ClusterChecked = { cluster, namespace, request, manager, signal };
        const found = await Promise.all(
          Object.entries(checks).map(([name, check]) =>
            check(checked).catch((error: unknown) => [failure(name, error)]),
          ),
        );
        const target = await checkTarget(checked).catch((error: unknown) => [failure('target', error)]);
        return [...access, answering, ...found.flat(), ...target];
      } finally {
        await cluster.close();
      }
    } catch (error) {
      return [...access, failure('api-server', error)];
    }
  };
}

async function answers(cluster: Cluster, signal: AbortSignal): Promise<DoctorCheck> {
  // The first call pays for TLS and credentials; the second is what each call costs.
  await cluster.version({ signal });
  const began = performance.now();
  const version = await cluster.version({ signal });
  const took = Math.round(performance.now() - began);
  return ok(
    'api-server',
    `${cluster.server} (context ${cluster.context}) answers in ${took} ms, Kubernetes ${version}.`,
  );
}
