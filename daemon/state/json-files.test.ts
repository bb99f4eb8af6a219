import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { Log } from '../log.ts';
import { silentLog } from '../log.ts';
import { openJsonFile, openJsonFolder } from './json-files.ts';

let folder: string;
let reported: string[];
let log: Log;

beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 'bowline-')), 'sessions');
  reported = [];
  log = { ...silentLog, error: (event) => void reported.push(event) };
});
afterEach(() => rm(join(folder, '..'), { recursive: true, force: true }));

void test('what was saved is there for the next process, private to its user', async () => {
  const first = await openJsonFolder<{ n: number }>(folder, { version: 1, log });
  await Promise.all([first.save('a', { n: 1 }), first.save('b', { n: 2 }), first.save('c', { n: 3 })]);
  await first.remove('b');
  await first.remove('never-there');
  const second = await openJsonFolder<{ n: number }>(folder, { version: 1, log });
  assert.deepEqual(
    await second.load(),
    new Map([
      ['a', { n: 1 }],
      ['c', { n: 3 }],
    ]),
  );
  assert.equal((await stat(folder)).mode & 0o777, 0o700);
  assert.equal((await stat(join(folder, 'a.json'))).mode & 0o777, 0o600);
});

void test('saves of one file keep their order', async () => {
  const files = await openJsonFolder<number>(folder, { version: 1, log });
  await Promise.all([1, 2, 3, 4, 5].map((value) => files.save('x', value)));
  assert.deepEqual(await files.load(), new Map([['x', 5]]));
});

void test('what cannot be read is set aside and reported, the rest is loaded', async () => {
  const files = await openJsonFolder<number>(folder, { version: 2, log });
  await files.save('good', 7);
  await writeFile(join(folder, 'torn.json'), '{"version":2,"val');
  await writeFile(join(folder, 'old.json'), '{"version":1,"value":1}');
  await writeFile(join(folder, 'half.json.123.tmp'), '{');
  assert.deepEqual(await files.load(), new Map([['good', 7]]));
  assert.deepEqual(reported, ['state.unreadable', 'state.unreadable']);
  const names = await readdir(folder);
  assert.equal(names.filter((name) => name.includes('.unreadable-')).length, 2);
  assert.equal(names.filter((name) => name.endsWith('.tmp')).length, 0);
  // Not again at the next start.
  assert.deepEqual(await files.load(), new Map([['good', 7]]));
  assert.equal(reported.length, 2);
});

void test('an older version is migrated where there is a way', async () => {
  const file = await openJsonFile<number>(join(folder, 'one.json'), { version: 2, parse, log });
  assert.equal(await file.load(), undefined);
  await writeFile(join(folder, 'one.json'), '{"version":1,"value":4}');
  assert.equal(await file.load(), 40);
  await file.save(41);
  assert.equal(await readFile(join(folder, 'one.json'), 'utf8'), '{"version":2,"value":41}');
});

void test('an id never leaves the folder', async () => {
  const files = await openJsonFolder<number>(folder, { version: 1, log });
  for (const id of ['../x', 'a/b', '', '.hidden', 'a\0'])
    await assert.rejects(async () => files.save(id, 1), /not an id/);
});

function parse(value: unknown, version: number): number {
  return version === 1 ? Number(value) * 10 : Number(value);
}
