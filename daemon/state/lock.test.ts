import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { takeLock } from './lock.ts';

let folder: string;
let socket: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bowline-'));
  socket = join(folder, 'daemon.sock');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const program = `
import { takeLock } from ${JSON.stringify(fileURLToPath(new URL('lock.ts', import.meta.url)))};
const lock = await takeLock(process.argv[1], process.argv[2]);
process.stdout.write(lock ? 'taken' : 'held');
if (lock) setInterval(() => {}, 1000);
`;

/** A process that takes the lock and keeps it until it is killed; and what it got. */
async function contender(): Promise<{ got: string; child: ChildProcess }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, folder, socket], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
  return { got: chunk.toString(), child };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

void test('of many starts at once exactly one gets it, also after a dead one', { timeout: 60_000 }, async () => {
  for (const round of ['fresh', 'after a kill', 'after another']) {
    const all = await Promise.all(Array.from({ length: 6 }, contender));
    const winners = all.filter(({ got }) => got === 'taken');
    assert.equal(winners.length, 1, round);
    for (const { child } of all) await kill(child);
  }
  assert.equal((await readdir(folder)).length, 1, 'older locks and temporary files are gone');
});

void test('it is free again when it was released', async () => {
  const first = await takeLock(folder, socket);
  assert.ok(first);
  assert.equal(await takeLock(folder, socket), undefined);
  await first[Symbol.asyncDispose]();
  const second = await takeLock(folder, socket);
  assert.ok(second);
  await second[Symbol.asyncDispose]();
});

void test('a dead process whose socket still answers keeps it', async () => {
  const { child } = await contender();
  await kill(child);
  const server = createServer().listen(socket);
  await once(server, 'listening');
  assert.equal(await takeLock(folder, socket), undefined);
  server.close();
  await once(server, 'close');
  assert.ok(await takeLock(folder, socket));
});

void test(
  'a living process whose number another one had before does not keep it',
  { skip: process.platform !== 'linux' },
  async () => {
    await writeFile(join(folder, 'daemon.4.lock'), JSON.stringify({ pid: process.pid, started: '1', socket }));
    assert.ok(await takeLock(folder, socket));
    assert.deepEqual(await readdir(folder), ['daemon.5.lock']);
  },
);

void test('a lock file without sense is passed over', async () => {
  await writeFile(join(folder, 'daemon.1.lock'), '{"pid"');
  assert.ok(await takeLock(folder, socket));
});
