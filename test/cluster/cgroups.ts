/** The control groups below which the node's containers run: made before the kubelet looks for them, removed after it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { kill } from './processes.ts';

const mountPoint = '/sys/fs/cgroup';

/** cgroup v1 has one tree for each controller, v2 one for all. */
function trees(): string[] {
  if (existsSync(join(mountPoint, 'cgroup.controllers'))) return [mountPoint];
  return readdirSync(mountPoint, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(mountPoint, entry.name));
}

export function makeCgroups(name: string): void {
  for (const tree of trees()) mkdirSync(join(tree, name), { recursive: true });
}

/** Ends what still runs in them and removes them; false while something is not gone yet. */
export function removeCgroups(name: string): boolean {
  return trees()
    .map((tree) => remove(join(tree, name)))
    .every(Boolean);
}

function remove(folder: string): boolean {
  if (!existsSync(folder)) return true;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) remove(join(folder, entry.name));
  }
  try {
    for (const pid of readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n')) if (pid !== '') kill(Number(pid));
    rmdirSync(folder);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return true;
    if (code === 'EBUSY') return false;
    throw error;
  }
}
