/**
 * Where the clone can mount the workload's claims: a ReadWriteOnce volume only on the node of an original
 * (https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes), a ReadWriteOncePod one nowhere.
 */
import type { V1PodTemplateSpec } from '@kubernetes/client-node';
import type { Warning } from '../../api/schema.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { persistentVolumeClaims } from '../cluster/resources.ts';
import type { Workload } from './workload.ts';

export interface ClaimPlan {
  /** volumeClaimTemplate -> the claim of ordinal 0. */
  claims: Record<string, string>;
  /** Some claim can only be mounted where an original runs. */
  sameNode: boolean;
  /** The template with claims that cannot be shared replaced by empty directories. */
  template: V1PodTemplateSpec;
  warnings: Warning[];
}

export async function planClaims(cluster: Cluster, workload: Workload, options: CallOptions): Promise<ClaimPlan> {
  const { template, namespace } = workload;
  const volumes = template.spec?.volumes ?? [];
  const fromTemplates = workload.claimTemplates.map((name) => ({ name, claimName: `${name}-${workload.name}-0` }));
  const direct = volumes.flatMap((volume) =>
    volume.persistentVolumeClaim === undefined
      ? []
      : [{ name: volume.name, claimName: volume.persistentVolumeClaim.claimName }],
  );
  const plan: ClaimPlan = { claims: {}, sameNode: false, template, warnings: [] };
  const unshareable = new Set<string>();
  for (const { name, claimName } of [...direct, ...fromTemplates]) {
    const claim = await cluster.find(persistentVolumeClaims, claimName, namespace, options).catch(() => undefined);
    const modes = claim?.spec?.accessModes ?? ['ReadWriteOnce']; // not readable: assume the narrower one
    if (
      modes.includes('ReadWriteOncePod') ||
      (claim === undefined && fromTemplates.some((each) => each.name === name))
    ) {
      unshareable.add(name);
      plan.warnings.push({
        code: 'VOLUME_NOT_SHARED',
        message: `Volume ${name} (claim ${claimName}) cannot be mounted beside the original; the agent has an empty directory there.`,
      });
      continue;
    }
    if (!modes.includes('ReadWriteMany') && !modes.includes('ReadOnlyMany')) plan.sameNode = true;
    if (fromTemplates.some((each) => each.name === name)) plan.claims[name] = claimName;
  }
  if (unshareable.size === 0) return plan;
  const others = volumes.filter((volume) => !unshareable.has(volume.name));
  const empty = [...unshareable].map((name) => ({ name, emptyDir: {} }));
  return { ...plan, template: { ...template, spec: { ...template.spec!, volumes: [...others, ...empty] } } };
}
