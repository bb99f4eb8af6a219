/** The checks of one cluster: opened once, asked at once, and a check that fails says so without stopping the others. */
import { ConnectRequest, type Connection, type DoctorCheck, type DoctorRequest, type Plan } from '../../api/schema.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { AccessOptions } from '../cluster/open.ts';
import type { ConnectionsOptions } from '../connections/start.ts';
import type { ConnectionManager } from '../connections/manager.ts';
import type { DoctorProbe } from '../server/handlers.ts';
import { checkAccess, clock } from './access.ts';
import { failure, ok } from './check.ts';
import { podSecurity } from './namespace.ts';
import { network } from './network.ts';
import { quotas } from './quotas.ts';
import { rights } from './rights.ts';
import { checkTarget } from './target.ts';

export interface ClusterChecked {
  cluster: Cluster;
  namespace: string;
  request: DoctorRequest;
  /** The connection that the target has already. */
  held: Connection | undefined;
  /** What a connect would do; undefined where one is `held`. */
  planned: Promise<Plan> | undefined;
  /** User of this machine for whom it is asked; undefined where the system has none. */
  uid: number | undefined;
  now: () => number;
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
  uid: number | undefined;
  /** Milliseconds since 1970 by this machine's clock. */
  now?: () => number;
}

export function clusterProbe(options: ClusterProbeOptions): DoctorProbe {
  const { openCluster, manager, env, home, uid, now = Date.now } = options;
  return async (request, signal) => {
    const { kubeconfig, context } = request;
    const access = await checkAccess({ kubeconfig, context, env, home }, now());
    try {
      const cluster = await openCluster({ kubeconfig, context }, signal);
      try {
        const answering = await answers(cluster, signal);
        const namespace = request.namespace ?? cluster.defaultNamespace;
        const held = await connectionOf(manager, namespace, request.target);
        const planned = held ? undefined : manager.plan(planOf(request, namespace), signal);
        planned?.catch(() => undefined); // told by whoever awaits it
        const checked: ClusterChecked = { cluster, namespace, request, held, planned, uid, now, signal };
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

const planOf = ({ kubeconfig, context, target, agentImage }: DoctorRequest, namespace: string): ConnectRequest =>
  ConnectRequest.parse({ kubeconfig, context, namespace, target, ...(agentImage && { agentImage }) });

async function connectionOf(
  manager: ConnectionManager,
  namespace: string,
  target: string | undefined,
): Promise<Connection | undefined> {
  if (target === undefined) return undefined;
  await manager.look();
  const name = target.slice(target.indexOf('/') + 1);
  return manager
    .list()
    .find((each) => each.namespace === namespace && each.target?.name === name && each.state !== 'failed');
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
