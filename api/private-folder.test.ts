import assert from 'node:assert/strict';
import { chmod, chown, mkdir, mkdtemp, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { checkPrivateFolder, makePrivateFolder } from './private-folder.ts';

const uid = process.getuid?.() ?? -1;
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bowline-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

void test('it is made for its user alone, and closed again when it was open', async () => {
  const path = join(folder, 'a', 'b');
  await makePrivateFolder(path, uid);
  assert.equal((await stat(path)).mode & 0o777, 0o700);
  await chmod(path, 0o755);
  await assert.rejects(checkPrivateFolder(path, uid), /others may enter/);
  await makePrivateFolder(path, uid);
  await checkPrivateFolder(path, uid);
});

void test(
  'a link, and a folder of somebody else, are refused',
  { skip: uid !== 0 && 'needs root to give a folder away' },
  async () => {
    await mkdir(join(folder, 'real'), { mode: 0o700 });
    await symlink(join(folder, 'real'), join(folder, 'link'));
    await assert.rejects(makePrivateFolder(join(folder, 'link'), uid), /not a folder/);
    await chown(join(folder, 'real'), 12_345, 12_345);
    await assert.rejects(makePrivateFolder(join(folder, 'real'), uid), /belongs to user 12345/);
  },
);

void test(
  'where no folder can be made, that is said, and not tried for ever',
  { skip: process.platform !== 'linux' && '/proc is of Linux', timeout: 20_000 },
  async () => {
    await assert.rejects(makePrivateFolder('/proc/bowline/state', uid), { code: 'STATE_UNREADABLE' });
  },
);
