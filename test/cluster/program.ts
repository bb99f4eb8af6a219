/** A program of the node as the process that it is: killed it is started again by node-init, as by a kubelet. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { kubernetesPrograms } from './binary.ts';
import { isAlive, kill, recordProcess } from './processes.ts';
import { waitUntil } from './wait.ts';
import type { Instance } from './instance.ts';

/** Resolves when it has ended; until it serves again takes longer. */
export async function killProgram(instance: Instance, name: (typeof kubernetesPrograms)[number]): Promise<void> {
  const program = join(instance.bin, name);
  const pid = readdirSync('/proc').find((entry) => /^\d+$/.test(entry) && firstArgument(entry) === program);
  if (pid === undefined) throw new Error(`${name} of cluster ${instance.name} does not run`);
  const record = recordProcess(Number(pid));
  kill(record.pid);
  await waitUntil(() => !isAlive(record), { what: `end of ${name}` });
}

function firstArgument(pid: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0];
  } catch {
    return undefined; // it has ended
  }
}
