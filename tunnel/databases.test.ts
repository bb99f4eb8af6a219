/** Programs that no one here wrote, whose servers speak first or at once: psql and redis-cli through a local listener. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chown, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { dialTcp } from './dial.ts';
import { splice } from './splice.ts';
import { listen, outboundPair } from './testbed.ts';

const run = promisify(execFile);

void test('psql, one session and many', async () => {
  await using postgres = await startPostgres();
  await using through = await throughTunnel(postgres.port);
  const psql = async (sql: string): Promise<string> => {
    const options = ['-h', '127.0.0.1', '-p', String(through.port), '-U', 'shop', '-d', 'postgres', '-Atqc', sql];
    return (await run('psql', options, { maxBuffer: 64 * 1024 * 1024 })).stdout.trim();
  };
  assert.equal(await psql('select 6 * 7'), '42');
  const long = await psql("select string_agg(md5(n::text), '') from generate_series(1, 500000) n");
  const hash = await psql("select md5(string_agg(md5(n::text), '')) from generate_series(1, 500000) n");
  assert.equal(createHash('md5').update(long).digest('hex'), hash);
  const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => psql(`select ${n}`)));
  assert.deepEqual(
    answers,
    Array.from({ length: 10 }, (_, n) => String(n)),
  );
});

void test('redis-cli, one command and a long pipeline', async () => {
  await using redis = await startRedis();
  await using through = await throughTunnel(redis.port);
  const cli = async (...words: string[]): Promise<string> =>
    (await run('redis-cli', ['-h', '127.0.0.1', '-p', String(through.port), ...words])).stdout.trim();
  assert.equal(await cli('ping'), 'PONG');
  const pipe = spawn('redis-cli', ['-h', '127.0.0.1', '-p', String(through.port), '--pipe'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  for (let n = 0; n < 50_000; n += 1) pipe.stdin.write(`INCR counter\r\n`);
  pipe.stdin.end();
  pipe.stdout.resume();
  assert.equal((await once(pipe, 'exit'))[0], 0);
  assert.equal(await cli('get', 'counter'), '50000');
});

async function throughTunnel(port: number): Promise<{ port: number } & AsyncDisposable> {
  const pair = await outboundPair();
  const local = await listen((socket) => void splice(socket, pair.daemon.connect({ host: '127.0.0.1', port })));
  return {
    port: local.port,
    async [Symbol.asyncDispose]() {
      await local[Symbol.asyncDispose]();
      await pair[Symbol.asyncDispose]();
    },
  };
}

interface Server extends AsyncDisposable {
  port: number;
}

async function startPostgres(): Promise<Server> {
  const [version] = (await readdir('/usr/lib/postgresql')).toSorted().toReversed();
  const binaries = join('/usr/lib/postgresql', version ?? '', 'bin');
  const folder = await mkdtemp(join(tmpdir(), 'bowline-postgres-'));
  const user = await unprivileged('postgres');
  if (user !== undefined) await chown(folder, user.uid, user.gid);
  const options: SpawnOptions = { ...user, stdio: 'ignore', cwd: folder };
  const data = join(folder, 'data');
  const init = spawn(join(binaries, 'initdb'), ['-D', data, '-U', 'shop', '-A', 'trust', '--no-sync'], options);
  assert.equal((await once(init, 'exit'))[0], 0);
  const port = await freePort();
  const settings = ['-c', 'fsync=off', '-c', 'listen_addresses=127.0.0.1', '-c', `port=${port}`, '-k', folder];
  return supervise(spawn(join(binaries, 'postgres'), ['-D', data, ...settings], options), port, folder);
}

async function startRedis(): Promise<Server> {
  const folder = await mkdtemp(join(tmpdir(), 'bowline-redis-'));
  const port = await freePort();
  const settings = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder];
  return supervise(spawn('redis-server', settings, { stdio: 'ignore' }), port, folder);
}

async function supervise(child: ChildProcess, port: number, folder: string): Promise<Server> {
  const exited = once(child, 'exit');
  for (;;) {
    const socket = await dialTcp({ host: '127.0.0.1', port }).catch(() => undefined);
    socket?.destroy();
    if (socket !== undefined) break;
    assert.equal(child.exitCode, null, 'the server did not start');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    port,
    async [Symbol.asyncDispose]() {
      child.kill('SIGINT');
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** PostgreSQL does not run as root. */
async function unprivileged(name: string): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const line = (await readFile('/etc/passwd', 'utf8')).split('\n').find((entry) => entry.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return { uid: Number(uid), gid: Number(gid) };
}

async function freePort(): Promise<number> {
  const listener = await listen(() => {});
  await listener[Symbol.asyncDispose]();
  return listener.port;
}
