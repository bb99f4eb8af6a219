/** Files that kubelet writes differently for each pod: the clone cannot have the original's. Pure. */
import { join } from 'node:path/posix';
import type { V1Container, V1Pod, V1Volume } from '@kubernetes/client-node';

/** Absolute path in the container -> what is in it. */
export function perPodFiles(pod: V1Pod, container: V1Container): Map<string, string> {
  const found = new Map<string, string>();
  for (const { name, mountPath, subPath } of container.volumeMounts ?? []) {
    const volume = pod.spec?.volumes?.find((each) => each.name === name);
    for (const [path, what] of volume === undefined ? [] : writtenFor(volume)) {
      if (subPath === undefined || subPath === '') found.set(join(mountPath, path), what);
      else if (path === subPath) found.set(join(mountPath), what);
      else if (path.startsWith(`${subPath}/`)) found.set(join(mountPath, path.slice(subPath.length)), what);
    }
  }
  return found;
}

const token = 'a token of its own, for the same service account and audience';
const field = 'a field of the pod, and kubelet writes it for the pod of the agent';

function writtenFor({ projected, downwardAPI }: V1Volume): Array<[path: string, what: string]> {
  const tokens = (projected?.sources ?? []).flatMap(({ serviceAccountToken }) => serviceAccountToken?.path ?? []);
  const fields = [downwardAPI, ...(projected?.sources ?? []).map((source) => source.downwardAPI)]
    .flatMap((source) => source?.items ?? [])
    .filter(({ fieldRef }) => fieldRef?.fieldPath !== 'metadata.namespace')
    .map(({ path }) => path);
  return [
    ...tokens.map((path) => [path, token] as [string, string]),
    ...fields.map((path) => [path, field] as [string, string]),
  ];
}
