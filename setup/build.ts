/** `npm run build`: what is shipped beside the sources, into dist/: the agent for the image file, the helper for packages. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleAgent } from '../agent-image/bundle.ts';
import { bundleHelper } from '../helper/bundle.ts';

const dist = join(import.meta.dirname, '../dist');

function write(path: string, text: string): void {
  const file = join(dist, path);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, text);
  process.stdout.write(`dist/${path}  ${(text.length / 1024).toFixed(0)} KB\n`);
}

const agent = await bundleAgent();
const helper = await bundleHelper();
write('agent.mjs', agent.code);
for (const [name, code] of helper) write(`helper/${name}`, code);
