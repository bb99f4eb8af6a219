import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { layOutProgram, readVariables } from './image-variables.ts';

const linuxOnly = { skip: process.platform === 'linux' ? false : 'the agent runs on Linux only' };

void test(
  'a program laid out with its loader and libraries writes down the variables it is given',
  linuxOnly,
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'laid-out-'));
    try {
      await assert.rejects(readVariables(folder), /ENOENT/, 'nothing was written yet');
      const [program = '', ...args] = await layOutProgram(folder);
      assert.ok(program.startsWith(`${folder}/`), 'nothing outside of the folder is started');
      // Where the program is a dynamic one, its loader says which files it takes: all of the folder.
      const isDynamic = (await readdir(folder)).includes('loader');
      if (isDynamic) {
        const file = args.find((arg) => arg.startsWith(`${folder}/`))!;
        const { stdout } = await promisify(execFile)(program, ['--library-path', folder, '--list', file]);
        for (const [, path = ''] of stdout.matchAll(/=> (\/\S+)/g)) assert.ok(path.startsWith(`${folder}/`), stdout);
      }
      const env = { PLAIN: 'a b', EMPTY: '', LINES: 'a\nb=c', 'with.dot': 'ünï' };
      await promisify(execFile)(program, args, { env });
      assert.deepEqual(await readVariables(folder), env);
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);
