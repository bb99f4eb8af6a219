/**
 * The face of a volume that kubelet writes (ConfigMap, Secret, projected): a folder of links through `..data`, as a
 * container sees it, so that programs which watch for kubelet's switch see one. The links lead to the volume as the
 * daemon keeps it, so new content is there at once, whether or not anybody renews the face.
 * https://pkg.go.dev/k8s.io/kubernetes/pkg/volume/util#AtomicWriter
 */
import { lstat, mkdir, readdir, realpath, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';

export interface VolumeFace {
  /** The folder, as this process can write it. */
  face: string;
  /** The volume as this process sees it; it changes by becoming a link to another folder. */
  volume: string;
  /** The same as the namespace sees it. */
  seenAs: string;
  /** The content that the links were made for. */
  version: string;
}

export async function makeFace(face: Omit<VolumeFace, 'version'>): Promise<VolumeFace> {
  await mkdir(face.face, { mode: 0o755 });
  const made = { ...face, version: '' };
  await renewFace(made);
  return made;
}

/** After a switch: links for what is new, none for what is gone, and `..data` renamed into place, which is what watchers wait for. */
export async function renewFace(it: VolumeFace): Promise<void> {
  const version = await realpath(it.volume);
  if (version === it.version) return;
  const next = join(it.face, '..data_tmp');
  await rm(next, { force: true });
  await symlink(it.seenAs, next);
  await rename(next, join(it.face, '..data'));
  const names = (await readdir(version)).filter((name) => !name.startsWith('..'));
  for (const name of await readdir(it.face)) {
    if (name.startsWith('..') || names.includes(name)) continue;
    const path = join(it.face, name);
    // A folder is the mount point of a volume inside this one.
    if ((await lstat(path)).isSymbolicLink()) await rm(path);
  }
  for (const name of names) {
    await symlink(join('..data', name), join(it.face, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
  it.version = version;
}
