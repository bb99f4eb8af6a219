/**
 * How the pod's files come to stand at their real paths in a mount namespace. Where the path exists on the machine it is
 * mounted over. Where it does not, the nearest folder above it is remade for the command: a folder in memory with
 * everything of the original bound back, and the missing path added. The machine itself is only read.
 */
import {
  access,
  constants,
  lstat,
  mkdir,
  readdir,
  readlink,
  realpath,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, isAbsolute, join, posix } from 'node:path';
import { fstabLine } from './fstab.ts';
import { whyRefused, type Kept } from './refused-paths.ts';

export interface Mount {
  /** What stands at `target`: absolute. */
  source: string;
  /** As the pod has it: absolute, from the cluster, not to be trusted. */
  target: string;
  kind: 'folder' | 'file';
  readOnly: boolean;
  /** `nosuid`, `nodev`, `noexec` of the source's file system: a read-only mount may not drop them without root. */
  flags: readonly string[];
}

export interface MountPlan {
  /** Folders of the machine that are remade, each above those inside it. */
  remade: RemadeFolder[];
  mounts: Array<Mount & { at: string }>;
  /** Mount points to be made in the source of another mount, for volumes inside volumes. */
  inside: Array<{ path: string; kind: Mount['kind'] }>;
  refused: Array<{ target: string; why: string }>;
}

interface RemadeFolder {
  path: string;
  /** Relative paths of mount points that the machine does not have. */
  added: Array<{ path: string; kind: Mount['kind'] }>;
}

/** Binding back so many entries takes about a second. */
const entriesLimit = 1_000;

export async function planMounts(mounts: Mount[], kept: Kept): Promise<MountPlan> {
  const plan: MountPlan = { remade: [], mounts: [], inside: [], refused: [] };
  const outerFirst = mounts.toSorted((a, b) => depth(a.target) - depth(b.target));
  for (const mount of outerFirst) {
    const why = await place(mount, plan, kept);
    if (why !== undefined) plan.refused.push({ target: mount.target, why });
  }
  plan.remade.sort((a, b) => depth(a.path) - depth(b.path));
  return plan;
}

/** Enters `mount` into the plan; answers with the reason when it cannot. */
async function place(mount: Mount, plan: MountPlan, kept: Kept): Promise<string | undefined> {
  const { target } = mount;
  if (!isAbsolute(target) || /\p{Cc}/u.test(target) || target.split('/').includes('..'))
    return 'it is not a plain absolute path';
  const { folder, missing } = await locate(mount);
  const at = join(folder, ...missing);
  const why = whyRefused(at, kept);
  if (why !== undefined) return why;
  if (plan.mounts.some((other) => other.at === at)) return 'another volume stands there';
  const outer = plan.mounts.findLast((other) => at.startsWith(`${other.at}/`));
  if (outer?.kind === 'file') return `${outer.target} is a file`;
  if (outer !== undefined) {
    plan.inside.push({ path: join(outer.source, posix.relative(outer.at, at)), kind: mount.kind });
  } else if (missing.length > 0) {
    const unfit = await whyNotRemade(folder, kept);
    if (unfit !== undefined) return unfit;
    let remade = plan.remade.find(({ path }) => path === folder);
    if (remade === undefined) plan.remade.push((remade = { path: folder, added: [] }));
    remade.added.push({ path: join(...missing), kind: mount.kind });
  }
  plan.mounts.push({ ...mount, at });
  return undefined;
}

/** The deepest folder of the machine on the way to the target, links followed, and the names that are missing below it. */
async function locate({ target, kind }: Mount): Promise<{ folder: string; missing: string[] }> {
  const names = target.split('/').filter((name) => name !== '' && name !== '.');
  let folder = '/';
  for (const [index, name] of names.entries()) {
    const real = await realpath(join(folder, name)).catch(() => undefined);
    const is = real === undefined ? undefined : await stat(real).catch(() => undefined);
    const isLast = index === names.length - 1;
    // Something else than is needed counts as missing: it is left out of the remade folder.
    if (real === undefined || is?.isDirectory() !== (isLast ? kind === 'folder' : true))
      return { folder, missing: names.slice(index) };
    folder = real;
  }
  return { folder, missing: [] };
}

async function whyNotRemade(folder: string, { uid, own }: Kept): Promise<string | undefined> {
  const can = (mode: number): Promise<boolean> =>
    access(folder, mode).then(
      () => true,
      () => false,
    );
  const isOwn = own.some((path) => folder === path || folder.startsWith(`${path}/`));
  // What the command makes there must stay, so such a folder is not swapped for one in memory.
  if (isOwn || (uid !== 0 && (await can(constants.W_OK))))
    return `it does not exist, and ${folder} keeps what you write there; \`mkdir -p\` its place and it is used`;
  if (!(await can(constants.X_OK))) return undefined; // closed to the user anyway: there is nothing to bind back
  if (!(await can(constants.R_OK))) return `it does not exist, and ${folder} cannot be listed`;
  const { length } = await readdir(folder);
  return length > entriesLimit ? `it does not exist, and ${folder} has too many entries (${length})` : undefined;
}

/**
 * Makes the folders of the plan in `here`, which the namespace sees as `there`, with one fstab for each remade folder
 * (`0.fstab`, ...) and one for the mounts themselves (`fstab`).
 */
export async function writePlan(plan: MountPlan, { here, there, uid }: Where): Promise<void> {
  for (const [index, { path, added }] of plan.remade.entries()) {
    const made = join(there, String(index));
    // Unbindable, or it would be bound into itself where it lies inside the folder that it stands for.
    const options = ['bind', 'unbindable', ...(uid === 0 ? [] : ['ro'])];
    const lines = [fstabLine(made, made, options)];
    await mkdir(join(here, String(index)), { mode: 0o755 });
    for (const each of added) await makeMountPoint(join(here, String(index), each.path), each.kind);
    for (const name of await readdir(path).catch(() => [])) {
      if (await copyPlace(join(path, name), join(here, String(index), name)))
        lines.push(fstabLine(join(path, name), join(made, name), ['rbind']));
    }
    await writeFile(join(here, `${index}.fstab`), lines.join(''));
  }
  const lines = plan.mounts.map(({ source, at, readOnly, flags }) =>
    fstabLine(source, at, ['bind', ...(readOnly ? ['ro', ...flags] : [])]),
  );
  await writeFile(join(here, 'fstab'), lines.join(''));
}

interface Where {
  here: string;
  there: string;
  uid: number;
}

/** True when the entry shall be bound there; a link is simply made again. Those that are there already were added. */
async function copyPlace(original: string, copy: string): Promise<boolean> {
  const is = await lstat(original).catch(() => undefined);
  if (is === undefined || (await lstat(copy).catch(() => undefined)) !== undefined) return false;
  if (is.isSymbolicLink()) {
    await symlink(await readlink(original), copy);
    return false;
  }
  await makeMountPoint(copy, is.isDirectory() ? 'folder' : 'file');
  return true;
}

export async function makeMountPoint(path: string, kind: Mount['kind']): Promise<void> {
  await mkdir(kind === 'folder' ? path : dirname(path), { recursive: true, mode: 0o755 });
  if (kind === 'file') await writeFile(path, '', { flag: 'a' });
}

function depth(path: string): number {
  return path.split('/').filter((name) => name !== '').length;
}
