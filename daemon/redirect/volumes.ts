/**
 * Where the clone can mount the workload's claims: a ReadWriteOnce volume only on the node of an original
 * (https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes), a ReadWriteOncePod one nowhere.
 */
import type { V1PersistentVolumeClaim, V1PodTemplateSpec } from '@kubernetes/client-node';
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

type Claimed = Pick<Workload, 'firstPod' | 'template' | 'claimTemplates'>;

interface ClaimedVolume {
  name: string;
  claimName: string;
  /** Of a StatefulSet: each pod has its own. */
  fromTemplate: boolean;
}

export async function planClaims(cluster: Cluster, workload: Workload, options: CallOptions): Promise<ClaimPlan> {
  const found = new Map<string, V1PersistentVolumeClaim>();
  for (const { claimName } of claimedVolumes(workload)) {
    const claim = await cluster
      .find(persistentVolumeClaims, claimName, workload.namespace, options)
      .catch(() => undefined); // may not be read
    if (claim !== undefined) found.set(claimName, claim);
  }
  return claimPlan(workload, found);
}

function claimedVolumes({ firstPod, template, claimTemplates }: Claimed): ClaimedVolume[] {
  const direct = (template.spec?.volumes ?? []).flatMap(({ name, persistentVolumeClaim: claim }) =>
    claim === undefined ? [] : [{ name, claimName: claim.claimName, fromTemplate: false }],
  );
  const own = claimTemplates.map((name) => ({ name, claimName: `${name}-${firstPod}`, fromTemplate: true }));
  return [...direct, ...own];
}

/** Pure. `found`: the claims that could be read, by their names. */
export function claimPlan(workload: Claimed, found: ReadonlyMap<string, V1PersistentVolumeClaim>): ClaimPlan {
  const { template } = workload;
  const volumes = template.spec?.volumes ?? [];
  const plan: ClaimPlan = { claims: {}, sameNode: false, template, warnings: [] };
  // The clone would get new, empty ones, for which a cluster may have no room.
  const unshareable = new Set(volumes.flatMap(({ name, ephemeral }) => (ephemeral === undefined ? [] : [name])));
  for (const { name, claimName, fromTemplate } of claimedVolumes(workload)) {
    const claim = found.get(claimName);
    const modes = claim?.spec?.accessModes ?? ['ReadWriteOnce']; // not readable: assume the narrower one
    if (modes.includes('ReadWriteOncePod') || (claim === undefined && fromTemplate)) {
      unshareable.add(name);
      plan.warnings.push({
        code: 'VOLUME_NOT_SHARED',
        message: `Volume ${name} (claim ${claimName}) cannot be mounted beside the original; the agent has an empty directory there.`,
      });
      continue;
    }
    if (!modes.includes('ReadWriteMany') && !modes.includes('ReadOnlyMany')) plan.sameNode = true;
    if (fromTemplate) plan.claims[name] = claimName;
  }
  if (unshareable.size === 0) return plan;
  const others = volumes.filter((volume) => !unshareable.has(volume.name));
  const empty = [...unshareable].map((name) => ({ name, emptyDir: {} }));
  return { ...plan, template: { ...template, spec: { ...template.spec!, volumes: [...others, ...empty] } } };
}
