/** Paths of the pod that are not put over the machine's: without what stands there the command could not run, or would lose work. */

/** What the command must still find at its place. */
export interface Kept {
  uid: number;
  /** Folders of the user, absolute, links resolved: the home, the working folder. Neither they nor a folder above them may be hidden. */
  own: readonly string[];
  /** More of that kind which are no place to write: the program's folder, the volumes themselves. */
  needed: readonly string[];
}

/** Made by the kernel; the pod's own of these make no sense here. */
const kernels = ['/proc', '/sys', '/dev'];

/** As a whole: something inside them may be mounted. */
const system = new Set(
  ['', '/etc', '/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/run', '/var', '/tmp', '/home', '/nix']
    .concat(['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libexec', 'share', 'local'].map((name) => `/usr/${name}`))
    .concat(['bin', 'sbin', 'lib'].map((name) => `/usr/local/${name}`))
    .concat(['/var/run', '/var/lib', '/var/tmp', '/run/user', '/nix/store'])
    .map((path) => path || '/'),
);

/** `path` is absolute, its links resolved as far as it exists. */
export function whyRefused(path: string, { own, needed }: Kept): string | undefined {
  const kernel = kernels.find((each) => path === each || path.startsWith(`${each}/`));
  if (kernel !== undefined) return `${kernel} is the kernel's`;
  if (system.has(path)) return `${path} is the machine's own`;
  const hidden = [...own, ...needed].find((each) => each === path || each.startsWith(`${path}/`));
  return hidden === undefined ? undefined : `it would hide ${hidden}`;
}
