/** kubectl of the cluster's own programs, as its administrator. */
import { join } from 'node:path';
import { must } from './run.ts';
import type { Instance } from './instance.ts';

export async function kubectl(
  instance: Instance,
  args: string[],
  options: { input?: string; signal?: AbortSignal | undefined } = {},
): Promise<string> {
  return await must([join(instance.bin, 'kubectl'), '--kubeconfig', instance.kubeconfig, ...args], options);
}
