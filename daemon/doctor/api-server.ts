/** Whether the chosen cluster answers, how fast, and whether the caller may do there what a connection needs. */
import { BowlineError } from '../../api/errors.ts';
import type { DoctorCheck } from '../../api/schema.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { ConnectionsOptions } from '../connections/start.ts';
import { checkRights } from '../redirect/rights.ts';
import type { DoctorProbe } from '../server/handlers.ts';

export function apiServerProbe(openCluster: ConnectionsOptions['openCluster']): DoctorProbe {
  return async ({ kubeconfig, context, namespace }, signal) => {
    try {
      const cluster = await openCluster({ kubeconfig, context }, signal);
      try {
        return [await version(cluster, signal), await rights(cluster, namespace ?? cluster.defaultNamespace, signal)];
      } finally {
        await cluster.close();
      }
    } catch (error) {
      return [failure('api-server', error)];
    }
  };
}

async function version(cluster: Cluster, signal: AbortSignal): Promise<DoctorCheck> {
  // The first call pays for TLS and credentials; the second is what each call costs.
  await cluster.version({ signal });
  const began = performance.now();
  const found = await cluster.version({ signal });
  const took = Math.round(performance.now() - began);
  const message = `${cluster.server} (context ${cluster.context}) answers in ${took} ms, Kubernetes ${found}.`;
  return { check: 'api-server', state: 'ok', message };
}

async function rights(cluster: Cluster, namespace: string, signal: AbortSignal): Promise<DoctorCheck> {
  try {
    await checkRights(cluster, namespace, { kind: 'Deployment' }, { signal });
    return { check: 'rights', state: 'ok', message: `You may connect to workloads of namespace ${namespace}.` };
  } catch (error) {
    return failure('rights', error);
  }
}

function failure(check: string, thrown: unknown): DoctorCheck {
  const { message, hint } = BowlineError.from(thrown);
  return { check, state: 'failure', message, ...(hint === undefined ? {} : { hint }) };
}
