/** Starts fake-daemon.ts as a process in folders of its own, for one test, and takes all of it away again. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openClient, type Client } from '../../api/client.ts';
import { pathsOf, platformFacts, type Paths } from '../../api/paths.ts';

export interface TestHome extends AsyncDisposable {
  env: Record<string, string>;
  paths: Paths;
  uid: number;
  /** Starts a fake daemon and waits until it answers. */
  startFake(more?: Record<string, string>): Promise<{ child: ChildProcess; client: Client }>;
  client(): Promise<Client>;
}

const fakeDaemon = fileURLToPath(new URL('fake-daemon.ts', import.meta.url));

/** Folders and an environment in which no daemon of the developer is met. */
export async function testHome(): Promise<TestHome> {
  const folder = await mkdtemp(join(tmpdir(), 'bowline-'));
  for (const name of ['run', 'home']) await mkdir(join(folder, name), { mode: 0o700 });
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: join(folder, 'home'),
    XDG_RUNTIME_DIR: join(folder, 'run'),
    XDG_STATE_HOME: join(folder, 'state'),
    XDG_CACHE_HOME: join(tmpdir(), `bowline-test-cache-${process.getuid?.() ?? 0}`),
  };
  const { uid } = platformFacts();
  const paths = pathsOf({ platform: process.platform, env, uid, home: env.HOME, tmpdir: tmpdir() });
  const children: ChildProcess[] = [];
  const client = (): Promise<Client> => openClient(paths, uid);
  return {
    env,
    paths,
    uid,
    client,
    async startFake(more = {}) {
      const child = spawn(process.execPath, [fakeDaemon], {
        env: { ...env, ...more },
        stdio: ['ignore', 'inherit', 'inherit'],
      });
      children.push(child);
      const found = await until(`the daemon answers`, async () => {
        const client = await openClient(paths, uid).catch(() => undefined);
        if (client?.pid !== child.pid) return undefined;
        // The endpoint is written a moment before anything listens there.
        const answers = await client?.call('ping', {}).then(
          () => true,
          () => false,
        );
        return answers ? client : undefined;
      });
      return { child, client: found };
    },
    async [Symbol.asyncDispose]() {
      for (const child of children) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      // One that a command of the test started.
      const left = await client().catch(() => undefined);
      if (left && lives(left.pid)) process.kill(left.pid, 'SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // One that ended and waits for its parent is over too.
  return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}

/** The first truthy answer; fails with `what` after a minute, which is much on a busy machine. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
): Promise<NonNullable<T>> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await setTimeout(20);
  }
}
