/** npm as a program that is asked, and what a check of the supply chain says. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '..');

export interface Outcome {
  name: string;
  result: 'ok' | 'FAILED' | 'could not be asked';
  detail: string;
}

export interface Told {
  code: number | string | null;
  output: string;
  complaint: string;
}

export interface NpmOptions {
  seconds: number;
  /** Default: as npm is configured. */
  registry?: string | undefined;
}

/** npm fails also when it has found something, so what it printed is looked at and not only its exit status. */
export function npm(args: string[], { seconds, registry }: NpmOptions): Promise<Told> {
  const options = {
    cwd: root,
    timeout: seconds * 1000,
    killSignal: 'SIGKILL' as const,
    maxBuffer: 64 * 1024 * 1024,
    env: { ...process.env, ...(registry !== undefined && { npm_config_registry: registry }) },
  };
  return new Promise((resolve) =>
    execFile('npm', args, options, (error, output, complaint) => {
      const code = error === null ? 0 : error.killed === true ? 'timeout' : (error.code ?? null);
      resolve({ code, output, complaint });
    }),
  );
}

export function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export const firstLine = (text: string): string =>
  text.split('\n').find((line) => line.startsWith('npm error') || line.startsWith('npm warn audit')) ??
  'no reason given';

/** The registry's address belongs to the machine that asks. */
export const withoutAddress = (text: string): string => text.replaceAll(/https?:\/\/\S+/g, 'the registry');
