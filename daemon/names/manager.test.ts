/** Names with a real helper process, real sockets and, for the cluster, a list of objects in memory. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { KubernetesObject, V1Service } from '@kubernetes/client-node';
import type { NamedService } from '../../api/schema.ts';
import { connectHelper } from '../../helper/client.ts';
import { DialError, type Target, type TunnelStream } from '../../tunnel/tunnel.ts';
import type { Cluster, Right, WatchEvent } from '../cluster/cluster.ts';
import type { Resource } from '../cluster/resources.ts';
import { silentLog } from '../log.ts';
import { startNames } from './manager.ts';
import type { NamesAttachment, NamesManager, NamesScope } from './names.ts';

const root = process.getuid?.() === 0;
const needsRoot = { skip: root ? false : 'the helper needs root', timeout: 30_000 };
const bounded = { timeout: 30_000 };
const nobody = 65_534;
const folder = mkdtempSync(join(tmpdir(), 'bowline-names-'));
chmodSync(folder, 0o755);
const hosts = join(folder, 'hosts');
const original = '127.0.0.1 localhost\n';
const runDir = join(folder, 'run');

/** Says its name first, then echoes; stands for the cluster's side. */
let far: Server;
let farPort: number;
before(async () => {
  far = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.write('hello from afar\n');
    socket.pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(far, 'listening');
  farPort = (far.address() as { port: number }).port;
});
after(() => {
  far.close();
  rmSync(folder, { recursive: true, force: true });
});

const nothing = (): void => undefined;

class MemoryCluster {
  readonly context: string;
  readonly server = 'https://memory';
  readonly objects = new Map<string, KubernetesObject>();
  readonly #watchers = new Set<{
    plural: string;
    namespace: string | undefined;
    push: (event: WatchEvent<KubernetesObject>) => void;
  }>();
  watched: string[] = [];
  mayListAll = true;

  constructor(context = 'memory') {
    this.context = context;
  }

  asCluster(): Cluster {
    return this as unknown as Cluster;
  }

  async missingRights(rights: Right[]): Promise<Right[]> {
    return this.mayListAll ? [] : rights;
  }

  async *watch<T extends KubernetesObject>(
    resource: Resource<T>,
    options: { namespace?: string; signal: AbortSignal },
  ): AsyncGenerator<WatchEvent<T>> {
    const { namespace, signal } = options;
    this.watched.push(`${resource.plural}@${namespace ?? '*'}`);
    const queue: Array<WatchEvent<KubernetesObject>> = [];
    let wake = nothing;
    const watcher = {
      plural: resource.plural,
      namespace,
      push: (event: WatchEvent<KubernetesObject>): void => {
        queue.push(event);
        wake();
      },
    };
    this.#watchers.add(watcher);
    signal.addEventListener('abort', () => wake(), { once: true });
    const objects =
      resource.plural === 'services'
        ? [...this.objects.values()].filter(
            (object) => namespace === undefined || object.metadata?.namespace === namespace,
          )
        : [];
    yield { type: 'reset', objects: objects as T[] };
    while (!signal.aborted) {
      const event = queue.shift();
      if (event === undefined) await new Promise<void>((resolve) => (wake = resolve));
      else yield event as WatchEvent<T>;
    }
    this.#watchers.delete(watcher);
  }

  put(object: V1Service): void {
    const key = `${object.metadata?.namespace}/${object.metadata?.name}`;
    this.#tell({ type: this.objects.has(key) ? 'modified' : 'added', object });
    this.objects.set(key, object);
  }

  delete(key: string): void {
    const object = this.objects.get(key);
    assert.ok(object);
    this.objects.delete(key);
    this.#tell({ type: 'deleted', object });
  }

  #tell(event: { type: 'added' | 'modified' | 'deleted'; object: KubernetesObject }): void {
    for (const { plural, namespace, push } of this.#watchers)
      if (plural === 'services' && (namespace === undefined || namespace === event.object.metadata?.namespace))
        push(event);
  }
}

