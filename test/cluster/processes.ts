/** Processes are remembered with the moment of their start, because a number alone may be another process by now. */
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';

export interface ProcessRecord {
  pid: number;
  /** Clock ticks from boot to its start: field 22 of /proc/PID/stat. */
  started: string;
}

export function recordProcess(pid: number): ProcessRecord {
  const started = startOf(pid);
  if (started === undefined) throw new Error(`process ${pid} is gone`);
  return { pid, started };
}

export function isAlive(record: ProcessRecord): boolean {
  return startOf(record.pid) === record.started;
}

export function writeRecord(file: string, record: ProcessRecord): void {
  writeFileSync(file, JSON.stringify(record));
}

/** The process of a record file if it still runs. */
export function readRecord(file: string): ProcessRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(file, 'utf8')) as ProcessRecord;
    return isAlive(record) ? record : undefined;
  } catch {
    return undefined; // no file, or one that was never written to its end: nothing was started by it
  }
}

export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** All processes in a namespace, given as the kernel names it: `net:[4026531840]`. */
export function processesIn(kind: 'net' | 'mnt', namespace: string): number[] {
  return allProcesses().filter((pid) => namespaceOf(pid, kind) === namespace);
}

export function namespaceOf(pid: number | 'self', kind: 'net' | 'mnt'): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    return undefined;
  }
}

function allProcesses(): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number);
}

function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The program's name may hold spaces and parentheses; what follows the last one does not. State Z is dead already.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
