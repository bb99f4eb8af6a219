/**
 * Makes what runs in the cluster one file that needs nothing but Node, small enough for a ConfigMap. The hash of its
 * content names it.
 */
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';

export interface Bundled {
  code: string;
  /** First 16 hexadecimal digits of SHA-256: short enough for names and labels. */
  hash: string;
}

export const bundleAgent = (): Promise<Bundled> => bundle(new URL('agent.ts', import.meta.url));

let building = 0;

export async function bundle(entry: URL, banner = ''): Promise<Bundled> {
  const { build, stop } = await import('esbuild');
  building++;
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(entry)],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    minifySyntax: true,
    minifyWhitespace: true, // names stay: a stack trace in the pod's log can be read
    legalComments: 'none',
    banner: { js: banner },
  }).finally(() => building--);
  if (building === 0) await stop(); // its process would stay, with its memory, as long as ours
  const code = outputFiles[0]?.text ?? '';
  return { code, hash: createHash('sha256').update(code).digest('hex').slice(0, 16) };
}
