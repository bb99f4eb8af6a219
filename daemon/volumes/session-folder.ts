/**
 * The files of one session on this machine: `volumes/ENTRY`, each a link that is renamed to the next content when it is
 * complete, as kubelet does it, so that no reader sees half of one; and `root`, which has them at the container's paths.
 * Owns everything in its folder.
 */
import { randomBytes } from 'node:crypto';
import { lstat, mkdir, mkdtemp, readdir, readlink, rename, rm, statfs, symlink } from 'node:fs/promises';
import { basename, dirname, join, posix, relative } from 'node:path';

export interface PlacedMount {
  /** Name in `volumes`. */
  entry: string;
  /** Absolute, in the container. */
  mountPath: string;
}

export class SessionFolder {
  readonly path: string;
  readonly #volumes: string;
  #mounts: readonly PlacedMount[] = [];

  private constructor(path: string) {
    this.path = path;
    this.#volumes = join(path, 'volumes');
  }

  /** Makes it, or takes up what an earlier daemon left: complete contents stay, unfinished ones go. */
  static async open(path: string): Promise<SessionFolder> {
    const folder = new SessionFolder(path);
    await mkdir(folder.#volumes, { recursive: true, mode: 0o700 });
    const links = await linksIn(folder.#volumes);
    const kept = new Set([...links.values()].map((target) => target.split('/')[0]));
    for (const name of await readdir(folder.#volumes)) {
      if (!links.has(name) && !kept.has(name)) await rm(join(folder.#volumes, name), { recursive: true, force: true });
    }
    return folder;
  }

  local(entry: string): string {
    return join(this.#volumes, entry);
  }

  async has(entry: string): Promise<boolean> {
    return (await linksIn(this.#volumes)).has(entry);
  }

  /** From now on these stand in `root`. */
  async place(mounts: readonly PlacedMount[]): Promise<void> {
    this.#mounts = mounts;
    await this.#mirror();
  }

  /** Bytes that its user can still write there. */
  async free(): Promise<number> {
    const { bavail, bsize } = await statfs(this.path);
    return bavail * bsize;
  }

  /** An empty folder beside the contents; `become` makes it one, otherwise it is the caller's to remove. */
  async begin(entry: string): Promise<string> {
    return mkdtemp(join(this.#volumes, `..${entry}.`));
  }

  /** Readers see the former content or this one. `file`: the entry is that single file of it. */
  async become(entry: string, content: string, file?: string): Promise<void> {
    const link = this.local(entry);
    const former = await readlink(link).catch(() => undefined);
    await switchLink(link, file === undefined ? basename(content) : join(basename(content), file));
    try {
      if (this.#hasOthersInside(entry)) await this.#mirror();
    } catch (error) {
      // The caller takes the content away.
      if (former === undefined) await rm(link);
      else await switchLink(link, former);
      throw error;
    }
    if (former !== undefined && former.split('/')[0] !== basename(content))
      await rm(join(this.#volumes, former.split('/')[0]!), { recursive: true, force: true });
  }

  #hasOthersInside(entry: string): boolean {
    return this.#mounts.some((each) => each.entry === entry && inside(each, this.#mounts).length > 0);
  }

  /** Links into `volumes`; where a mount has others inside, a folder of links to what is in it. */
  async #mirror(): Promise<void> {
    const next = await mkdtemp(join(this.path, '..root.'));
    try {
      await this.#fill(next);
    } catch (error) {
      await rm(next, { recursive: true, force: true });
      throw error;
    }
    const root = join(this.path, 'root');
    const former = await readlink(root).catch(() => undefined);
    await switchLink(root, basename(next));
    if (former !== undefined) await rm(join(this.path, basename(former)), { recursive: true, force: true });
  }

  async #fill(next: string): Promise<void> {
    for (const mount of this.#mounts) {
      if (inside(mount, this.#mounts).length === 0) await this.#link(next, mount.mountPath, this.local(mount.entry));
    }
    // From the innermost: what is there already hides what the outer one has under that name.
    const outer = this.#mounts.filter((mount) => inside(mount, this.#mounts).length > 0);
    for (const { entry, mountPath } of outer.sort((a, b) => b.mountPath.length - a.mountPath.length)) {
      await this.#merge(next, mountPath, this.local(entry));
    }
  }

  async #merge(root: string, mountPath: string, content: string): Promise<void> {
    for (const name of await readdir(content).catch(() => [])) {
      const path = posix.join(mountPath, name);
      const there = await lstat(join(root, path)).catch(() => undefined);
      if (there === undefined) await this.#link(root, path, join(content, name));
      else if (there.isDirectory()) await this.#merge(root, path, join(content, name));
    }
  }

  async #link(root: string, path: string, target: string): Promise<void> {
    const link = join(root, path);
    await mkdir(dirname(link), { recursive: true, mode: 0o700 });
    await symlink(relative(dirname(link), target), link);
  }
}

function inside(outer: PlacedMount, mounts: readonly PlacedMount[]): PlacedMount[] {
  const folder = `${outer.mountPath.replace(/\/+$/, '')}/`;
  return mounts.filter((mount) => mount !== outer && mount.mountPath.startsWith(folder));
}

async function linksIn(folder: string): Promise<Map<string, string>> {
  const links = new Map<string, string>();
  for (const each of await readdir(folder, { withFileTypes: true })) {
    if (each.isSymbolicLink() && !each.name.startsWith('..'))
      links.set(each.name, await readlink(join(folder, each.name)));
  }
  return links;
}

async function switchLink(link: string, target: string): Promise<void> {
  const temporary = join(dirname(link), `..${basename(link)}.${randomBytes(6).toString('hex')}.link`);
  await symlink(target, temporary);
  await rename(temporary, link);
}
