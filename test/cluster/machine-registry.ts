/**
 * The machines of a cluster as files: MACHINES/NAME/machine.json. They outlive the test run that made them only when it
 * was killed; then the next start, or the end of the cluster, takes them away.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inNetwork } from './network.ts';
import { isAlive, kill, namespaceOf, processesIn, recordProcess } from './processes.ts';
import { run } from './run.ts';
import { waitUntil } from './wait.ts';
import type { ProcessRecord } from './processes.ts';

export interface MachineRecord {
  /** The process that keeps the namespaces. */
  holder: ProcessRecord;
  /** The test run it belongs to. */
  owner: ProcessRecord;
  /** Which of its namespaces a process of the machine cannot leave by ordinary means. */
  isolation: 'net' | 'mnt';
  namespaces: { net: string; mnt: string };
  /** The node's end of its cable. */
  device?: string;
}

/** Makes the folder of a machine, which claims its name; what an ended test run left there goes first. */
export async function claimMachine(machines: string, name: string, nodePid: number | undefined): Promise<void> {
  mkdirSync(machines, { recursive: true });
  for (const other of readdirSync(machines)) {
    const record = readMachine(machines, other);
    if (record === undefined || !isAlive(record.owner)) await removeMachine(machines, other, nodePid);
  }
  const folder = join(machines, name);
  try {
    mkdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new Error(`machine ${name} is in use by process ${readMachine(machines, name)?.owner.pid ?? '?'}`, {
      cause: error,
    });
  }
}

export function recordMachine(
  machines: string,
  name: string,
  record: Omit<MachineRecord, 'owner' | 'namespaces'>,
): void {
  const net = namespaceOf(record.holder.pid, 'net');
  const mnt = namespaceOf(record.holder.pid, 'mnt');
  if (net === undefined || mnt === undefined) throw new Error(`machine ${name} ended at once`);
  const whole: MachineRecord = { ...record, namespaces: { net, mnt }, owner: recordProcess(process.pid) };
  writeFileSync(join(machines, name, 'machine.json'), JSON.stringify(whole));
}

/** Ends all that runs in the machine and removes what does not go with it. */
export async function removeMachine(machines: string, name: string, nodePid: number | undefined): Promise<void> {
  const record = readMachine(machines, name);
  if (record !== undefined) {
    const endAll = (): boolean => {
      const left = processesOf(record);
      for (const pid of left) kill(pid);
      return left.length === 0;
    };
    await waitUntil(endAll, { what: `end of the processes of machine ${name}`, interval: 20 });
    if (record.device !== undefined && nodePid !== undefined)
      await run(inNetwork(nodePid, ['ip', 'link', 'delete', record.device]));
  }
  rmSync(join(machines, name), { recursive: true, force: true });
}

/**
 * The holder goes last: while it lives the kernel gives its namespaces' numbers to nobody else. Without it, as after a
 * crash, a number alone proves nothing, so both must match.
 */
function processesOf(record: MachineRecord): number[] {
  const { namespaces, isolation, holder } = record;
  if (namespaces[isolation] === namespaceOf('self', isolation))
    throw new Error('a machine without a namespace of its own');
  const inside = processesIn(isolation, namespaces[isolation]);
  if (!isAlive(holder))
    return inside.filter(
      (pid) => namespaceOf(pid, 'net') === namespaces.net && namespaceOf(pid, 'mnt') === namespaces.mnt,
    );
  const others = inside.filter((pid) => pid !== holder.pid);
  return others.length > 0 ? others : [holder.pid];
}

export async function removeMachines(machines: string, nodePid: number | undefined): Promise<void> {
  if (!existsSync(machines)) return;
  for (const name of readdirSync(machines)) await removeMachine(machines, name, nodePid);
}

function readMachine(machines: string, name: string): MachineRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(machines, name, 'machine.json'), 'utf8')) as MachineRecord;
  } catch {
    return undefined;
  }
}
