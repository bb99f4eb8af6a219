/** Fills an image's root folder from programs of this machine: each with the shared libraries that it loads. */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { must } from './run.ts';

/** What a layer made from files of this machine depends on: a new version has another size or time. */
export function fingerprint(files: string[]): unknown {
  return files.map((file) => {
    const { size, mtimeMs } = statSync(file);
    return [file, size, mtimeMs];
  });
}

/** Accounts, temporary folder and name resolution as any program expects them. */
export function addBase(root: string, users: Record<string, number>): void {
  const all = { root: 0, ...users, nobody: 65534 };
  const entries = Object.entries(all);
  const lines = (line: (name: string, id: number) => string): string =>
    entries.map(([name, id]) => `${line(name, id)}\n`).join('');
  for (const folder of ['etc', 'tmp', 'run', 'var/lib', 'var/run', 'proc', 'sys', 'dev', 'root', 'home']) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  writeFileSync(
    join(root, 'etc/passwd'),
    lines((name, id) => `${name}:x:${id}:${id}:${name}:${id === 0 ? '/root' : '/tmp'}:/bin/sh`),
  );
  writeFileSync(
    join(root, 'etc/group'),
    lines((name, id) => `${name}:x:${id}:`),
  );
  writeFileSync(join(root, 'etc/nsswitch.conf'), 'passwd: files\ngroup: files\nhosts: files dns\n');
  chmodSync(join(root, 'tmp'), 0o1777);
}

/** busybox under all its names; real programs added before it keep theirs. */
export async function addShell(root: string): Promise<void> {
  mkdirSync(join(root, 'bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const applet of (await must(['/bin/busybox', '--list'])).trim().split('\n')) {
    if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet));
  }
}

/** Copies a program to `target` in the image, and the libraries it is linked with to where the loader looks for them. */
export async function addProgram(root: string, source: string, target: string): Promise<void> {
  copy(realpathSync(source), join(root, target));
  await addLibraries(root, source);
}

export async function addLibraries(root: string, source: string): Promise<void> {
  for (const line of (await must(['ldd', source])).split('\n')) {
    const library = /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1];
    if (library !== undefined) copy(realpathSync(library), join(root, library));
  }
}

export function addFolder(
  root: string,
  source: string,
  target: string,
  keep: (path: string) => boolean = () => true,
): void {
  cpSync(source, join(root, target), { recursive: true, dereference: true, filter: keep });
}

function copy(source: string, target: string): void {
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(source, target);
  chmodSync(target, 0o755);
}
