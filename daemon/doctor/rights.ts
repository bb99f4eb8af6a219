/** What the caller may do in the namespace: names alone, a redirect, and a redirect that stops the originals. */
import type { DoctorCheck } from '../../api/schema.ts';
import { checkRights, checkStopRights } from '../redirect/rights.ts';
import { failure, ok } from './check.ts';
import type { ClusterCheck } from './cluster.ts';

export const rights: ClusterCheck = async ({ cluster, namespace, signal }) => {
  const call = { signal };
  const ask = async (check: string, what: string, asked: Promise<void>): Promise<DoctorCheck> => {
    try {
      await asked;
      return ok(check, `You may ${what} in namespace ${namespace}.`);
    } catch (error) {
      return failure(check, error);
    }
  };
  return Promise.all([
    ask('rights', 'connect and redirect workloads', checkRights(cluster, namespace, { kind: 'Deployment' }, call)),
    ask('rights-stop', 'stop originals (--stop-original)', checkStopRights(cluster, namespace, 'Deployment', call)),
  ]);
};