function service(namespace: string, name: string, ...ports: number[]): V1Service {
  return {
    metadata: { namespace, name },
    spec: { clusterIP: '10.96.0.1', ports: ports.map((port) => ({ port, name: `p${port}` })) },
  };
}

const dialled: Target[] = [];
function noTunnel(): TunnelStream {
  throw new DialError('EHOSTUNREACH', 'reconnecting');
}

function dial(target: Target): TunnelStream {
  dialled.push(target);
  const socket = connect({ port: farPort, host: '127.0.0.1', allowHalfOpen: true });
  return Object.assign(socket, { established: once(socket, 'connect').then(() => undefined) });
}

const journal = join(folder, 'state', `${nobody}.journal`);

async function startHelper(redirects = 'off'): Promise<ChildProcess> {
  rmSync(journal, { force: true });
  const child = spawn(
    process.execPath,
    [
      join(import.meta.dirname, '../../helper/main.ts'),
      '--user',
      String(nobody),
      '--run-dir',
      runDir,
      '--state-dir',
      join(folder, 'state'),
      '--hosts',
      hosts,
      '--redirects',
      redirects,
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  await until(() => existsSync(journal) && readFileSync(journal, 'utf8').includes('"started"'));
  return child;
}

async function stopped(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
}

async function manager(overrides: { saved?: Record<string, string> } = {}): Promise<NamesManager> {
  return startNames(
    {
      connectHelper: (signal) => connectHelper({ uid: nobody, runDir }, signal),
      allocationStore: {
        load: async () => overrides.saved ?? {},
        save: async (all) => void Object.assign(overrides.saved ?? {}, all),
      },
      log: silentLog,
      platform: process.platform,
      uid: nobody,
      retryAfter: 100,
    },
    new AbortController().signal,
  );
}

function scope(cluster: MemoryCluster, overrides: Partial<NamesScope> = {}): NamesScope {
  return {
    cluster: cluster.asCluster(),
    namespace: 'shop',
    dial,
    mode: 'env',
    clusterDomain: 'cluster.local',
    onChange: () => undefined,
    ...overrides,
  };
}

async function until(condition: () => boolean, within = 30_000): Promise<void> {
  const end = Date.now() + within;
  while (!condition()) {
    if (Date.now() > end) assert.fail(`not within ${within} ms: ${String(condition)}`);
    await delay(10);
  }
}

function find(attachment: NamesAttachment, name: string, namespace = 'shop'): NamedService {
  const found = attachment.services().find((service) => service.service === name && service.namespace === namespace);
  assert.ok(found, `no ${namespace}/${name} in ${JSON.stringify(attachment.services())}`);
  return found;
}

/** What a program gets: the greeting and the echo of `text`. */
async function talk(address: string | undefined, port: number, text = 'x'): Promise<string> {
  const socket = connect({ host: address ?? '', port, allowHalfOpen: true });
  socket.setTimeout(5000, () => socket.destroy(new Error('no answer within 5 s')));
  socket.end(text);
  return (await socket.setEncoding('utf8').toArray()).join('');
}

void test(
  'env mode: every service of the namespace answers on its own address, the server may speak first',
  bounded,
  async () => {
    const cluster = new MemoryCluster();
    cluster.put(service('shop', 'redis', 26_379));
    cluster.put(service('pay', 'redis', 26_379));
    cluster.put({
      spec: { clusterIP: '10.96.0.1', ports: [{ port: 26_380 }] },
      metadata: { namespace: 'shop', name: 'ours', labels: { 'app.kubernetes.io/managed-by': 'bowline' } },
    });
    await using names = await manager();
    await using attachment = await names.attach(scope(cluster), AbortSignal.timeout(5000));
    const { address, ports, names: onMachine, hostNames } = find(attachment, 'redis');
    assert.deepEqual(ports, [{ port: 26_379, local: 26_379, name: 'p26379' }]);
    assert.deepEqual(onMachine, []);
    assert.deepEqual(hostNames?.slice(0, 2), ['redis', 'redis.shop'], 'for a command with a hosts file of its own');
    assert.notEqual(find(attachment, 'redis', 'pay').address, address);
    assert.equal(attachment.services().length, 2);
    assert.equal(await talk(address, 26_379), 'hello from afar\nx');
    assert.deepEqual(dialled.at(-1), { host: '10.96.0.1', port: 26_379 });
  },
);

void test('what a killed daemon left in the hosts file goes as soon as the next one says so', needsRoot, async () => {
  writeFileSync(hosts, original);
  const helper = await startHelper();
  process.seteuid?.(nobody);
  try {
    const killed = await connectHelper({ uid: nobody, runDir }, AbortSignal.timeout(10_000));
    await killed.apply({ hosts: [{ address: '127.66.0.1', names: ['web.shop'] }], lowPorts: [] });
    killed.close();
    assert.notEqual(readFileSync(hosts, 'utf8'), original);
    await using names = await manager();
    await names.releaseFormer();
    assert.equal(readFileSync(hosts, 'utf8'), original);
  } finally {
    process.seteuid?.(0);
    await stopped(helper, 'SIGTERM');
  }
});

void test('hosts mode: names in the block, low ports through the helper, all gone at the end', needsRoot, async () => {
  writeFileSync(hosts, original);
  const helper = await startHelper();
  const cluster = new MemoryCluster();
  cluster.put(service('shop', 'web', 917, 26_381));
  cluster.put(service('default', 'kubernetes', 443));
  process.seteuid?.(nobody);
  try {
    await using names = await manager();
    cluster.put({
      metadata: { namespace: 'shop', name: 'dns' },
      spec: {
        clusterIP: '10.96.0.2',
        ports: [
          { port: 53, protocol: 'UDP', name: 'u' },
          { port: 53, name: 't' },
        ],
      },
    });
    assert.deepEqual(await names.mode(), { mode: 'hosts' });
    const attachment = await names.attach(
      scope(cluster, { mode: 'hosts', withoutNamespace: ['web'] }),
      AbortSignal.timeout(5000),
    );
    const web = find(attachment, 'web');
    assert.deepEqual(web.names, [
      'web',
      'web.shop',
      'web.shop.svc',
      'web.svc.cluster.local',
      'web.shop.svc.cluster.local',
    ]);
    assert.deepEqual(
      web.ports.map(({ port, local }) => [port, local]),
      [
        [917, 917],
        [26_381, 26_381],
      ],
    );
    assert.deepEqual(find(attachment, 'kubernetes', 'default').names, [
      'kubernetes.default',
      'kubernetes.default.svc',
      'kubernetes.default.svc.cluster.local',
    ]);
    assert.match(readFileSync(hosts, 'utf8'), new RegExp(`\n${web.address} web web.shop web.shop.svc `));
    assert.deepEqual(find(attachment, 'dns').ports, [
      { port: 53, name: 'u', protocol: 'UDP', problem: 'UDP is not carried, only TCP.' },
      { port: 53, local: 53, name: 't' },
    ]);
    assert.equal(await talk(web.address, 917), 'hello from afar\nx');
    await attachment[Symbol.asyncDispose]();
    assert.equal(readFileSync(hosts, 'utf8'), original);
    process.seteuid?.(0);
    assert.match(readFileSync(journal, 'utf8'), /"low-ports".*"open":3/); // not opened by this process itself
  } finally {
    process.seteuid?.(0);
    await stopped(helper, 'SIGTERM');
  }
});

void test(
  'with redirects no port is bound: a program on 0.0.0.0 is not in the way, nor kept from starting',
  needsRoot,
  async (t) => {
    writeFileSync(hosts, original);
    const helper = await startHelper('auto');
    const before = createServer((socket) => socket.end('mine')).listen(26_393, '0.0.0.0');
    await once(before, 'listening');
    const cluster = new MemoryCluster();
    cluster.put(service('shop', 'web', 918, 26_393, 26_394));
    try {
      await using names = await manager();
      await using env = await names.attach(scope(cluster), AbortSignal.timeout(5000));
      assert.match(find(env, 'web').ports[1]?.problem ?? '', /taken by/);
      const attachment = await names.attach(scope(cluster, { mode: 'hosts' }), AbortSignal.timeout(5000));
      if (!readFileSync(journal, 'utf8').includes('"redirects":true')) return t.skip('no iptables here');
      const web = find(attachment, 'web');
      assert.deepEqual(
        web.ports.map(({ port, local, problem }) => [port, local, problem]),
        [918, 26_393, 26_394].map((port) => [port, port, undefined]),
      );
      for (const port of [918, 26_393, 26_394])
        assert.equal(await talk(web.address, port), 'hello from afar\nx', String(port));
      assert.equal(await talk('127.0.0.1', 26_393), 'mine');
      const later = createServer().listen(26_394, '0.0.0.0');
      await once(later, 'listening');
      later.close();
      // The connection by variables keeps its ports when the one with names goes.
      await attachment[Symbol.asyncDispose]();
      assert.equal(await talk(web.address, find(env, 'web').ports[2]?.local ?? 0), 'hello from afar\nx');
      assert.equal(find(env, 'web').ports[2]?.local, 26_394);
    } finally {
      before.close();
      await stopped(helper, 'SIGTERM');
    }
  },
);

void test('ports of the own program are left alone', bounded, async () => {
  const cluster = new MemoryCluster();
  cluster.put(service('shop', 'api', 26_395));
  await using names = await manager();
  await using first = await names.attach(scope(cluster), AbortSignal.timeout(5000));
  assert.equal(find(first, 'api').ports[0]?.local, 26_395);
  await using second = await names.attach(scope(cluster, { localPorts: [26_395] }), AbortSignal.timeout(5000));
  const program = createServer().listen(26_395, '0.0.0.0');
  await once(program, 'listening');
  assert.equal(find(second, 'api').ports[0]?.local, 36_395);
  assert.equal(await talk(find(first, 'api').address, 36_395), 'hello from afar\nx');
  program.close();
});

void test('the helper is killed: names are put back by themselves when it is there again', needsRoot, async () => {
  writeFileSync(hosts, original);
  let helper = await startHelper();
  const cluster = new MemoryCluster();
  cluster.put(service('shop', 'web', 26_382));
  await using names = await manager();
  await using attachment = await names.attach(scope(cluster, { mode: 'hosts' }), AbortSignal.timeout(5000));
  await stopped(helper, 'SIGKILL');
  await until(() => find(attachment, 'web').names.length === 0);
  assert.match(find(attachment, 'web').notes?.join() ?? '', /helper/i);
  helper = await startHelper();
  await until(() => find(attachment, 'web').names.length > 0);
  assert.match(readFileSync(hosts, 'utf8'), / web /);
  await stopped(helper, 'SIGTERM');
});

void test('the hosts file cannot be written for a while: said, and written when it can be', needsRoot, async () => {
  writeFileSync(hosts, original);
  const helper = await startHelper();
  const cluster = new MemoryCluster();
  cluster.put(service('shop', 'web', 26_398));
  await using names = await manager();
  await using attachment = await names.attach(scope(cluster, { mode: 'hosts' }), AbortSignal.timeout(5000));
  renameSync(hosts, `${hosts}.away`);
  mkdirSync(hosts);
  cluster.put(service('shop', 'later', 26_399));
  await until(() => (attachment.services().find((one) => one.service === 'later')?.notes ?? []).length > 0);
  rmdirSync(hosts);
  renameSync(`${hosts}.away`, hosts);
  await until(() => find(attachment, 'later').names.length > 0);
  assert.match(readFileSync(hosts, 'utf8'), / later /);
  await stopped(helper, 'SIGTERM');
});

void test('no helper: the mode is env, with the reason', bounded, async () => {
  await using names = await manager();
  const { mode, reason } = await names.mode();
  assert.equal(mode, 'env');
  assert.match(reason ?? '', /helper install/);
});

void test('changes appear within a second and leave open connections alone', bounded, async () => {
  const cluster = new MemoryCluster();
  cluster.put(service('shop', 'stays', 26_383));
  let changes = 0;
  await using names = await manager();
  await using attachment = await names.attach(
    scope(cluster, { onChange: () => (changes += 1) }),
    AbortSignal.timeout(5000),
  );
  const { address } = find(attachment, 'stays');
  const open = connect(26_383, address ?? '');
  await once(open, 'data');
  const at = performance.now();
  changes = 0;
  for (let index = 0; index < 50; index += 1) cluster.put(service('shop', `new-${index}`, 26_384));
  await until(() => attachment.services().length === 51);
  assert.ok(performance.now() - at < 1000);
  assert.ok(changes <= 3, `${changes} changes for one burst`);
  assert.equal(await talk(find(attachment, 'new-49').address, 26_384), 'hello from afar\nx');
  cluster.put(service('shop', 'stays', 26_383, 26_385));
  await until(() => find(attachment, 'stays').ports.length === 2);
  changes = 0;
  await using another = await names.attach(scope(cluster), AbortSignal.timeout(5000));
  assert.equal(another.services().length, 51);
  assert.equal(changes, 0); // nothing of the first has changed
  open.write('still here');
  assert.equal(String((await once(open, 'data'))[0]), 'still here');
  open.destroy();
  const gone = find(attachment, 'new-7').address;
  cluster.delete('shop/new-7');
  await until(() => attachment.services().every(({ service }) => service !== 'new-7'));
  await assert.rejects(talk(gone, 26_384), { code: 'ECONNREFUSED' });
});

void test('a taken port is reported with its owner and opened when the owner goes', bounded, async () => {
  const other = createServer().listen(26_386, '0.0.0.0');
  await once(other, 'listening');
  const cluster = new MemoryCluster();
  cluster.put(service('shop', 'db', 26_386, 26_387));
  await using names = await manager();
  await using attachment = await names.attach(scope(cluster), AbortSignal.timeout(5000));
  const [taken, free] = find(attachment, 'db').ports;
  assert.match(
    taken?.problem ?? '',
    new RegExp(`taken by .* \\(pid ${process.pid}\\), which listens on 0.0.0.0:26386`),
  );
  assert.equal(taken?.local, undefined);
  assert.equal(free?.local, 26_387);
  other.close();
  await until(() => find(attachment, 'db').ports[0]?.local === 26_386);
  assert.equal(await talk(find(attachment, 'db').address, 26_386), 'hello from afar\nx');
});

void test('a connection that cannot be dialled is reset', bounded, async () => {
  const cluster = new MemoryCluster();
  cluster.put(service('shop', 'db', 26_388));
  await using names = await manager();
  await using first = await names.attach(scope(cluster, { dial: noTunnel }), AbortSignal.timeout(5000));
  const { address } = find(first, 'db');
  await assert.rejects(talk(address, 26_388), { code: 'ECONNRESET' });
  // another connection to the same namespace carries it
  await using second = await names.attach(scope(cluster), AbortSignal.timeout(5000));
  assert.equal(find(second, 'db').address, address);
  assert.equal(await talk(address, 26_388), 'hello from afar\nx');
});

void test('the first connection keeps the bare name, the other says so and inherits it', needsRoot, async () => {
  writeFileSync(hosts, original);
  const helper = await startHelper();
  const cluster = new MemoryCluster();
  cluster.put(service('shop', 'redis', 26_389));
  cluster.put(service('pay', 'redis', 26_389));
  await using names = await manager();
  const first = await names.attach(scope(cluster, { mode: 'hosts' }), AbortSignal.timeout(5000));
  await using second = await names.attach(
    scope(cluster, { mode: 'hosts', namespace: 'pay' }),
    AbortSignal.timeout(5000),
  );
  assert.equal(find(first, 'redis').names[0], 'redis');
  assert.equal(find(second, 'redis', 'pay').names[0], 'redis.pay');
  assert.equal(find(second, 'redis', 'pay').hostNames?.[0], 'redis');
  assert.match(find(second, 'redis', 'pay').notes?.[0] ?? '', /^redis is redis of namespace shop/);
  await first[Symbol.asyncDispose]();
  assert.equal(find(second, 'redis', 'pay').names[0], 'redis');
  assert.equal(find(second, 'redis', 'pay').notes, undefined);
  await stopped(helper, 'SIGTERM');
});

void test('without the right to list everything only the own namespace is watched', bounded, async () => {
  const cluster = new MemoryCluster();
  cluster.mayListAll = false;
  cluster.put(service('shop', 'a', 26_390));
  cluster.put(service('pay', 'b', 26_390));
  await using names = await manager();
  await using attachment = await names.attach(scope(cluster), AbortSignal.timeout(5000));
  assert.deepEqual(
    attachment.services().map(({ service }) => service),
    ['a'],
  );
  assert.deepEqual(cluster.watched.sort(), ['endpointslices@shop', 'services@shop']);
});

void test(
  'wanted beside the own namespace: others, the API server that may not be read, hosts of outside',
  bounded,
  async () => {
    const cluster = new MemoryCluster();
    cluster.mayListAll = false;
    cluster.put(service('pay', 'b', 26_395));
    await using names = await manager();
    await using attachment = await names.attach(
      scope(cluster, {
        namespaces: ['pay', 'shop'],
        apiServer: true,
        externals: [{ host: 'db.example.com', ports: [26_396] }],
      }),
      AbortSignal.timeout(5000),
    );
    assert.deepEqual(cluster.watched.filter((each) => each.startsWith('services')).sort(), [
      'services@pay',
      'services@shop',
    ]);
    find(attachment, 'b', 'pay');
    assert.equal(find(attachment, 'kubernetes', 'default').ports[0]?.port, 443);
    const external = find(attachment, 'db.example.com', '');
    assert.equal(external.external, true);
    assert.equal(await talk(external.address, 26_396), 'hello from afar\nx');
    assert.deepEqual(dialled.at(-1), { host: 'db.example.com', port: 26_396 });
    // Another connection to the same cluster asks for another port of that host.
    await using other = await names.attach(
      scope(cluster, { namespace: 'pay', externals: [{ host: 'db.example.com', ports: [26_397] }] }),
      AbortSignal.timeout(5000),
    );
    const both = find(other, 'db.example.com', '');
    assert.deepEqual([both.address, both.ports.map(({ port }) => port)], [external.address, [26_396, 26_397]]);
  },
);

void test('names that the helper refuses are not listed, with the reason', needsRoot, async () => {
  writeFileSync(hosts, `${original}10.0.0.1 legacy\n`);
  const helper = await startHelper();
  const cluster = new MemoryCluster();
  cluster.put(service('shop', 'legacy', 26_391));
  cluster.put(service('dev', 'go', 26_391));
  await using names = await manager();
  await using attachment = await names.attach(scope(cluster, { mode: 'hosts' }), AbortSignal.timeout(5000));
  assert.equal(find(attachment, 'legacy').names[0], 'legacy.shop');
  assert.match(find(attachment, 'legacy').notes?.[0] ?? '', /^legacy: the hosts file already/);
  assert.deepEqual(find(attachment, 'go', 'dev').names, ['go.dev.svc', 'go.dev.svc.cluster.local']);
  await stopped(helper, 'SIGTERM');
});

void test('addresses are remembered', bounded, async () => {
  const cluster = new MemoryCluster();
  cluster.put(service('shop', 'a', 26_392));
  const saved: Record<string, string> = { 'memory https://memory shop/a': '127.66.201.7' };
  await using names = await manager({ saved });
  await using attachment = await names.attach(scope(cluster), AbortSignal.timeout(5000));
  assert.equal(find(attachment, 'a').address, '127.66.201.7');
});
