/**
 * A node: one process tree in namespaces of its own (network, mounts, processes, host name). Its first process is
 * node-init; when that is killed the kernel ends all others, containers included, and mounts and devices go with them.
 */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { makeCgroups, removeCgroups } from './cgroups.ts';
import { privateDisk, quote } from './disk.ts';
import { isAlive, kill, readRecord, recordProcess, writeRecord } from './processes.ts';
import { waitUntil } from './wait.ts';
import type { ClusterNode, Instance } from './instance.ts';
import type { ProcessRecord } from './processes.ts';

export function findNode(node: ClusterNode): ProcessRecord | undefined {
  return readRecord(node.pidFile);
}

export interface NodeStart {
  instance: Instance;
  node: ClusterNode;
  /** Of programs, for node-init. */
  table: string;
  /** Gives the network namespace of that process its network. */
  connect: (pid: number) => Promise<void>;
}

/** Resolves when node-init runs, which is long before Kubernetes answers. */
export async function startNode({ instance, node, table, connect }: NodeStart): Promise<void> {
  const disk = join(node.folder, 'disk');
  mkdirSync(disk, { recursive: true });
  makeCgroups(node.cgroup);
  const log = join(node.logs, 'node-init.log');
  const script = [
    // The old /proc still counts as this machine does. The line that is read comes when the network is there; when it
    // does not come, who started this is gone.
    'read -r pid rest < /proc/self/stat && echo "$pid" && read -r go || exit 1',
    privateDisk({ mountPoint: disk, shared: [{ folder: instance.folder }], ownProc: true }),
    'mount --make-rshared /',
    `hostname ${node.nodeName}`,
    `exec ${quote(join(instance.bin, 'node-init'))} ${quote(table)} < /dev/null >> ${quote(log)} 2>&1`,
  ].join('\n');
  const output = openSync(log, 'a');
  const child = spawn(
    'unshare',
    ['--net', '--mount', '--pid', '--uts', '--ipc', '--propagation', 'slave', '--fork', 'sh', '-c', script],
    {
      detached: true,
      stdio: ['pipe', 'pipe', output],
      env: { PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin' },
    },
  );
  closeSync(output);
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null) throw new Error('spawn gave no pipes');
  const lines = createInterface(stdout);
  const pid = await new Promise<number>((resolve, reject) => {
    lines.once('line', (line) => resolve(Number(line)));
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`the node did not start: ${readFileSync(log, 'utf8').trim()}`)));
  });
  child.removeAllListeners('exit'); // from now on its end is nothing that this process has to know
  writeRecord(node.pidFile, recordProcess(pid));
  await connect(pid);
  stdin.end('go\n');
  lines.close();
  stdout.destroy();
  child.unref();
}

/** Ends every process of the node at once, and takes away its cgroups. Right after a crash too. */
export async function stopNode(node: ClusterNode, signal?: AbortSignal): Promise<void> {
  const first = findNode(node);
  if (first !== undefined) {
    kill(first.pid);
    await waitUntil(() => !isAlive(first), { what: `end of process ${first.pid}`, interval: 20, signal });
  }
  await waitUntil(() => removeCgroups(node.cgroup), {
    what: `removal of the cgroups ${node.cgroup}`,
    interval: 20,
    signal,
  });
}

/** The last words of each of its programs, for the error of a start. */
export function logTails({ logs }: ClusterNode): string {
  if (!existsSync(logs)) return '';
  const tail = (file: string): string =>
    readFileSync(join(logs, file), 'utf8').trimEnd().split('\n').slice(-4).join('\n');
  return readdirSync(logs)
    .map((file) => `\n--- ${file}\n${tail(file)}`)
    .join('');
}
