/**
 * The helper's two programs as one file each: what root runs is then whole, small, and starts without the time and memory
 * that type stripping takes. Used where the source lies (a clone); a package carries the result.
 */
import { fileURLToPath } from 'node:url';

export const programNames = ['main', 'relay'] as const;

/** File name -> code. */
export async function bundleHelper(): Promise<Map<string, string>> {
  const { build, stop } = await import('esbuild');
  const { outputFiles } = await build({
    entryPoints: programNames.map((name) => fileURLToPath(new URL(`${name}.ts`, import.meta.url))),
    outdir: '/', // names only: nothing is written
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    outExtension: { '.js': '.mjs' },
    legalComments: 'none',
  });
  await stop(); // its process would stay, with its memory, as long as ours
  return new Map(outputFiles.map((file) => [file.path.slice(1), file.text]));
}
