/**
 * A private view of this machine's disk: everything is there, everything may be written, and what is written lies in
 * memory and goes with the last process that sees it. Nodes and developer machines of the tests live in one each, so
 * nothing they leave in /etc, /run, /var or /tmp can reach the real one.
 */

export interface SharedFolder {
  folder: string;
  /** Where it is seen; default the same path. */
  at?: string;
  readOnly?: boolean;
}

export interface DiskOptions {
  /** An empty folder to mount on. */
  mountPoint: string;
  /** Folders of the real disk that are to be seen as they are at each moment. */
  shared: SharedFolder[];
  /** In a new process namespace: /proc shows that one. */
  ownProc: boolean;
}

/** Shell text for a process in a mount namespace of its own (`unshare --mount --propagation slave`). */
export function privateDisk(options: DiskOptions): string {
  const base = quote(options.mountPoint);
  const root = quote(`${options.mountPoint}/root`);
  const bind = ({ folder, at, readOnly }: SharedFolder): string[] => {
    const target = quote(`${options.mountPoint}/root${at ?? folder}`);
    const mounted = [`mkdir -p ${target}`, `mount --bind ${quote(folder)} ${target}`];
    return readOnly === true ? [...mounted, `mount -o remount,bind,ro ${target}`] : mounted;
  };
  return [
    'set -e',
    `mount -t tmpfs -o mode=755 bowline ${base}`,
    `mkdir ${base}/upper ${base}/work ${root}`,
    `mount -t overlay -o lowerdir=/,upperdir=${base}/upper,workdir=${base}/work bowline ${root}`,
    options.ownProc ? `mount -t proc proc ${root}/proc` : `mount --rbind /proc ${root}/proc`,
    `mount --rbind /sys ${root}/sys`,
    `mount --rbind /dev ${root}/dev`,
    `mount -t tmpfs -o mode=755 bowline ${root}/run`,
    `mount -t tmpfs -o mode=1777 bowline ${root}/tmp`,
    ...options.shared.flatMap(bind),
    `cd ${root}`,
    'pivot_root . .',
    'umount -l .',
    'cd /',
  ].join('\n');
}

export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
