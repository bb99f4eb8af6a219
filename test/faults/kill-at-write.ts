/**
 * Loaded into the helper by `--import`: numbers every call by which it changes a file, and kills the process right after
 * the one that KILL_AFTER names. The helper itself knows nothing of it, so no step can be forgotten, and nothing of this is
 * in a program that root runs. Each call is told on standard error: `write NUMBER WHAT`.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { basename } from 'node:path';

const killAfter = Number(process.env['KILL_AFTER']);
const paths = new Map<number, string>();
let count = 0;

const changes = ['renameSync', 'rmSync', 'mkdirSync', 'chmodSync', 'chownSync'] as const;
const changesOfOpen = ['writeSync', 'ftruncateSync', 'fsyncSync', 'fchownSync', 'fchmodSync'] as const;
const original = { ...fs };

function done(what: string): void {
  count += 1;
  original.writeSync(2, `write ${count} ${what}\n`);
  if (count === killAfter) process.kill(process.pid, 'SIGKILL');
}

for (const name of changes) {
  Object.assign(fs, {
    [name]: (path: string, ...rest: unknown[]) => {
      const answer = (original[name] as (...all: unknown[]) => unknown)(path, ...rest);
      done(`${name.replace('Sync', '')} ${basename(path)}`);
      return answer;
    },
  });
}
for (const name of changesOfOpen) {
  Object.assign(fs, {
    [name]: (file: number, ...rest: unknown[]) => {
      const answer = (original[name] as (...all: unknown[]) => unknown)(file, ...rest);
      done(`${name.replace('Sync', '')} ${paths.get(file)}`);
      return answer;
    },
  });
}
Object.assign(fs, {
  openSync: (path: string | URL, flags: number, ...rest: unknown[]) => {
    const file = (original.openSync as (...all: unknown[]) => number)(path, flags, ...rest);
    paths.set(file, basename(String(path)));
    if ((flags & (fs.constants.O_WRONLY | fs.constants.O_RDWR | fs.constants.O_CREAT)) !== 0)
      done(`open ${paths.get(file)}`);
    return file;
  },
});
syncBuiltinESMExports();
