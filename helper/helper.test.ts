/** The helper as a process, as root, serving an unprivileged user; its hosts file and folders are temporary. */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdtempSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connectHelper } from './client.ts';
import type { HelperClient } from './protocol.ts';

const options = { skip: process.getuid?.() === 0 ? false : 'the helper needs root', timeout: 30_000 };
const nobody = 65_534;
/** On a loopback network that other test runs share. */
const own = (last: number): string => `127.66.${process.pid % 250}.${last}`;
const original = '127.0.0.1 localhost\n10.9.8.7 github.example other-host\n';

const cleanups: Array<() => void> = [];
after(() => cleanups.forEach((cleanup) => cleanup()));

interface Place {
  folder: string;
  hosts: string;
  runDir: string;
  stateDir: string;
}

function place(): Place {
  const folder = mkdtempSync(join(tmpdir(), 'bowline-helper-'));
  chmodSync(folder, 0o755);
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  const hosts = join(folder, 'hosts');
  writeFileSync(hosts, original);
  return { folder, hosts, runDir: join(folder, 'run'), stateDir: join(folder, 'state') };
}

/** A line of JavaScript: a server that says one word. */
function answer(port: number, address: string, word: string): string {
  return `require('net').createServer((s) => s.end('${word}')).listen(${port}, '${address}');`;
}

interface StartOptions {
  grace?: number;
  redirects?: 'auto' | 'off';
  /** A new network namespace, or the one of that process. */
  inNetwork?: number | true | undefined;
}

async function start(
  place: Place,
  { grace = 5000, redirects = 'off', inNetwork }: StartOptions = {},
): Promise<ChildProcess> {
  const { hosts, runDir, stateDir } = place;
  const journal = join(stateDir, `${nobody}.journal`);
  const starts = (): number => (existsSync(journal) ? readFileSync(journal, 'utf8').split('"started"').length - 1 : 0);
  const before = starts();
  const network: [string, ...string[]] =
    inNetwork === undefined
      ? ['env']
      : inNetwork === true
        ? ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh']
        : ['nsenter', `--net=/proc/${inNetwork}/ns/net`];
  const [command, ...args]: [string, ...string[]] = [
    ...network,
    process.execPath,
    join(import.meta.dirname, 'main.ts'),
    '--user',
    String(nobody),
    '--run-dir',
    runDir,
    '--state-dir',
    stateDir,
    '--hosts',
    hosts,
    '--grace-ms',
    String(grace),
    '--redirects',
    redirects,
  ];
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  cleanups.push(() => void child.kill('SIGKILL'));
  let complaint = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  await until(() => {
    if (child.exitCode !== null) throw new Error(`The helper ended: ${complaint}`);
    return starts() > before;
  });
  return child;
}

async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
}

async function client(place: Place): Promise<HelperClient> {
  const connected = await connectHelper({ uid: nobody, runDir: place.runDir }, AbortSignal.timeout(5000));
  cleanups.push(() => connected.close());
  return connected;
}

async function until(condition: () => boolean, within = 5_000): Promise<void> {
  const end = Date.now() + within;
  while (!condition()) {
    if (Date.now() > end) assert.fail(`not within ${within} ms: ${String(condition)}`);
    await delay(10);
  }
}

const read = (place: Place): string => readFileSync(place.hosts, 'utf8');

