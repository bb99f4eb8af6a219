/**
 * Files that kubelet writes from fields of the pod and limits of its containers (downwardAPI). The agent stands in a pod of its
 * own: what kubelet wrote there is replaced by what the original has.
 * https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
 */
import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { V1DownwardAPIVolumeFile, V1Pod, V1Volume } from '@kubernetes/client-node';
import type { Cluster } from '../cluster/cluster.ts';
import { containerOf, fieldOf, resourceOf } from '../environment/field-references.ts';
import { mountedFiles } from './mounted-files.ts';
import type { Source } from './sources.ts';

export interface FieldFile {
  /** As far as the cluster tells; `undefined` where it depends on the node. */
  content: string | undefined;
  /** kubelet alone knows all of it: it adds annotations of its own, and a limit of the node where there is none. */
  ofKubelet?: true;
}

/** By absolute path in the container. */
export type FieldFiles = ReadonlyMap<string, FieldFile>;

/** Milliseconds for each question to the original. */
const patience = 10_000;

/** Whether a pod has such a file that is not the same in each pod of the namespace. */
export const hasFieldFiles = ({ spec }: V1Pod): boolean =>
  (spec?.volumes ?? []).some((volume) => itemsOf(volume).length > 0);

export function fieldFiles(pod: V1Pod, container: string): FieldFiles {
  const found = pod.spec?.containers.find(({ name }) => name === container);
  if (found === undefined) return new Map();
  return mountedFiles(pod, found, (volume) =>
    itemsOf(volume).map((item): [string, FieldFile] => {
      const content = contentOf(item, pod);
      const ofKubelet = content === undefined || item.fieldRef?.fieldPath === 'metadata.annotations';
      return [item.path, { content, ...(ofKubelet && { ofKubelet }) }];
    }),
  );
}

/** Those of `pod`, with what kubelet alone knows as its container says, where something can be run in it. */
export async function originalFieldFiles(
  cluster: Cluster,
  pod: V1Pod,
  container: string,
  signal: AbortSignal,
): Promise<FieldFiles> {
  const place = { namespace: pod.metadata?.namespace ?? '', name: pod.metadata?.name ?? '', container };
  const asked = [...fieldFiles(pod, container)].map(async ([path, file]): Promise<[string, FieldFile]> => {
    if (file.ofKubelet !== true) return [path, file];
    const read = await cluster.exec(place, ['cat', path], { signal, timeout: patience }).catch(() => undefined);
    return [path, read?.exitCode === 0 ? { content: read.stdout.toString('utf8') } : file];
  });
  const read = await Promise.all(asked);
  signal.throwIfAborted();
  return new Map(read);
}

const itemsOf = ({ downwardAPI, projected }: V1Volume): V1DownwardAPIVolumeFile[] =>
  [downwardAPI, ...(projected?.sources ?? []).map((source) => source.downwardAPI)]
    .flatMap((source) => source?.items ?? [])
    .filter(({ fieldRef }) => fieldRef?.fieldPath !== 'metadata.namespace');

function contentOf({ fieldRef, resourceFieldRef }: V1DownwardAPIVolumeFile, pod: V1Pod): string | undefined {
  if (fieldRef !== undefined) return fieldOf(pod, fieldRef.fieldPath);
  return resourceFieldRef && resourceOf(resourceFieldRef, containerOf(pod, resourceFieldRef.containerName));
}

/** What a source brings of the volume at `mountPath`, with these files in the place of its own. */
export function withFieldFiles(source: Source, mountPath: string, files: FieldFiles): Source {
  return {
    size: (signal) => source.size(signal),
    open: (signal) => source.open(signal),
    async complete(into) {
      const unknown: string[] = [];
      for (const [path, { content }] of files) {
        const file = await fileIn(into, mountPath, path);
        if (file === undefined) continue;
        if (content === undefined) unknown.push(path);
        else await writeFile(file, content);
      }
      if (unknown.length === 0) return undefined;
      return `${unknown.join(', ')}: as in the pod of the agent, because it depends on the node`;
    },
  };
}

/** `undefined` where it has not come. */
async function fileIn(into: string, mountPath: string, path: string): Promise<string | undefined> {
  // The only file of a mount has the name that it has in the volume.
  const name = path === mountPath ? (await readdir(into))[0] : within(mountPath, path);
  if (name === undefined) return undefined;
  const found = await stat(join(into, name)).catch(() => undefined);
  return found?.isFile() === true ? join(into, name) : undefined;
}

const within = (folder: string, path: string): string | undefined =>
  path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : undefined;
