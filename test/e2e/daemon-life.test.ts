/**
 * What the daemon, the helper and the command do when one of them, or the way to the cluster, goes away. Fifty requests a
 * second go from a pod through the redirected Service all the while, and none of them may fail or wait for long.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { after, afterEach, before, suite, test, type TestContext } from 'node:test';
import { deployShop } from '../../examples/shop/deploy.ts';
import { startLoad, type Load } from '../cluster/load.ts';
import { waitUntil } from '../cluster/wait.ts';
import type { ChildProcess } from 'node:child_process';
import type { Connection } from '../../api/schema.ts';
import { ended, speaks, startDeveloper, type Developer } from './developer.ts';

const password = 'not-a-secret-in-an-example';
/** Milliseconds that an answer may take: a dead way is noticed within 6 s, and then the originals answer. */
const longest = 6_000;

void suite('life of the daemon', { timeout: 600_000 }, () => {
  let dev: Developer;
  let load: Load;
  let program: ChildProcess;
  let untouched: () => Promise<void>;
  let counted = 0;

  before(async () => {
    dev = await startDeveloper({ name: 'daemon-life', helper: true });
    await deployShop(dev.namespace);
    load = await startLoad(dev.namespace, { url: 'http://stats-api/whoami' });
    untouched = await dev.whole();
    const answer = `JSON.stringify({ servedBy: require('node:os').hostname() })`;
    program = dev.machine.spawn([
      'node',
      '-e',
      `require('node:http').createServer((q, r) => r.end(${answer})).listen(3001, () => console.log('ready'))`,
    ]);
    await speaks(program);
  });
  after(async () => {
    program?.kill();
    await dev?.[Symbol.asyncDispose]();
  });

  // After each test, so that a lost request is found where it was lost. What the untouched Service beside it waited for
  // too is the machine's own slowness.
  afterEach(async (t) => {
    const all = await load.records();
    const fresh = all.slice(counted);
    counted = all.length;
    const [subject, control] = (['subject', 'control'] as const).map((target) =>
      fresh.filter((record) => record.target === target),
    );
    const [slowest, beside] = [subject, control].map((records = []) => Math.max(0, ...records.map(({ ms }) => ms)));
    (t as TestContext).diagnostic(`${subject?.length} requests, slowest answer ${slowest} ms, beside it ${beside} ms`);
    assert.deepEqual(
      subject?.filter(({ error }) => error !== undefined),
      [],
      'no request may fail',
    );
    assert.ok(slowest! <= longest + beside!, `an answer took ${slowest} ms`);
  });

  const here = (): Promise<unknown> => load.answeredBy((by) => by === dev.machine.name, 'the machine');
  const there = (): Promise<unknown> => load.answeredBy((by) => by.startsWith('stats-api-'), 'the original');
  const connect = (...rest: string[]): string[] => [
    'connect',
    'deploy/stats-api',
    '-n',
    dev.namespace.name,
    '--port',
    '3001',
    ...rest,
  ];
  const daemonPid = async (): Promise<number> => (await dev.json<{ pid: number }>(['daemon', 'status'])).pid;
  const killDaemon = async (): Promise<number> => {
    const pid = await daemonPid();
    process.kill(pid, 'SIGKILL');
    await waitUntil(() => !alive(pid), { what: 'end of the killed daemon' });
    return pid;
  };
  const connected = (since: string): Promise<Connection> =>
    waitUntil(
      async () => {
        const connection = await dev.connection();
        return connection.state === 'connected' && (connection.proof?.at ?? '') > since && connection;
      },
      { what: `connected, and proved after ${since}` },
    );
  /** What a restart must not change. */
  const lasting = ({ id, name, namespace, context, ports, agent, services }: Connection): object => ({
    id,
    name,
    namespace,
    context,
    ports,
    agent,
    addresses: services
      .filter((each) => each.namespace === namespace)
      .map(({ service, address, names, ports }) => ({ service, address, names, ports })),
  });
  const namesAnswer = async (): Promise<void> => {
    assert.equal(await dev.sh('redis-cli -h redis PING'), 'PONG');
    assert.match(await dev.sh('curl -sS http://catalog/articles'), /anchor/);
  };

  test('connect under load', async () => {
    await dev.must(connect());
    await here();
    await namesAnswer();
    assert.match(
      await dev.must(['env']),
      new RegExp(`PGPASSWORD='${password}'`),
      'the secret passes through the daemon',
    );
  });

  test('kill -9 of the daemon: the originals answer, and the next command finds everything as it was', async () => {
    const before = await dev.connection();
    const killed = await killDaemon();
    const at = new Date().toISOString();
    await there();
    assert.match(await dev.must(['list']), /stats-api/);
    assert.notEqual(await daemonPid(), killed);
    const resumed = await connected(at);
    assert.deepEqual(lasting(resumed), lasting(before));
    await here();
    await namesAnswer();
  });

  test('disconnect under load', async () => {
    await dev.must(['disconnect']);
    await there();
    await untouched();
  });

  test('SIGTERM of the daemon releases everything', async () => {
    await dev.must(connect());
    await here();
    const pid = await daemonPid();
    process.kill(pid, 'SIGTERM');
    await waitUntil(() => !alive(pid), { what: 'end of the daemon' });
    await untouched();
    assert.deepEqual(await dev.json(['status']), { daemon: null, saved: 0, connections: [] });
  });

  test('a link that is lost for 8 s: the originals answer, then the machine again', async () => {
    await dev.must(connect());
    await here();
    const before = await dev.connection();
    await dev.machine.cutLink();
    const cut = Date.now();
    const at = new Date().toISOString();
    try {
      const lost = await waitUntil(async () => (await dev.connection()).state === 'reconnecting' && dev.connection(), {
        what: 'notice of the loss',
        timeout: longest,
      });
      assert.ok((lost.reason ?? '').length > 0, 'it is said why');
      await there();
      await waitUntil(async () => (await load.records()).some((record) => record.at > cut + 8_000), {
        what: '8 s of requests',
      });
    } finally {
      await dev.machine.restoreLink();
    }
    assert.deepEqual(lasting(await connected(at)), lasting(before));
    await here();
    await namesAnswer();
  });

  test('kill -9 of the helper: what it missed is there when it is back', async () => {
    const pid = Number(await dev.sh('cat /var/lib/bowline/1500.pid', { user: 'root' }));
    process.kill(pid, 'SIGKILL');
    await waitUntil(async () => !(await dev.status()).helper.installed, { what: 'notice of the loss' });
    await dev.namespace.apply([
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'meanwhile' },
        spec: { selector: { app: 'redis' }, ports: [{ port: 6379 }] },
      },
    ]);
    const service = () =>
      dev.connection().then(({ services }) => services.find((each) => each.service === 'meanwhile'));
    const said = await waitUntil(async () => ((await service())?.notes ?? []).join(' ') || undefined, {
      what: 'why the name does not answer',
    });
    assert.match(said, /helper/i);
    await dev.must(['helper', 'install']);
    await waitUntil(async () => (await dev.sh('redis-cli -h meanwhile PING')) === 'PONG', { what: 'the new name' });
    await namesAnswer();
    assert.deepEqual((await service())?.notes, undefined);
    await dev.namespace.kubectl(['delete', 'service', 'meanwhile']);
    await waitUntil(() => !dev.machine.hosts().includes('meanwhile'), { what: 'the name goes' });
  });

  test('kill -9 of the daemon without another one: the hosts block goes away, and comes back with the next', async () => {
    const hosts = dev.machine.hosts();
    assert.match(hosts, /BEGIN bowline/);
    await killDaemon();
    const at = new Date().toISOString();
    await waitUntil(() => !dev.machine.hosts().includes('bowline'), {
      what: 'end of the hosts block',
      timeout: 15_000,
    });
    await there();
    await dev.must(['daemon', 'start']);
    await connected(at);
    await here();
    await namesAnswer();
    await dev.must(['disconnect']);
    await untouched();
  });

  test('kill -9 of a command that holds a connection unties, and ends its program', async () => {
    const command = dev.start(connect('--', 'sh', '-c', 'echo $$; exec sleep 600'));
    const end = once(command, 'exit');
    const spoken = once(command.stdout!, 'data') as Promise<[Buffer]>;
    await waitUntil(async () => (await dev.connection()).state === 'connected', { what: 'connection of the command' });
    const pid = Number((await spoken)[0].toString());
    await here();
    assert.ok(alive(pid));
    command.kill('SIGKILL');
    await end;
    await waitUntil(() => !alive(pid), { what: 'end of its program' });
    await waitUntil(async () => (await dev.status()).connections.length === 0, { what: 'release' });
    await there();
    await untouched();
  });

  test('a command that holds a connection keeps it over kill -9 of the daemon, and unties at its end', async () => {
    const command = dev.start(connect('--', 'sh', '-c', 'echo started; read -r line; echo "$line"; exit 7'));
    const result = ended(command);
    await speaks(command);
    await killDaemon();
    const at = new Date().toISOString();
    await connected(at); // the command itself starts the next daemon
    await here();
    command.stdin?.end('done\n');
    const { exitCode, stdout, stderr } = await result;
    assert.deepEqual([exitCode, stdout], [7, 'started\ndone\n'], stderr);
    await there();
    await untouched();
  });

  test('of two daemons started at once there is one', async () => {
    await dev.must(['daemon', 'stop']);
    assert.ok(!existsSync(dev.machine.path('/run/user/1500/bowline/files')), 'no folder stays in memory');
    const starts = await Promise.all([1, 2, 3].map(() => dev.json<{ pid: number }>(['daemon', 'start'])));
    const pid = await daemonPid();
    assert.deepEqual(
      starts.map((start) => start.pid),
      [pid, pid, pid],
    );
    await waitUntil(() => daemonsBeside(pid).length === 1, { what: 'end of the daemons that came too late' });
  });

  test('the lock of a killed daemon is taken over', async () => {
    const killed = await killDaemon();
    const { pid } = await dev.json<{ pid: number }>(['daemon', 'start']);
    assert.notEqual(pid, killed);
    assert.equal(await daemonPid(), pid);
  });

  test('the log is NDJSON, private, and holds no secret', async () => {
    const { logFile } = await dev.json<{ logFile: string }>(['daemon', 'status']);
    const path = dev.machine.path(logFile);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const text = readFileSync(path, 'utf8');
    const lines = text.trimEnd().split('\n');
    for (const line of lines) {
      const { time, level, event } = JSON.parse(line) as Record<string, string>;
      assert.ok(time !== undefined && !Number.isNaN(Date.parse(time)), line);
      assert.match(level ?? '', /^(debug|info|warn|error)$/, line);
      assert.match(event ?? '', /^[a-z][a-z.-]+$/, line);
    }
    assert.ok(lines.length > 20, `the life of several connections is in ${lines.length} lines`);
    assert.ok(!text.includes(password), 'the password of the shop is in the log');
    assert.ok(!text.includes('PRIVATE KEY'), 'the key of a session is in the log');
  });

  test('no request was lost in all of it', async (t) => {
    const { subject, control } = await load.stop();
    t.diagnostic(
      `${subject.requests} requests, ${JSON.stringify(subject.by)}, slowest ${subject.slowest} ms (beside it ${control.slowest} ms)`,
    );
    assert.deepEqual(subject.failed, []);
  });
});

/** A zombie that its parent has not looked at is over too. */
function alive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** The daemons of the same machine. */
function daemonsBeside(pid: number): string[] {
  const network = readlinkSync(`/proc/${pid}/ns/net`);
  return readdirSync('/proc').filter((entry) => {
    if (!/^\d+$/.test(entry)) return false;
    try {
      return (
        readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes('daemon/main.ts') &&
        readlinkSync(`/proc/${entry}/ns/net`) === network
      );
    } catch {
      return false;
    }
  });
}