/** Runs a program to its end; answers exit code and output. */
async function run(command: string, args: string[], user = {}): Promise<{ code: number | null; output: string }> {
  const child = spawn(command, args, { cwd: '/', ...user, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

function asNobody(command: string, args: string[]): Promise<{ code: number | null; output: string }> {
  return run(command, args, { uid: nobody, gid: nobody });
}

void test('names come and go, refused ones are named, the rest of the file stays', options, async () => {
  const here = place();
  const child = await start(here);
  const helper = await client(here);
  const answer = await helper.apply({
    hosts: [
      { address: '127.66.77.1', names: ['redis', 'redis.shop', 'localhost', 'github.com', 'other-host'] },
      { address: '10.0.0.1', names: ['elsewhere'] },
    ],
    lowPorts: [],
  });
  assert.deepEqual(answer.refused.map(({ what }) => what).sort(), [
    'elsewhere',
    'github.com',
    'localhost',
    'other-host',
  ]);
  assert.ok(read(here).startsWith(original));
  assert.match(read(here), /\n127\.66\.77\.1 redis redis\.shop\n/);
  await helper.apply({ hosts: [], lowPorts: [] });
  assert.equal(read(here), original);
  await helper.apply({ hosts: [{ address: '127.66.77.1', names: ['redis'] }], lowPorts: [] });
  await helper.release();
  assert.equal(read(here), original);
  await stop(child, 'SIGTERM');
});

void test('a lost caller is undone after the grace, one that comes back in time is not', options, async () => {
  const here = place();
  const child = await start(here, { grace: 400 });
  const desired = { hosts: [{ address: '127.66.77.1', names: ['redis'] }], lowPorts: [] };
  const first = await client(here);
  await first.apply(desired);
  first.close();
  const second = await client(here);
  await second.apply(desired);
  const { ino } = statSync(here.hosts);
  await delay(600); // longer than the grace: the point is that nothing happens
  assert.equal(statSync(here.hosts).ino, ino);
  assert.match(read(here), /redis/);
  second.close();
  await until(() => read(here) === original, 3000);
  await stop(child, 'SIGTERM');
});

void test('SIGTERM undoes at once, kill -9 at the next start', options, async () => {
  const here = place();
  const desired = { hosts: [{ address: '127.66.77.1', names: ['redis'] }], lowPorts: [] };
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const child = await start(here);
    const helper = await client(here);
    await helper.apply(desired);
    await stop(child, signal);
    await helper.closed;
    if (signal === 'SIGKILL') {
      assert.match(read(here), /redis/);
      rmSync(join(here.stateDir, `${nobody}.journal`)); // the block must go without it too
      const again = await start(here);
      assert.equal(read(here), original);
      await stop(again, 'SIGTERM');
    }
    assert.equal(read(here), original);
  }
});

void test('on a full disk nothing new is done, and everything is undone', options, async () => {
  const here = place();
  const mounted = await run('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', here.folder]);
  assert.equal(mounted.code, 0, mounted.output);
  cleanups.unshift(() => void spawnSync('umount', ['-l', here.folder]));
  writeFileSync(here.hosts, original);
  const child = await start(here);
  const helper = await client(here);
  const redis = { address: '127.66.77.1', names: ['redis'] };
  await helper.apply({ hosts: [redis], lowPorts: [] });
  const withRedis = read(here);
  const rest = openSync(join(here.folder, 'rest'), 'w');
  assert.throws(() => {
    for (;;) writeSync(rest, Buffer.alloc(4096));
  }, /ENOSPC/);
  closeSync(rest);
  const more = { address: '127.66.77.2', names: Array.from({ length: 200 }, (_, index) => `more-${index}`) };
  await assert.rejects(helper.apply({ hosts: [redis, more], lowPorts: [] }), /ENOSPC/);
  assert.equal(read(here), withRedis);
  await helper.release();
  assert.equal(read(here), original);
  assert.deepEqual(
    readdirSync(here.folder).filter((name) => name.startsWith('.hosts')),
    [],
  );
  await stop(child, 'SIGTERM');
});

void test('the block is put back when another program rewrites the file', options, async () => {
  const here = place();
  const child = await start(here);
  const helper = await client(here);
  await helper.apply({ hosts: [{ address: '127.66.77.1', names: ['redis', 'shop-db'] }], lowPorts: [] });
  writeFileSync(here.hosts, '127.0.0.1 localhost\n10.1.1.1 shop-db\n');
  await until(() => read(here).includes('127.66.77.1 redis\n'));
  await helper.release();
  assert.equal(read(here), '127.0.0.1 localhost\n10.1.1.1 shop-db\n');
  await stop(child, 'SIGTERM');
});

void test('another user cannot open the socket, nor replace it', options, async () => {
  const here = place();
  const child = await start(here);
  const folder = join(here.runDir, String(nobody));
  const path = join(folder, 'helper.sock');
  const { mode, uid } = statSync(path);
  assert.deepEqual([mode & 0o777, uid], [0o600, nobody]);
  assert.deepEqual([statSync(folder).mode & 0o777, statSync(folder).uid], [0o755, 0]);
  assert.equal(statSync(here.stateDir).mode & 0o777, 0o700);
  const tryConnect = `require('net').connect(${JSON.stringify(path)}).on('connect',()=>{console.log('connected');process.exit()}).on('error',(e)=>{console.log(e.code);process.exit()})`;
  const as = async (id: number): Promise<string> => {
    const child = spawn(process.execPath, ['-e', tryConnect], {
      uid: id,
      gid: id,
      cwd: '/',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [output] = (await once(child.stdout, 'data')) as [Buffer];
    return output.toString().trim();
  };
  assert.equal(await as(nobody), 'connected');
  assert.equal(await as(12_345), 'EACCES');
  assert.notEqual((await asNobody('rm', ['-f', path])).code, 0);
  assert.notEqual((await asNobody('mv', [path, `${path}.old`])).code, 0);
  await stop(child, 'SIGTERM');
});

void test('a folder prepared by somebody else is refused', options, async () => {
  const here = place();
  mkdirSync(join(here.runDir, String(nobody)), { recursive: true });
  await asNobody('true', []);
  const { chownSync } = await import('node:fs');
  chownSync(join(here.runDir, String(nobody)), nobody, nobody);
  await assert.rejects(start(here), /refusing to use it/);
});

void test('a second helper for the same user does not start', options, async () => {
  const here = place();
  const child = await start(here);
  const helper = await client(here);
  await helper.apply({ hosts: [{ address: '127.66.77.1', names: ['redis'] }], lowPorts: [] });
  const second = spawn(
    process.execPath,
    [
      join(import.meta.dirname, 'main.ts'),
      '--user',
      String(nobody),
      '--run-dir',
      here.runDir,
      '--state-dir',
      here.stateDir,
      '--hosts',
      here.hosts,
    ],
    { stdio: 'ignore' },
  );
  const [code] = (await once(second, 'exit')) as [number];
  assert.notEqual(code, 0);
  assert.match(read(here), /redis/);
  await stop(child, 'SIGTERM');
});

void test('one daemon holds the names', options, async () => {
  const here = place();
  const child = await start(here);
  const first = await client(here);
  const second = await client(here);
  await first.apply({ hosts: [], lowPorts: [] });
  await assert.rejects(second.apply({ hosts: [], lowPorts: [] }), /Another daemon/);
  await assert.rejects(second.release(), /Another daemon/);
  await first.release();
  await second.apply({ hosts: [], lowPorts: [] });
  await stop(child, 'SIGTERM');
});

void test('what is no request is answered with a reason and changes nothing', options, async () => {
  const here = place();
  const child = await start(here);
  const hello = '{"id":1,"op":"hello","protocol":1}\n';
  const cases: Array<[send: string, answer: RegExp]> = [
    ['nonsense\n', /not JSON/],
    ['{"id":1,"op":"apply","desired":{"hosts":[],"lowPorts":[]}}\n', /hello comes first/],
    ['{"id":1,"op":"hello","protocol":99}\n', /protocol 1, the caller 99/],
    [`${hello}{"id":2,"op":"run","command":"id"}\n`, /Unknown operation/],
    [`${hello}{"id":2,"op":"apply","desired":{"hosts":[],"lowPorts":[],"path":"/etc/passwd"}}\n`, /Unknown field path/],
    [
      `${hello}{"id":2,"op":"apply","desired":{"hosts":[{"address":"127.66.0.1","names":[7]}],"lowPorts":[]}}\n`,
      /not a string/,
    ],
    [
      `${hello}{"id":2,"op":"apply","desired":{"hosts":[{"address":"127.66.0.1","names":${JSON.stringify(Array.from({ length: 20_001 }, () => 'x'))}}],"lowPorts":[]}}\n`,
      /at most 20000/,
    ],
    [`${hello}${'x'.repeat(9 * 1024 * 1024)}`, /too long/],
    [`${hello}[]\n`, /not an object/],
  ];
  for (const [send, expected] of cases) {
    const socket = connect(join(here.runDir, String(nobody), 'helper.sock'));
    let answer = '';
    socket.on('error', () => undefined);
    socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
    socket.write(send);
    await until(() => expected.test(answer)).catch(() => assert.match(answer, expected, send.slice(0, 200)));
    socket.destroy();
  }
  assert.equal(read(here), original);
  assert.equal(child.exitCode, null);
  await stop(child, 'SIGTERM');
});

void test('low ports are served by a process of the user, with half-close and reset', options, async () => {
  const here = place();
  const child = await start(here);
  const helper = await client(here);
  const address = own(9);
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let request = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      request += text;
      if (request === 'reset') socket.resetAndDestroy();
    });
    socket.on('end', () => socket.end(`after your end: ${request}`));
    socket.on('error', () => undefined);
  });
  server.listen(0, address);
  await once(server, 'listening');
  cleanups.push(() => server.close());
  const { port: targetPort } = server.address() as { port: number };
  const answer = await helper.apply({ hosts: [], lowPorts: [{ address, port: 917, targetPort }] });
  assert.deepEqual(answer.refused, []);

  const half = connect({ host: address, port: 917, allowHalfOpen: true });
  half.end('hello');
  assert.equal((await half.setEncoding('utf8').toArray()).join(''), 'after your end: hello');
  const reset = connect({ host: address, port: 917 });
  reset.write('reset');
  const [error] = (await once(reset, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNRESET');

  const relay = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ')[0] ?? '';
  assert.match(
    readFileSync(`/proc/${relay}/status`, 'utf8'),
    /^Uid:\t65534\t65534\t65534\t65534\nGid:\t65534\t65534\t65534\t65534\n[^]*Groups:\t *\n/m,
  );

  // The user may kill his relay; it comes back.
  await asNobody('kill', ['-9', relay]);
  await until(
    () =>
      readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim() !== '' &&
      !existsSync(`/proc/${relay}`),
  );
  const ask = async (): Promise<string> => {
    const socket = connect({ host: address, port: 917, allowHalfOpen: true });
    socket.end('again');
    return (await socket.setEncoding('utf8').toArray()).join('');
  };
  let text = '';
  for (const end = Date.now() + 5000; text === '' && Date.now() < end;) text = await ask().catch(() => delay(20, ''));
  assert.equal(text, 'after your end: again');

  // taken by another program: refused with its owner
  const taken = createServer().listen(918, own(8));
  cleanups.push(() => taken.close());
  await once(taken, 'listening');
  const second = await helper.apply({
    hosts: [],
    lowPorts: [
      { address, port: 917, targetPort },
      { address: own(8), port: 918, targetPort },
    ],
  });
  assert.match(
    second.refused[0]?.reason ?? '',
    new RegExp(`taken by .* \\(pid ${process.pid}\\), which listens on ${own(8)}:918`),
  );

  await helper.release();
  // The relay hears of it a moment later; what arrives until then is reset.
  let closed = '';
  for (const end = Date.now() + 5000; closed !== 'ECONNREFUSED' && Date.now() < end;)
    closed = await ask().catch((error: NodeJS.ErrnoException) => error.code ?? '');
  assert.equal(closed, 'ECONNREFUSED');
  await stop(child, 'SIGTERM');
});

void test('curl reaches a low port as an unprivileged user', options, async () => {
  const here = place();
  const child = await start(here);
  const helper = await client(here);
  const { createServer: createHttpServer } = await import('node:http');
  const server = createHttpServer((request, response) => response.end(`you asked for ${request.url}`)).listen(
    0,
    own(10),
  );
  cleanups.push(() => server.close());
  await once(server, 'listening');
  await helper.apply({
    hosts: [],
    lowPorts: [{ address: own(10), port: 919, targetPort: (server.address() as { port: number }).port }],
  });
  const { code, output } = await asNobody('curl', ['-sS', '--max-time', '5', `http://${own(10)}:919/path`]);
  assert.deepEqual([code, output], [0, 'you asked for /path']);
  await stop(child, 'SIGTERM');
});

void test('redirects: any port, past a program on 0.0.0.0, and nothing is left of them', options, async (t) => {
  const here = place();
  // A network of its own: netfilter rules are seen by all.
  const child = await start(here, { redirects: 'auto', inNetwork: true });
  const inside = (command: string): Promise<{ code: number | null; output: string }> =>
    run('nsenter', [`--net=/proc/${child.pid}/ns/net`, 'sh', '-c', command]);
  const helper = await client(here);
  if (!helper.redirects) {
    t.skip('no iptables here');
    await stop(child, 'SIGTERM');
    return;
  }
  const rules = async (): Promise<string> => (await inside('iptables -t nat -S')).output;
  const untouched = await rules();
  assert.doesNotMatch(untouched, /BOWLINE/);
  const servers = spawn(
    'nsenter',
    [
      `--net=/proc/${child.pid}/ns/net`,
      process.execPath,
      '-e',
      `${answer(80, '0.0.0.0', 'wildcard')}${answer(26400, '127.66.77.1', 'service')}setTimeout(()=>console.log('up'),100)`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  cleanups.push(() => void servers.kill('SIGKILL'));
  await once(servers.stdout, 'data');
  const wanted = [80, 5432].map((port) => ({ address: '127.66.77.1', port, targetPort: 26_400 }));
  assert.deepEqual((await helper.apply({ hosts: [], lowPorts: wanted })).refused, []);
  const ask = async (port: number, address = '127.66.77.1'): Promise<string> =>
    (
      await inside(
        `${process.execPath} -e "require('net').connect(${port}, '${address}').on('error', (e) => console.log(e.code)).pipe(process.stdout)"`,
      )
    ).output.trim();
  assert.equal(await ask(80), 'service');
  assert.equal(await ask(5432), 'service');
  assert.equal(await ask(80, '127.66.77.2'), 'wildcard');
  assert.equal(await ask(80, '127.0.0.1'), 'wildcard');

  await helper.apply({ hosts: [], lowPorts: wanted.slice(1) });
  assert.equal(await ask(80), 'wildcard');
  assert.equal(await ask(5432), 'service');
  await helper.release();
  assert.equal(await rules(), untouched);

  // killed: the next start cleans up
  const second = await client(here);
  await second.apply({ hosts: [], lowPorts: wanted });
  await stop(child, 'SIGKILL'); // the servers keep the network
  const left = async (): Promise<string> =>
    (await run('nsenter', [`--net=/proc/${servers.pid}/ns/net`, 'iptables', '-t', 'nat', '-S'])).output;
  assert.match(await left(), /BOWLINE/);
  const again = await start(here, { redirects: 'auto', inNetwork: servers.pid });
  assert.equal(await left(), untouched);
  await stop(again, 'SIGTERM');
});

void test('no helper: a typed error with the next step', async () => {
  const here = place();
  await assert.rejects(client(here), { code: 'HELPER_MISSING', hint: /helper install/ });
});
