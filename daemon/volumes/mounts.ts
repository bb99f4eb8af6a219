/** What the container has mounted, and where each content can be read. Pure. */
import { createHash } from 'node:crypto';
import type { V1Pod, V1Volume, V1VolumeMount } from '@kubernetes/client-node';
import { hasFieldFiles } from './field-files.ts';

export interface PlannedMount {
  volume: string;
  /** As the original has it: the clone has an empty folder where it cannot have the volume. */
  kind: string;
  mountPath: string;
  subPath?: string;
  readOnly: boolean;
  /** Name of the copy; mounts of the same content share one. */
  entry: string;
}

export interface PlannedCopy {
  entry: string;
  /** Where the agent has it. */
  mountPath: string;
  mounts: PlannedMount[];
  /** original: the clone's own is empty, or another node's. */
  from: 'agent' | 'original';
  /** Folders in it where another volume is mounted, relative. */
  except: string[];
  /** A copy of its own of this path or pattern of the volume; it stands at no path of the container. */
  part?: string;
}

/** A path of a volume, or a pattern (`*`) of paths, that is wanted by itself. */
export interface VolumePart {
  volume: string;
  path: string;
}

/** A container of an original that has the same content mounted. */
export interface OriginalPlace {
  container: string;
  mountPath: string;
}

/** `agent` as the cluster has it: with the token's volume, which admission has added. */
export function planCopies(agent: V1Pod, container: string, original: V1Pod | undefined): PlannedCopy[] {
  const mounts = mountsOf(agent, container).filter(({ name }) => !name.startsWith('bowline-'));
  const paths = mountsOf(agent, container).map(({ mountPath }) => trimmed(mountPath));
  const copies = new Map<string, PlannedCopy>();
  for (const [index, mount] of mounts.entries()) {
    const own = volumeOf(agent, mount.name);
    const subPath = subPathOf(mount);
    const entry = subPath === undefined ? entryOf(mount.name) : `${mount.name}.${index}`;
    const mountPath = trimmed(mount.mountPath);
    const volume = volumeOf(original, mount.name) ?? own;
    const planned: PlannedMount = {
      volume: mount.name,
      kind: kindOf(volume),
      mountPath,
      readOnly: isReadOnly(mount, volume),
      ...(subPath === undefined ? {} : { subPath }),
      entry,
    };
    const copy = copies.get(entry) ?? {
      entry,
      mountPath,
      mounts: [],
      from: isElsewhere(own, agent, original) ? ('original' as const) : ('agent' as const),
      except: [],
    };
    copy.mounts.push(planned);
    copy.except.push(
      ...paths.filter((path) => path.startsWith(`${mountPath}/`)).map((path) => path.slice(mountPath.length + 1)),
    );
    copies.set(entry, copy);
  }
  return [...copies.values()];
}

/**
 * Admission gives the token's volume another name in each pod. Its copy keeps one, so that what leads to it is right also
 * after the agent was replaced. No volume can have this name.
 */
const entryOf = (volume: string): string => volume.replace(/^kube-api-access-[a-z0-9]{5}$/, 'kube-api-access.token');

/** Each wanted part of what is mounted, once. */
export function planParts(copies: readonly PlannedCopy[], parts: readonly VolumePart[]): PlannedCopy[] {
  const planned = parts.flatMap(({ volume, path }) => {
    const copy = copyOf(copies, volume);
    if (copy === undefined) return [];
    const hash = createHash('sha256').update(path).digest('hex').slice(0, 12);
    return [{ ...copy, entry: `${copy.entry}.part-${hash}`, mounts: copy.mounts.slice(0, 1), part: path }];
  });
  return [...new Map(planned.map((copy) => [copy.entry, copy])).values()];
}

/** Where parts of it are mounted, the whole is the better one. */
function copyOf(copies: readonly PlannedCopy[], volume: string): PlannedCopy | undefined {
  const all = copies.filter(({ mounts }) => mounts.some((mount) => mount.volume === volume));
  return all.find(({ mounts }) => mounts.some(({ subPath }) => subPath === undefined)) ?? all[0];
}

/** Does the clone have another content than the originals? Then, and to say what a volume is, an original is looked at. */
export const needsOriginal = (agent: V1Pod): boolean =>
  hasFieldFiles(agent) ||
  (agent.spec?.volumes ?? []).some((volume) => volume.emptyDir !== undefined || volume.hostPath !== undefined);

/** The container itself first. */
export function placesInOriginal(
  original: V1Pod,
  container: string,
  { volume, mountPath, subPath }: PlannedMount,
): OriginalPlace[] {
  // The agent has a folder of its name where this one says an expression.
  const own = mountsOf(original, container).find(
    (mount) => mount.name === volume && trimmed(mount.mountPath) === mountPath,
  );
  const wanted = own === undefined ? subPath : subPathOf(own);
  const all = (original.spec?.containers ?? []).map(({ name }) => name);
  return [container, ...all.filter((name) => name !== container)].flatMap((name) =>
    mountsOf(original, name)
      .filter((mount) => mount.name === volume && subPathOf(mount) === wanted)
      .map(({ mountPath }) => ({ container: name, mountPath: trimmed(mountPath) })),
  );
}

function isElsewhere(own: V1Volume | undefined, agent: V1Pod, original: V1Pod | undefined): boolean {
  if (own?.emptyDir !== undefined) return true;
  return own?.hostPath !== undefined && original !== undefined && original.spec?.nodeName !== agent.spec?.nodeName;
}

/** kubelet mounts what it writes itself read-only, whatever the mount says. */
function isReadOnly(mount: V1VolumeMount, volume: V1Volume | undefined): boolean {
  const { configMap, secret, projected, downwardAPI, persistentVolumeClaim, csi } = volume ?? {};
  const written = configMap ?? secret ?? projected ?? downwardAPI;
  return mount.readOnly === true || written !== undefined || (persistentVolumeClaim ?? csi)?.readOnly === true;
}

const mountsOf = (pod: V1Pod, container: string): V1VolumeMount[] =>
  pod.spec?.containers.find(({ name }) => name === container)?.volumeMounts ?? [];

const subPathOf = ({ subPath, subPathExpr }: V1VolumeMount): string | undefined => subPath ?? subPathExpr;

const volumeOf = (pod: V1Pod | undefined, name: string): V1Volume | undefined =>
  pod?.spec?.volumes?.find((volume) => volume.name === name);

const kindOf = (volume: V1Volume | undefined): string =>
  Object.entries(volume ?? {}).find(([key, value]) => key !== 'name' && value !== undefined)?.[0] ?? 'unknown';

const trimmed = (path: string): string => path.replace(/\/+$/, '');
