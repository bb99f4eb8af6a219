/** `npm run format`: writes every source file in the project's format. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
process.exitCode = spawnSync(join(root, 'node_modules/.bin/oxfmt'), [], { cwd: root, stdio: 'inherit' }).status ?? 1;
