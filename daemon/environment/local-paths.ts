/** Variables that hold a path of the container at which one of its volumes is mounted: the same file lies elsewhere here. */

/** The files of a connection, as far as paths are concerned. */
export interface LocalFiles {
  /** Its `root` mirrors the paths of the container. */
  folder: string;
  mounts: Array<LocalCopy & LocalMount & { subPath?: string | undefined }>;
  /** Copies of what the environment file names of a volume by itself. */
  parts?: Array<LocalCopy & { path: string; local: string }> | undefined;
}

interface LocalCopy {
  volume: string;
  state: string;
  files?: number | undefined;
  reason?: string | undefined;
}

/** It has no copy here, and gets none. */
export const hasNoCopy = ({ state }: { state: string }): boolean =>
  state === 'skipped' || state === 'unavailable' || state === 'failed';

export interface LocalMount {
  mountPath: string;
  /** Absolute path of the copy on this machine. */
  local: string;
}

/** The value for this machine, or `undefined` where it is not a path at or below one of the mounts. */
export function localPath(value: string, mounts: readonly LocalMount[]): string | undefined {
  if (!value.startsWith('/') || /[\0\n]|\/\.\.(\/|$)/.test(value)) return undefined;
  const [mount] = mounts
    .filter(({ mountPath }) => isWithin(value, trimmed(mountPath)))
    .sort((a, b) => b.mountPath.length - a.mountPath.length);
  return mount === undefined ? undefined : mount.local + value.slice(trimmed(mount.mountPath).length);
}

const trimmed = (path: string): string => path.replace(/\/+$/, '');

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}
