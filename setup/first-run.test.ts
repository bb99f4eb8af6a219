/** What `./bowline` does in a clone that has nothing yet. Brings the dependencies from the registry, as a user would. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, mkdir, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const root = join(import.meta.dirname, '..');
const run = promisify(execFile);
const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };

/** This checkout without what setup and builds have made. */
async function clone(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'bowline-clone-'));
  const made = new Set(['node_modules', '.git', 'dist', '.installing']);
  await cp(root, path, { recursive: true, filter: (file) => !made.has(basename(file)) });
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

test('two first commands at once: one installs, the other waits for it, both answer', async () => {
  await using fresh = await clone();
  // What npm has of these versions it need not ask for again.
  const env = { ...process.env, XDG_CACHE_HOME: join(fresh.path, '.cache'), npm_config_prefer_offline: 'true' };
  const first = (): Promise<{ stdout: string; stderr: string }> =>
    run(join(fresh.path, 'bowline'), ['--version'], { env });
  const both = await Promise.all([first(), first()]);
  for (const { stdout } of both) assert.match(stdout, new RegExp(`\\b${version}\\b`));
  const said = both.map(({ stderr }) => stderr);
  assert.equal(said.filter((text) => text.includes('installing the dependencies')).length, 1, said.join('---\n'));
  assert.equal(said.filter((text) => text.includes('waiting until process')).length, 1, said.join('---\n'));
  assert.equal((await first()).stderr, '', 'the next one installs nothing');
});

test('without npm: which step cannot be done, and what to do', async () => {
  await using fresh = await clone();
  const bin = join(fresh.path, 'bin');
  await mkdir(bin);
  for (const tool of ['sh', 'dirname', 'mkdir', 'cat', 'rm', 'sleep', 'touch', 'readlink'])
    await symlink((await run('which', [tool])).stdout.trim(), join(bin, tool));
  const failed = run(join(fresh.path, 'bowline'), ['--version'], { env: { HOME: fresh.path, PATH: bin } });
  await assert.rejects(failed, { code: 1, stderr: /setup needs npm .*install Node\.js and run this again/ });
});
