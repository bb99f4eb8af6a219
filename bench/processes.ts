/** What a process has used, from /proc: CPU time for the work in between two looks, memory at one moment. */
import { readFileSync } from 'node:fs';
import { must } from '../test/cluster/run.ts';

/** Clock ticks a second; the kernel's promise to user space on every architecture that Node runs on. */
const ticks = 100;

/** Seconds of user and system time of all its threads until now. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in parentheses may hold anything; the fields after it are numbers.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticks;
}

export function residentMegabytes(status: string): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kilobytes === undefined) throw new Error('no VmRSS in the status of the process');
  return (Number(kilobytes) * 1024) / 1e6;
}

export function memoryOf(pid: number): number {
  return residentMegabytes(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

/** Of the first process of a container; `read` runs a command in it. */
export async function memoryInContainer(kubectl: readonly string[]): Promise<number> {
  return residentMegabytes(await must([...kubectl, 'cat', '/proc/1/status']));
}
