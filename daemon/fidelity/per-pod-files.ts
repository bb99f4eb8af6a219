/** Files of which kubelet issues another one to each pod: the clone cannot have the original's. Pure. */
import type { V1Container, V1Pod } from '@kubernetes/client-node';
import { mountedFiles } from '../volumes/mounted-files.ts';

const token = 'a token of its own, for the same service account and audience';

/** Absolute path in the container -> what is in it. */
export function perPodFiles(pod: V1Pod, container: V1Container): Map<string, string> {
  return mountedFiles(pod, container, ({ projected }) =>
    (projected?.sources ?? [])
      .flatMap(({ serviceAccountToken }) => serviceAccountToken?.path ?? [])
      .map((path): [string, string] => [path, token]),
  );
}
