/**
 * A mount namespace for one command, without root: a user namespace gives the right to mount in it. A holder process makes
 * it and waits; the command enters from beside, so that its variables, streams and process group pass through no shell, and
 * in a second user namespace it has its own user id again and no right over the mounts. Everything made for it lies in
 * memory inside the namespace: it is gone with its last process, however that ends.
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { BowlineError } from '../../api/errors.ts';

export interface NamespaceOptions {
  /** An empty folder of the user: in the namespace, and only there, it has content. */
  folder: string;
  uid: number;
  gid: number;
  /** The system's, for the command. */
  hostName: string | undefined;
  env: Readonly<Record<string, string | undefined>>;
}

export interface Namespace extends Disposable {
  /** False where the machine's host name stays though another one was wanted. */
  readonly named: boolean;
  /** `folder` of the namespace as this process can write it. */
  readonly here: string;
  /** Mounts what `writePlan` has written there. `remade`: its folders in order. Rejects with PRIVATE_FILES_IMPOSSIBLE. */
  mount(remade: readonly string[]): Promise<void>;
  /** Programs and arguments to put before a command, so that it runs inside, in the folder `cwd`. */
  enter(cwd: string): string[];
}

/** Nobody waits longer than this for a namespace; usually it takes some hundredths of that. Milliseconds. */
const patience = 10_000;
/** util-linux; `pivot_root` lies where only root looks by default. */
const systemPath = '/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Fixed text: what comes from the cluster is in files (fstab) or an argument, and never part of a line of shell. It speaks
 * one line when the folder can be filled (`unnamed` where the host name could not be set), reads the folders that are
 * remade (none contains a newline) until an empty one, and speaks again when all is mounted. Then it keeps the namespace
 * until its input ends.
 */
const holder = `
set -eu
here=$1 uid=$2 gid=$3 name=$4
mount -n -t tmpfs -o mode=0700,size=64m bowline "$here"
[ -z "$name" ] || hostname "$name" 2>/dev/null && echo ready || echo unnamed
number=0
while IFS= read -r folder && [ -n "$folder" ]; do
  mount -n -a -T "$here/$number.fstab"
  if [ "$folder" = / ]; then
    cd "$here/$number"
    pivot_root . .
    umount -n -l .
  else
    mount -n --move "$here/$number" "$folder"
  fi
  number=$((number + 1))
done
mount -n -a -T "$here/fstab"
[ "$uid" = 0 ] || unshare --user --map-user="$uid" --map-group="$gid" --wd=/ true
echo ready
read -r _ || :
`;

/** Rejects with PRIVATE_FILES_IMPOSSIBLE. */
export async function startNamespace(options: NamespaceOptions): Promise<Namespace> {
  const { folder, uid, gid, hostName = '', env } = options;
  const path = [systemPath, env['PATH']].filter(Boolean).join(delimiter);
  const nsenter = await findProgram('nsenter', path);
  const unshare = await findProgram('unshare', path);
  const rights = uid === 0 ? [] : ['--user', '--map-root-user'];
  const args = [...rights, '--mount', '--uts', '--propagation', 'private', 'sh', '-c', holder, 'bowline'];
  const child = spawn(unshare, [...args, folder, String(uid), String(gid), hostName], {
    // A session of its own: Ctrl-C in the terminal is for the command.
    detached: true,
    cwd: '/',
    env: { PATH: path, LC_ALL: 'C' },
    stdio: 'pipe',
  });
  const said = listen(child);
  const stop = (): void => {
    child.stdin.destroy();
    child.kill();
  };
  const ready = async (): Promise<string> => {
    const within = AbortSignal.timeout(patience);
    try {
      return await said.line(within);
    } catch {
      stop();
      throw await why(within.aborted ? `it took longer than ${patience / 1000} s` : said.complaint());
    }
  };
  const named = (await ready()) === 'ready';
  const target = String(child.pid);
  return {
    named,
    here: join('/proc', target, 'root', folder),
    async mount(remade) {
      child.stdin.write(`${remade.map((path) => `${path}\n`).join('')}\n`);
      await ready();
    },
    enter(cwd) {
      const enter = uid === 0 ? [] : ['--user', '--preserve-credentials'];
      const become = uid === 0 ? [] : ['--user', `--map-user=${uid}`, `--map-group=${gid}`];
      const first = [nsenter, `--target=${target}`, ...enter, '--mount', '--uts', '--'];
      return [...first, unshare, ...become, `--wd=${cwd}`, '--'];
    },
    [Symbol.dispose]: stop,
  };
}

/** The lines that the holder speaks, and what it complains of. */
function listen(child: ChildProcessWithoutNullStreams): {
  line: (signal: AbortSignal) => Promise<string>;
  complaint: () => string;
} {
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
  child.stdin.on('error', () => undefined); // it has ended: that is seen below
  const lines = createInterface(child.stdout);
  const gone = once(child, 'close').then(
    () => Promise.reject(new Error('gone')),
    (error: unknown) => Promise.reject(error instanceof Error ? error : new Error(String(error))),
  );
  gone.catch((error: Error) => (complaint ||= error.message));
  return {
    line: async (signal) => {
      const [text] = await Promise.race([once(lines, 'line', { signal }), gone]);
      return String(text);
    },
    complaint: () => complaint.trim().split('\n')[0] ?? '',
  };
}

async function findProgram(program: string, path: string): Promise<string> {
  for (const folder of path.split(delimiter).filter((each) => each.startsWith('/'))) {
    const file = join(folder, program);
    const found = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return file;
  }
  throw impossible(`there is no program \`${program}\``, 'Install util-linux, which has it.');
}

/** Empty where this system has no such setting. */
async function setting(name: string): Promise<string> {
  const text = await readFile(join('/proc/sys', name), 'utf8').catch(() => '');
  return text.trim();
}

/** The switch of the system that stands against it, where it can be told; else what the system said. */
async function why(complaint: string): Promise<BowlineError> {
  if ((await setting('user/max_user_namespaces')) === '0' || /No space left on device/.test(complaint)) {
    return impossible(
      'user namespaces are off (user.max_user_namespaces is 0 or reached)',
      'Allow them: sudo sysctl user.max_user_namespaces=10000',
    );
  }
  if ((await setting('kernel/unprivileged_userns_clone')) === '0') {
    return impossible(
      'user namespaces are for root only (kernel.unprivileged_userns_clone is 0)',
      'Allow them: sudo sysctl kernel.unprivileged_userns_clone=1',
    );
  }
  if ((await setting('kernel/apparmor_restrict_unprivileged_userns')) === '1') {
    return impossible(
      'AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)',
      'Allow them: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0',
    );
  }
  if (/(unrecognized|invalid|unknown) option/.test(complaint))
    return impossible(`its programs are not those of util-linux: ${complaint}`, 'Install util-linux 2.36 or later.');
  return impossible(
    complaint || 'the system refused without a reason',
    'In a container, allow it user namespaces and mounts (its seccomp profile and capabilities).',
  );
}

export function impossible(reason: string, hint: string): BowlineError {
  const message = `The pod's files cannot stand at their real paths: ${reason}.`;
  return new BowlineError('PRIVATE_FILES_IMPOSSIBLE', message, { hint });
}
