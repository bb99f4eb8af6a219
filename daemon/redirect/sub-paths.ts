/**
 * `subPathExpr` of a mount (`$(POD_NAME)`), as the original has it. The clone would expand its own name, and kubelet would make
 * a folder of that name in the user's volume, which nobody takes away again. Pure.
 */
import type { V1Container, V1Pod, V1VolumeMount } from '@kubernetes/client-node';
import { referencesOf } from '../environment/expansion.ts';
import { withOriginalFields } from '../environment/field-references.ts';
import type { Workload } from './workload.ts';

/**
 * What depends on the pod is put in; the rest kubelet expands for the clone as for the original. Where no pod is, nobody has
 * such a folder: without the mount.
 */
export function withOriginalSubPaths(container: V1Container, { firstPod, pods }: Workload): V1Container {
  const { volumeMounts } = container;
  if (volumeMounts?.some(({ subPathExpr }) => subPathExpr) !== true) return container;
  // The claims of a StatefulSet are those of its first pod.
  const original = pods.find(({ metadata }) => metadata?.name === firstPod) ?? pods[0];
  return {
    ...container,
    volumeMounts: volumeMounts.flatMap((mount) => {
      if (!mount.subPathExpr) return [mount];
      return original === undefined ? [] : [expanded(mount, mount.subPathExpr, container, original)];
    }),
  };
}

function expanded(mount: V1VolumeMount, expression: string, container: V1Container, original: V1Pod): V1VolumeMount {
  const { subPathExpr: _subPathExpr, ...kept } = mount;
  // A container's runtime adds HOSTNAME; kubelet, which expands this, does not know it.
  const { HOSTNAME: _hostName, ...fields } = withOriginalFields({}, container, original).variables;
  const known = expression.replaceAll(/\$(?:\$|\(([^)]*)\))/g, (whole, reference: string | undefined) =>
    reference === undefined ? whole : (fields[reference]?.replaceAll('$', '$$$$') ?? whole),
  );
  return referencesOf(known).length > 0
    ? { ...kept, subPathExpr: known }
    : { ...kept, subPath: known.replaceAll('$$', '$') };
}
