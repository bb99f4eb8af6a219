/**
 * The helper, killed after every single call by which it changes a file: at its next start the hosts file is as it was, to
 * the byte, and nothing else of it lies around. Three ways of writing: beside and renamed, in place (a second hard link keeps
 * the old file otherwise), and on a disk without room.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { connectHelper } from '../../helper/client.ts';
import { waitUntil } from '../cluster/wait.ts';

const nobody = 65_534;
const root = join(import.meta.dirname, '../..');
const original = '127.0.0.1 localhost\n10.9.8.7 other-host\n# by hand, without a newline at its end';
const first = [{ address: '127.66.77.1', names: ['redis', 'redis.shop'] }];
const second = [...first, { address: '127.66.77.2', names: ['postgres'] }];
/** In `npm test` every so manieth step; all of them with BOWLINE_FAULTS. */
const stride = process.env['BOWLINE_FAULTS'] === undefined ? 7 : 1;

interface Place extends Disposable {
  hosts: string;
  runDir: string;
  stateDir: string;
  folder: string;
}

function place(inPlace: boolean): Place {
  const folder = mkdtempSync(join(tmpdir(), 'bowline-crash-'));
  chmodSync(folder, 0o755);
  const hosts = join(folder, 'hosts');
  writeFileSync(hosts, original);
  if (inPlace) linkSync(hosts, join(folder, 'hosts.again'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  return { folder, hosts, runDir: join(folder, 'run'), stateDir: join(folder, 'state'), [Symbol.dispose]: remove };
}

/** Resolves when it serves, or has ended. */
async function start(here: Place, killAfter?: number): Promise<{ child: ChildProcess; writes: string[] }> {
  const preload = killAfter === undefined ? [] : ['--import', join(import.meta.dirname, 'kill-at-write.ts')];
  const program = [join(root, 'helper/main.ts'), '--user', String(nobody), '--redirects', 'off', '--grace-ms', '100'];
  const folders = ['--run-dir', here.runDir, '--state-dir', here.stateDir, '--hosts', here.hosts];
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...preload, ...program, ...folders], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { KILL_AFTER: String(killAfter) },
  });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said += text));
  const writes: string[] = [];
  child.once('close', () => writes.push(...[...said.matchAll(/^write \d+ (.*)$/gm)].map(([, what = '']) => what)));
  const socket = join(here.runDir, String(nobody), 'helper.sock');
  await waitUntil(
    async () => {
      if (child.exitCode !== null || child.signalCode !== null) return true;
      if (!existsSync(socket)) return false;
      const client = await connectHelper({ uid: nobody, runDir: here.runDir }, AbortSignal.timeout(5000));
      client.close();
      return true;
    },
    { what: 'the helper', interval: 5 },
  );
  return { child, writes };
}

/** A helper's whole life: names come, more come, they go, it is told to end. Answers what it wrote, until it was killed. */
async function live(here: Place, killAfter: number): Promise<string[]> {
  const { child, writes } = await start(here, killAfter);
  const end = child.exitCode === null && child.signalCode === null ? once(child, 'close') : Promise.resolve();
  try {
    const client = await connectHelper({ uid: nobody, runDir: here.runDir }, AbortSignal.timeout(5000));
    await client.apply({ hosts: first, lowPorts: [] });
    await client.apply({ hosts: second, lowPorts: [] });
    await client.release();
    client.close();
  } catch {
    // killed meanwhile
  }
  child.kill('SIGTERM');
  await end;
  return writes;
}

async function assertMended(here: Place, step: string): Promise<void> {
  const { child } = await start(here);
  await waitUntil(() => readFileSync(here.hosts, 'latin1') === original, { what: `the hosts file after ${step}` });
  const end = once(child, 'close');
  child.kill('SIGTERM');
  await end;
  assert.equal(readFileSync(here.hosts, 'latin1'), original, step);
  const left = readdirSync(here.folder).filter((name) => name.startsWith('.') || name.endsWith('.new'));
  assert.deepEqual([...left, ...readdirSync(here.stateDir).filter((name) => !name.includes('.journal'))], [], step);
}

const skip = process.getuid?.() === 0 ? false : 'the helper needs root';

void suite('the helper, killed after each write', { skip, timeout: 600_000, concurrency: 2 }, () => {
  for (const inPlace of [false, true]) {
    void test(inPlace ? 'in place' : 'beside and renamed', { timeout: 600_000 }, async (t) => {
      const steps = await whole(inPlace);
      assert.ok(steps.includes(inPlace ? 'ftruncate hosts' : `rename .hosts.bowline-${nobody}`), steps.join(', '));
      t.diagnostic(`${steps.length} steps, every ${stride}th`);
      for (let step = 1; step <= steps.length; step += stride) {
        using here = place(inPlace);
        const writes = await live(here, step);
        assert.equal(writes.length, step, 'killed there');
        await assertMended(here, `write ${step}, ${steps[step - 1]}`);
      }
    });
  }
});

async function whole(inPlace: boolean): Promise<string[]> {
  using here = place(inPlace);
  const steps = await live(here, 0);
  assert.equal(readFileSync(here.hosts, 'latin1'), original);
  return steps;
}
