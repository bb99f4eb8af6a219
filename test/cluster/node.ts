/**
 * The node: one process tree in namespaces of its own (network, mounts, processes, host name). Its first process is
 * node-init; when that is killed the kernel ends all others, containers included, and mounts and devices go with them.
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { makeCgroups, removeCgroups } from './cgroups.ts';
import { nodeName } from './configuration.ts';
import { privateDisk, quote } from './disk.ts';
import { connectNode, disconnectNode } from './network.ts';
import { isAlive, kill, readRecord, recordProcess, writeRecord } from './processes.ts';
import { waitUntil } from './wait.ts';
import type { Instance } from './instance.ts';
import type { ProcessRecord } from './processes.ts';

export function findNode(instance: Instance): ProcessRecord | undefined {
  return readRecord(instance.pidFile);
}

/** Starts node-init with a table of programs. Resolves when it runs, which is long before Kubernetes answers. */
export async function startNode(instance: Instance, table: string, signal?: AbortSignal): Promise<void> {
  const disk = join(instance.folder, 'disk');
  mkdirSync(disk, { recursive: true });
  makeCgroups(instance.cgroup);
  const log = join(instance.logs, 'node-init.log');
  const script = [
    // The old /proc still counts as this machine does. The line that is read comes when the network is there; when it
    // does not come, who started this is gone.
    'read -r pid rest < /proc/self/stat && echo "$pid" && read -r go || exit 1',
    privateDisk({ mountPoint: disk, shared: [{ folder: instance.folder }], ownProc: true }),
    'mount --make-rshared /',
    `hostname ${nodeName}`,
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
  writeRecord(instance.pidFile, recordProcess(pid));
  await connectNode(instance, pid, signal);
  stdin.end('go\n');
  lines.close();
  stdout.destroy();
  child.unref();
}

/** Ends every process of the node and takes away what does not go with them. Right after a crash too. */
export async function stopNode(instance: Instance, signal?: AbortSignal): Promise<void> {
  const first = findNode(instance);
  if (first !== undefined) {
    kill(first.pid);
    await waitUntil(() => !isAlive(first), { what: `end of process ${first.pid}`, interval: 20, signal });
  }
  await waitUntil(() => removeCgroups(instance.cgroup), {
    what: `removal of the cgroups ${instance.cgroup}`,
    interval: 20,
    signal,
  });
  await disconnectNode(instance);
}
