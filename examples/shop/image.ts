/** The shop's image: the Node image and one bundled file for each program. */
import { build } from 'esbuild';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodeLayer } from '../../test/cluster/stock-images.ts';
import type { Image } from '../../test/cluster/images.ts';

const programs = ['frontend', 'catalog', 'cart', 'stats-api'];
const folder = import.meta.dirname;

export function shopImage(): Image {
  const sources = [...programs, 'program', 'database'].map((name) => join(folder, `${name}.ts`));
  const lock = join(folder, '../../package-lock.json');
  return {
    name: 'bowline.test/shop:1',
    layers: [
      nodeLayer,
      {
        name: 'shop',
        inputs: [...sources, lock].map((file) => readFileSync(file, 'utf8')),
        async fill(root) {
          await build({
            entryPoints: programs.map((name) => join(folder, `${name}.ts`)),
            outdir: join(root, 'app'),
            outExtension: { '.js': '.mjs' },
            bundle: true,
            platform: 'node',
            target: 'node24',
            format: 'esm',
            // pg is CommonJS and asks for Node's own modules by `require`, which a module has to make for itself.
            banner: {
              js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
            },
            external: ['pg-native'],
            logLevel: 'error',
          });
        },
      },
    ],
    config: { Entrypoint: ['node'], WorkingDir: '/app', User: '1000:1000' },
  };
}
