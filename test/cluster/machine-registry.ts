/**
 * The machines of a cluster as files: MACHINES/NAME/machine.json. They outlive the test run that made them only when it
 * was killed; then the next start, or the end of the cluster, takes them away.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { inNetwork } from './network.ts';
import { isAlive, kill, namespaceOf, processesIn, recordProcess } from './processes.ts';
import { run } from './run.ts';
import { waitUntil } from './wait.ts';
import type { ProcessRecord } from './processes.ts';

/** The test run that a machine belongs to; all that is known of one that is being made. */
interface Claim {
  owner: ProcessRecord;
}

export interface MachineRecord extends Claim {
  /** The process that keeps the namespaces. */
  holder: ProcessRecord;
  /** Which of its namespaces a process of the machine cannot leave by ordinary means. */
  isolation: 'net' | 'mnt';
  namespaces: { net: string; mnt: string };
  /** The node's end of its cable. */
  device?: string;
}

/**
 * Makes the folder of a machine, which claims its name; what an ended test run left there goes first. The folder comes
 * with its owner in it, so that nobody takes a machine that is just being made for a left one.
 */
export async function claimMachine(machines: string, name: string, nodePid: number | undefined): Promise<void> {
  mkdirSync(machines, { recursive: true });
  for (const other of readdirSync(machines)) {
    if (other.startsWith('.')) continue;
    const owner = readMachine(machines, other)?.owner;
    if (owner === undefined || !isAlive(owner)) await removeMachine(machines, other, nodePid);
  }
  const folder = mkdtempSync(join(machines, '.claim-'));
  writeFileSync(join(folder, 'machine.json'), JSON.stringify({ owner: recordProcess(process.pid) } satisfies Claim));
  try {
    renameSync(folder, join(machines, name));
  } catch (error) {
    rmSync(folder, { recursive: true });
    if (!['EEXIST', 'ENOTEMPTY'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
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
  const file = join(machines, name, 'machine.json');
  writeFileSync(`${file}.new`, JSON.stringify(whole));
  renameSync(`${file}.new`, file);
}

/** Ends all that runs in the machine and removes what does not go with it. */
export async function removeMachine(machines: string, name: string, nodePid: number | undefined): Promise<void> {
  const record = readMachine(machines, name);
  if (record !== undefined && 'holder' in record) {
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

function readMachine(machines: string, name: string): Claim | MachineRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(machines, name, 'machine.json'), 'utf8')) as Claim | MachineRecord;
  } catch {
    return undefined;
  }
}
