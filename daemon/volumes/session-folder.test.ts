/** Contents that are switched, and what is left of them after a kill: real folders, and a process that really is killed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLog } from '../log.ts';
import { openJsonFile } from '../state/json-files.ts';
import { VolumeRegistry, type Made } from './registry.ts';
import { SessionFolder } from './session-folder.ts';

async function scratch(): Promise<AsyncDisposable & { path: string }> {
  const path = await realpath(await mkdtemp(join(tmpdir(), 'bowline-files-')));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

async function bring(folder: SessionFolder, entry: string, files: Record<string, string>): Promise<void> {
  const content = await folder.begin(entry);
  for (const [name, text] of Object.entries(files)) await writeFile(join(content, name), text);
  await folder.become(entry, content);
}

const registryIn = async (path: string): Promise<VolumeRegistry> => {
  const file = await openJsonFile<Made>(join(path, 'state', 'files.json'), { version: 1, log: silentLog });
  return VolumeRegistry.open({ folder: join(path, 'place'), backing: 'disk' }, file, silentLog);
};

test('a content takes the place of the former one as a whole, and the former goes', async () => {
  await using place = await scratch();
  const folder = await SessionFolder.open(join(place.path, 'session'));
  await folder.place([{ entry: 'config', mountPath: '/etc/config' }]);
  await bring(folder, 'config', { a: '1', b: '1' });
  const before = await realpath(folder.local('config'));
  const inRoot = join(folder.path, 'root/etc/config');
  assert.equal(await readFile(join(inRoot, 'b'), 'utf8'), '1');
  await bring(folder, 'config', { a: '2' });
  assert.deepEqual(await readdir(inRoot), ['a']);
  assert.equal(await readFile(join(inRoot, 'a'), 'utf8'), '2');
  await assert.rejects(lstat(before), { code: 'ENOENT' });
  assert.deepEqual((await readdir(join(folder.path, 'volumes'))).length, 2, 'the link and its content');
});

test('a reader never sees half of a content', async () => {
  await using place = await scratch();
  const folder = await SessionFolder.open(join(place.path, 'session'));
  await bring(folder, 'config', { a: '0', b: '0' });
  const reader = { seen: 0, stopped: false };
  const read = async (): Promise<void> => {
    while (!reader.stopped) {
      // The link is always there; what it leads to is one content, until that goes.
      const content = join(folder.path, 'volumes', await readlink(folder.local('config')));
      try {
        const [a, b] = [await readFile(join(content, 'a'), 'utf8'), await readFile(join(content, 'b'), 'utf8')];
        assert.equal(a, b);
        reader.seen++;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error; // it went meanwhile
      }
    }
  };
  const write = async (): Promise<void> => {
    for (let round = 1; round <= 50 || reader.seen < 10; round++)
      await bring(folder, 'config', { a: `${round}`, b: `${round}` });
    reader.stopped = true;
  };
  await Promise.all([read(), write()]);
});

test('mounts inside mounts, and single files, stand at their paths', async () => {
  await using place = await scratch();
  const folder = await SessionFolder.open(join(place.path, 'session'));
  await folder.place([
    { entry: 'outer', mountPath: '/etc/config' },
    { entry: 'inner', mountPath: '/etc/config/sub/inner' },
    { entry: 'file', mountPath: '/etc/config/one.txt' },
  ]);
  const at = (path: string): Promise<string> => readFile(join(folder.path, 'root/etc/config', path), 'utf8');
  await bring(folder, 'inner', { x: 'inner' });
  const single = await folder.begin('file');
  await writeFile(join(single, 'real-name'), 'single');
  await folder.become('file', single, 'real-name');
  await bring(folder, 'outer', { 'one.txt': 'hidden', other: 'outer' });
  assert.equal(await at('sub/inner/x'), 'inner');
  assert.equal(await at('one.txt'), 'single');
  assert.equal(await at('other'), 'outer');
  await bring(folder, 'outer', { newer: 'outer' });
  assert.equal(await at('newer'), 'outer');
  await assert.rejects(at('other'), { code: 'ENOENT' });
  assert.equal(await at('sub/inner/x'), 'inner');
});

test('after a kill in the middle, what was complete is there and the rest is gone', async () => {
  await using place = await scratch();
  const path = join(place.path, 'session');
  const program = `
    import { writeFile } from 'node:fs/promises';
    import { SessionFolder } from ${JSON.stringify(join(import.meta.dirname, 'session-folder.ts'))};
    const folder = await SessionFolder.open(${JSON.stringify(path)});
    const content = await folder.begin('done');
    await writeFile(content + '/x', 'whole');
    await folder.become('done', content);
    await writeFile((await folder.begin('half')) + '/x', 'part');
    console.log('now');
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'close');
  const folder = await SessionFolder.open(path);
  assert.equal(await folder.has('done'), true);
  assert.equal(await folder.has('half'), false);
  assert.equal(await readFile(join(folder.local('done'), 'x'), 'utf8'), 'whole');
  assert.equal((await readdir(join(path, 'volumes'))).length, 2);
});

test('the next start removes what is of no session, and only what was made', async () => {
  await using place = await scratch();
  const foreign = join(place.path, 'foreign');
  await mkdir(foreign);
  await writeFile(join(foreign, 'precious'), '');
  {
    const registry = await registryIn(place.path);
    for (const session of ['kept', 'gone']) await bring(await registry.take(session), 'config', { a: session });
    const local = (await registry.take('gone')).local('config');
    const empty = join(place.path, 'empty');
    await symlink(local, empty);
    await registry.addLink('gone', { at: empty, to: local, insteadOfFolder: true, folders: [] });
    // Somebody put his own thing where a link of ours was.
    await registry.addLink('gone', { at: foreign, to: local, insteadOfFolder: false, folders: [] });
    await symlink(foreign, join(place.path, 'place', 'gone', 'volumes', 'lure'));
  }
  const registry = await registryIn(place.path);
  await registry.releaseOthers(new Set(['kept']));
  assert.deepEqual(await readdir(join(place.path, 'place')), ['kept']);
  assert.deepEqual(await readdir(join(place.path, 'empty')), []);
  assert.deepEqual(await readdir(foreign), ['precious']);
  await registry.release('kept');
  assert.deepEqual(await readdir(join(place.path, 'place')), []);
});

test('folders that were made on the way to a link go with it, unless somebody has put something there', async () => {
  await using place = await scratch();
  const registry = await registryIn(place.path);
  const local = (await registry.take('session')).local('config');
  const at = (path: string): string => join(place.path, path);
  const link = async (path: string, folders: string[]): Promise<void> => {
    await registry.addLink('session', { at: at(path), to: local, insteadOfFolder: false, folders: folders.map(at) });
    for (const folder of folders) await mkdir(at(folder));
    await symlink(local, at(path));
  };
  await link('a/b/first', ['a', 'a/b']);
  await link('a/b/c/second', ['a/b/c']);
  await link('x/y/third', ['x', 'x/y']);
  await writeFile(at('x/mine'), '');
  // The daemon was killed between writing it down and making it.
  await registry.addLink('session', { at: at('p/q'), to: local, insteadOfFolder: false, folders: [at('p')] });
  await registry.addLink('session', { at: at('given'), to: local, insteadOfFolder: true, folders: [] });
  const next = await registryIn(place.path);
  await next.releaseOthers(new Set());
  assert.deepEqual((await readdir(place.path)).toSorted(), ['given', 'place', 'state', 'x']);
  assert.deepEqual(await readdir(at('x')), ['mine']);
});

test('a folder that became a link is not followed', async () => {
  await using place = await scratch();
  const registry = await registryIn(place.path);
  const { path } = await registry.take('session');
  const foreign = join(place.path, 'foreign');
  await mkdir(foreign);
  await writeFile(join(foreign, 'precious'), '');
  await rm(path, { recursive: true });
  await symlink(foreign, path);
  await registry.release('session');
  await assert.rejects(readlink(path), { code: 'ENOENT' });
  assert.deepEqual(await readdir(foreign), ['precious']);
});
