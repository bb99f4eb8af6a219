/** A program of the node as the process that it is: killed it is started again by node-init, as by a kubelet. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { kubernetesPrograms } from './binary.ts';
import { isAlive, kill, recordProcess, type ProcessRecord } from './processes.ts';
import { waitUntil } from './wait.ts';
import type { Instance } from './instance.ts';

type Program = (typeof kubernetesPrograms)[number];

/** Resolves when it has ended; until it serves again takes longer. */
export async function killProgram(instance: Instance, name: Program): Promise<void> {
  const record = running(instance, name);
  kill(record.pid);
  await waitUntil(() => !isAlive(record), { what: `end of ${name}` });
}

/** Does nothing, as on a node that is too busy for it, until it is disposed. */
export function holdProgram(instance: Instance, name: Program): AsyncDisposable {
  const record = running(instance, name);
  process.kill(record.pid, 'SIGSTOP');
  return {
    async [Symbol.asyncDispose]() {
      if (isAlive(record)) process.kill(record.pid, 'SIGCONT');
    },
  };
}

function running(instance: Instance, name: Program): ProcessRecord {
  const program = join(instance.bin, name);
  const pid = readdirSync('/proc').find((entry) => /^\d+$/.test(entry) && firstArgument(entry) === program);
  if (pid === undefined) throw new Error(`${name} of cluster ${instance.name} does not run`);
  return recordProcess(Number(pid));
}

function firstArgument(pid: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0];
  } catch {
    return undefined; // it has ended
  }
}
