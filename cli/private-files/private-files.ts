/**
 * The pod's files and names for one command: at their real paths, in a mount namespace of its own. Owns the hosts file and
 * the faces of the volumes in there; the volumes' content is the daemon's.
 */
import { unwatchFile, watchFile } from 'node:fs';
import { lstat, mkdir, open, readFile, realpath, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { NamedService } from '../../api/schema.ts';
import { lockedFlags } from './fstab.ts';
import { hostsText } from './hosts-text.ts';
import { startNamespace } from './linux.ts';
import { makeMountPoint, planMounts, writePlan, type Mount } from './mount-plan.ts';
import { makeFace, renewFace, type VolumeFace } from './volume-face.ts';

/** A volume, or a file of one, that shall stand at a path of the pod. */
export interface PodFile {
  /** Where the daemon keeps it; a link that is switched when the content changes, or the folder or file itself. */
  local: string;
  mountPath: string;
  readOnly: boolean;
  /** kubelet switches its content: it shall look so here too. */
  switched: boolean;
}

export interface PrivateFilesOptions {
  files: readonly PodFile[];
  services: readonly NamedService[];
  /** Of the pod, for the command. */
  hostName: string | undefined;
  /** An empty folder of the user, made when missing; the namespace has its own things there. */
  folder: string;
  user: { uid: number; gid: number; home: string };
  env: Readonly<Record<string, string | undefined>>;
  cwd: string;
  /** What else must not be hidden from the command: its program. */
  needed: readonly string[];
}

export interface PrivateFiles extends Disposable {
  /** To put before the command. */
  readonly enter: readonly string[];
  /** Paths of the pod at which the machine's own stays, with the reason. */
  readonly refused: ReadonlyArray<{ target: string; why: string }>;
  /** False where the machine's host name stays though another one was wanted. */
  readonly named: boolean;
  /** Brings names and volumes up to date; resolves when it is done. */
  update(services: readonly NamedService[]): Promise<void>;
}

const machineHosts = '/etc/hosts';
/** Milliseconds between looks at the machine's hosts file, which other programs change too. */
const lookInterval = 1_000;

/** Rejects with PRIVATE_FILES_IMPOSSIBLE. */
export async function openPrivateFiles(options: PrivateFilesOptions): Promise<PrivateFiles> {
  const { user, cwd, env, hostName } = options;
  const { uid, gid } = user;
  const folder = await realFolder(options.folder);
  using undo = new DisposableStack();
  const namespace = undo.use(await startNamespace({ folder, uid, gid, hostName, env }));
  const { here } = namespace;

  const hosts = await createHosts(join(here, 'hosts'), options.services, namespace.named ? hostName : undefined);
  undo.defer(() => hosts.close());
  const { contents, faces, mounts } = await arrange(options.files, { here, there: folder });
  mounts.push({ source: join(folder, 'hosts'), target: machineHosts, kind: 'file', readOnly: true, flags: [] });
  const plan = await planMounts(mounts, {
    uid,
    own: await Promise.all([user.home, cwd].map(real)),
    needed: [folder, ...(await Promise.all([...options.needed, ...contents.map(({ source }) => source)].map(real)))],
  });
  for (const { path, kind } of plan.inside) await makeMountPoint(path.replace(folder, here), kind);
  await writePlan({ ...plan, mounts: [...contents, ...plan.mounts] }, { here, there: folder, uid });
  await namespace.mount(plan.remade.map(({ path }) => path));

  const kept = undo.move();
  let updated = Promise.resolve();
  return {
    enter: namespace.enter(cwd),
    refused: plan.refused,
    named: namespace.named,
    update(services) {
      updated = updated.then(async () => {
        await hosts.write(services);
        for (const face of faces) await renewFace(face).catch(() => undefined); // a volume that is just going
      });
      return updated;
    },
    [Symbol.dispose]: () => kept.dispose(),
  };
}

/** From where each file of the pod is mounted. What is switched gets a face, and its content is seen through a read-only mount. */
async function arrange(files: readonly PodFile[], { here, there }: { here: string; there: string }) {
  const mountinfo = await readFile('/proc/self/mountinfo', 'utf8');
  const contents: Array<Mount & { at: string }> = [];
  const faces: VolumeFace[] = [];
  const mounts: Mount[] = [];
  for (const name of ['faces', 'content']) await mkdir(join(here, name));
  for (const { local, mountPath: target, readOnly, switched } of files) {
    const path = await realpath(local);
    const kind = (await stat(path)).isDirectory() ? 'folder' : 'file';
    if (!switched || kind === 'file' || !(await lstat(local)).isSymbolicLink()) {
      // A single file does not follow the volume in the pod either.
      mounts.push({ source: path, target, kind, readOnly, flags: lockedFlags(path, mountinfo) });
      continue;
    }
    const source = await realpath(dirname(local));
    let content = contents.find((each) => each.source === source);
    if (content === undefined) {
      const at = join(there, 'content', String(contents.length));
      content = { source, target: at, at, kind, readOnly, flags: lockedFlags(source, mountinfo) };
      contents.push(content);
      await mkdir(at.replace(there, here));
    }
    const name = join('faces', String(faces.length));
    const seenAs = join(content.at, local.slice(dirname(local).length + 1));
    faces.push(await makeFace({ face: join(here, name), volume: local, seenAs }));
    mounts.push({ source: join(there, name), target, kind, readOnly, flags: [] });
  }
  return { contents, faces, mounts };
}

interface PrivateHosts {
  write(services: readonly NamedService[]): Promise<void>;
  close(): void;
}

/** Follows the machine's hosts file and the connection. Written in place: what is mounted is the file, not its name. */
async function createHosts(
  path: string,
  first: readonly NamedService[],
  hostName: string | undefined,
): Promise<PrivateHosts> {
  let services = first;
  let written = '';
  const write = async (): Promise<void> => {
    const text = hostsText(await readFile(machineHosts, 'utf8').catch(() => ''), services, hostName);
    if (text === written) return;
    await using file = await open(path, 'r+');
    const bytes = Buffer.from(text);
    await file.write(bytes, 0, bytes.length, 0);
    await file.truncate(bytes.length);
    written = text;
  };
  await writeFile(path, '', { mode: 0o644 });
  await write();
  const look = (): void => void write().catch(() => undefined);
  watchFile(machineHosts, { interval: lookInterval, persistent: false }, look);
  return {
    write: (next) => {
      services = next;
      return write();
    },
    close: () => unwatchFile(machineHosts, look),
  };
}

async function realFolder(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return realpath(folder);
}

async function real(path: string): Promise<string> {
  return realpath(path).catch(() => path);
}
