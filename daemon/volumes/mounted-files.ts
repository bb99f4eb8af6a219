/** Where the files of a pod's volumes stand in a container. Pure. */
import { join } from 'node:path/posix';
import type { V1Container, V1Pod, V1Volume } from '@kubernetes/client-node';

/** Absolute path in the container -> what `filesOf` tells of the file, whose path in the volume it gives. */
export function mountedFiles<T>(
  pod: V1Pod,
  { volumeMounts = [] }: V1Container,
  filesOf: (volume: V1Volume) => Array<[path: string, told: T]>,
): Map<string, T> {
  const found = new Map<string, T>();
  for (const { name, mountPath, subPath, subPathExpr } of volumeMounts) {
    // Which folder an expression means is not known here.
    const volume = subPathExpr ? undefined : pod.spec?.volumes?.find((each) => each.name === name);
    // A mount of the folder, of a folder in it, or of the file alone.
    for (const [path, told] of volume === undefined ? [] : filesOf(volume)) {
      if (subPath === undefined || subPath === '') found.set(join(mountPath, path), told);
      else if (path === subPath) found.set(join(mountPath), told);
      else if (path.startsWith(`${subPath}/`)) found.set(join(mountPath, path.slice(subPath.length)), told);
    }
  }
  return found;
}
