/**
 * Names on the machine, by programs no one here wrote (psql, redis-cli, curl, Node's own resolver): every form of a
 * Service's name, what is not carried and why, changes in the cluster, other programs on the same ports, two connections.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { deployShop } from '../../examples/shop/deploy.ts';
import { deployEcho } from '../cluster/load.ts';
import { createNamespace, type TestNamespace } from '../cluster/namespace.ts';
import { waitUntil } from '../cluster/wait.ts';
import type { NamedService } from '../../api/schema.ts';
import { speaks, startDeveloper, type Developer } from './developer.ts';

const password = 'not-a-secret-in-an-example';

void suite('names', { timeout: 240_000 }, () => {
  let dev: Developer;
  let other: TestNamespace;
  let hosts: string;
  const name = (): string => dev.namespace.name;

  before(async () => {
    dev = await startDeveloper({ name: 'names', helper: true });
    other = await createNamespace(dev.cluster, { prefix: 'names-other' });
    await Promise.all([deployShop(dev.namespace), deployPair(dev.namespace), deployEcho(other, { name: 'echo' })]);
    await dev.namespace.apply([
      service('clock', { selector: { app: 'redis' }, ports: [{ port: 123, protocol: 'UDP' }] }),
      service('elsewhere', { type: 'ExternalName', externalName: 'db.example.com' }),
      service('mixed', {
        selector: { app: 'redis' },
        ports: [
          { name: 'tcp', port: 6380, targetPort: 6379 },
          { name: 'udp', port: 6380, protocol: 'UDP' },
        ],
      }),
    ]);
    hosts = dev.machine.hosts();
  });
  after(async () => {
    await other?.[Symbol.asyncDispose]();
    await dev?.[Symbol.asyncDispose]();
  });

  const services = async (connection?: string): Promise<NamedService[]> => (await dev.connection(connection)).services;
  const addressOf = async (service: string, connection?: string): Promise<string> => {
    const found = (await services(connection)).find((each) => each.service === service && each.namespace === name());
    return found?.address ?? assert.fail(`${service} has no address`);
  };
  const resolves = async (host: string): Promise<string | undefined> => {
    const script = `require('node:dns').lookup(process.argv[1], (error, address) => console.log(error ? error.code : address))`;
    const answer = await dev.sh(`node -e "${script}" ${host}`);
    return /^\d/.test(answer) ? answer : undefined;
  };
  const formsOf = (service: string, namespace: string): string[] => [
    service,
    `${service}.${namespace}`,
    `${service}.${namespace}.svc`,
    `${service}.${namespace}.svc.cluster.local`,
  ];
  const postgres = (host: string): Promise<string> =>
    dev.sh(`psql -h ${host} -U shop -d shop -Atc 'SELECT count(*) FROM articles'`, { env: { PGPASSWORD: password } });

  test('psql, redis-cli, curl and Node find a Service by every form of its name', async () => {
    assert.equal(await resolves('postgres'), undefined, 'before it is connected there is no such name');
    await dev.must(['connect', '-n', name()]);
    for (const form of formsOf('postgres', name())) assert.equal(await postgres(form), '4', form);
    for (const form of formsOf('redis', name())) assert.equal(await dev.sh(`redis-cli -h ${form} PING`), 'PONG', form);
    for (const form of formsOf('catalog', name()))
      assert.match(await dev.sh(`curl -sS http://${form}/articles`), /anchor/, form);
    assert.equal(await resolves('catalog.svc.cluster.local'), undefined, 'no pod has such a name');
    const address = await addressOf('catalog');
    assert.match(address, /^127\.66\.\d+\.\d+$/);
    for (const form of formsOf('catalog', name())) assert.equal(await resolves(form), address, form);
  });

  test('a Service of another namespace has its longer names, and not the bare one', async () => {
    const [bare = '', ...longer] = formsOf('echo', other.name);
    for (const form of longer)
      await waitUntil(async () => /"label": ?"echo"/.test(await dev.sh(`curl -sS http://${form}/`)), { what: form });
    assert.equal(await resolves(bare), undefined);
    assert.equal(await resolves(`echo.${name()}`), undefined);
  });

  test('a headless Service answers by its own name and by that of each pod', async () => {
    const who = (host: string): Promise<string> => dev.sh(`curl -sS http://${host}:8080/`);
    for (const pod of ['pair-0', 'pair-1'])
      for (const form of formsOf(`${pod}.pair`, name())) assert.equal(await who(form), pod, form);
    for (const form of formsOf('pair', name())) assert.match(await who(form), /^pair-[01]$/, form);
    // The port of a headless Service is the pod's, whatever the Service calls it: targetPort has no say without a proxy.
    await dev.namespace.kubectl(['delete', 'pod', 'pair-1', '--grace-period=1']);
    await waitUntil(async () => (await who('pair-1.pair')) === 'pair-1', { what: 'pair-1 after it was made anew' });
  });

  test('a Service that is made, changed and deleted while connected comes, changes and goes', async (t) => {
    const selector = { app: 'redis' };
    const ping = (port: number) => async (): Promise<boolean> =>
      (await dev.machine.run(['redis-cli', '-h', 'fresh', '-p', String(port), 'PING'])).stdout === 'PONG\n';
    // Others use the same cluster; their namespaces come and go in the hosts file too.
    const ours = (): string[] =>
      dev.machine
        .hosts()
        .split('\n')
        .filter((line) => line.includes(name()));
    const before = ours();
    const measured = async (
      what: string,
      change: () => Promise<unknown>,
      seen: () => Promise<boolean>,
    ): Promise<void> => {
      await change();
      const from = performance.now();
      await waitUntil(seen, { what, timeout: 10_000, interval: 20 });
      t.diagnostic(`${what}: ${(performance.now() - from).toFixed(0)} ms after the API server had it`);
    };
    const apply = (port: number) => (): Promise<void> =>
      dev.namespace.apply([service('fresh', { selector, ports: [{ port, targetPort: 6379 }] })]);
    await measured('a new Service answers', apply(7001), ping(7001));
    const address = await addressOf('fresh');
    await measured('its new port answers', apply(7002), ping(7002));
    assert.equal(await ping(7001)(), false, 'the old port is closed');
    assert.equal(await addressOf('fresh'), address);
    await measured(
      'the name is gone',
      () => dev.namespace.kubectl(['delete', 'service', 'fresh', '--wait=true']),
      async () => !dev.machine.hosts().includes('fresh'),
    );
    assert.equal(await resolves('fresh'), undefined);
    assert.deepEqual(ours(), before, 'what did not change was not touched');
  });

  test('what is not carried is listed with the reason', async () => {
    const found = new Map(
      (await services()).filter(({ namespace }) => namespace === name()).map((each) => [each.service, each]),
    );
    assert.match(found.get('clock')?.ports[0]?.problem ?? '', /UDP/);
    assert.match(
      found.get('elsewhere')?.problem ?? '',
      /ExternalName.*db\.example\.com|db\.example\.com.*ExternalName/,
    );
    assert.deepEqual(found.get('elsewhere')?.names, []);
    const mixed = found.get('mixed')?.ports ?? [];
    assert.equal(mixed.find((port) => port.name === 'tcp')?.problem, undefined);
    assert.match(mixed.find((port) => port.name === 'udp')?.problem ?? '', /UDP/);
    assert.equal(await dev.sh('redis-cli -h mixed -p 6380 PING'), 'PONG');
    const shown = await dev.must(['status']);
    assert.match(shown, /not carried/);
    assert.match(shown, /clock:123\s+.*UDP/);
    assert.match(shown, /elsewhere\S*\s+.*ExternalName/);
  });

  test('addresses are the same after disconnect and connect, and the hosts file is as before in between', async () => {
    const first = Object.fromEntries(
      (await services()).map((each) => [`${each.namespace}/${each.service}`, each.address]),
    );
    await dev.must(['disconnect']);
    assert.equal(dev.machine.hosts(), hosts);
    const untouched = await dev.whole(other);
    await dev.must(['daemon', 'stop']);
    await dev.must(['connect', '-n', name()]);
    const second = Object.fromEntries(
      (await services()).map((each) => [`${each.namespace}/${each.service}`, each.address]),
    );
    for (const [service, address] of Object.entries(first))
      if (service.startsWith(name())) assert.equal(second[service], address, service);
    await dev.must(['disconnect']);
    await untouched();
  });

  test('a program that has the port already is neither disturbed nor ended', async (t) => {
    const untouched = await dev.whole(other);
    await dev.must(['connect', '-n', name()]);
    const address = await addressOf('postgres');
    await dev.must(['disconnect']);
    for (const host of ['0.0.0.0', address]) {
      const program = dev.machine.spawn([
        'node',
        '-e',
        `require('node:net').createServer((s) => s.end('mine')).listen(5432, '${host}', () => console.log('ready'))`,
      ]);
      try {
        await speaks(program);
        await dev.must(['connect', '-n', name()]);
        const port = (await services()).find((each) => each.service === 'postgres' && each.namespace === name())
          ?.ports[0];
        t.diagnostic(`beside a program on ${host}: ${port?.problem ?? 'not in the way'}`);
        if (port?.problem === undefined) assert.equal(await postgres('postgres'), '4', `beside a program on ${host}`);
        else assert.match(port.problem, new RegExp(`node.*${program.pid}|${program.pid}.*node`), 'its owner is named');
        const mine = await dev.sh(
          `node -e "require('node:net').connect(5432, '127.0.0.1').on('data', (d) => console.log(String(d))).on('error', (e) => console.log(e.code))"`,
        );
        assert.equal(mine, host === '0.0.0.0' ? 'mine' : 'ECONNREFUSED');
        assert.equal(program.exitCode, null);
        assert.equal(program.signalCode, null);
      } finally {
        await dev.bowline(['disconnect']);
        program.kill();
      }
    }
    await untouched();
  });

  test('two namespaces and two contexts side by side', async () => {
    await deployEcho(dev.namespace, { name: 'twin', label: 'first' });
    await deployEcho(other, { name: 'twin', label: 'second' });
    const before = await dev.whole(other);
    const kubeconfig = dev.machine.path(dev.machine.kubeconfig);
    const config = parse(readFileSync(kubeconfig, 'utf8')) as {
      contexts: Array<{ name: string; context: object }>;
      'current-context': string;
    };
    const current = config.contexts.find((each) => each.name === config['current-context'])!;
    config.contexts.push({ name: 'again', context: current.context });
    const text = stringify(config);
    writeFileSync(kubeconfig, text);
    const label = async (host: string): Promise<string> =>
      (JSON.parse(await dev.sh(`curl -sS http://${host}/`)) as { label: string }).label;

    await dev.must(['connect', '-n', name()]);
    await dev.must(['connect', '-n', other.name]);
    await dev.must(['connect', '-n', name(), '--context', 'again']);
    const list = await dev.json<{ connections: Array<{ name: string; context: string }> }>(['list']);
    assert.deepEqual(
      list.connections.map(({ context }) => context),
      [current.name, current.name, 'again'],
    );
    const third = list.connections[2]!.name;
    // Bare names of both; where two have the same one it is the first connection's, and the other one says so.
    assert.equal(await postgres('postgres'), '4');
    assert.equal(await label('echo'), 'echo');
    assert.equal(await label('twin'), 'first');
    assert.equal(await label(`twin.${name()}`), 'first');
    assert.equal(await label(`twin.${other.name}`), 'second');
    const second = (await services(other.name)).find(
      (each) => each.service === 'twin' && each.namespace === other.name,
    );
    assert.match(second?.notes?.join(' ') ?? '', new RegExp(`twin is twin of namespace ${name()}`));
    assert.notEqual(await addressOf('twin', name()), await addressOf('twin', third), 'contexts do not share addresses');

    await dev.must(['disconnect', name()]);
    await waitUntil(async () => (await label('twin')) === 'second', { what: 'the bare name of the one that is left' });
    await dev.must(['disconnect', other.name]);
    assert.equal(await label('twin'), 'first', 'through the other context');
    await dev.must(['disconnect', '--all']);
    await before();
    assert.equal(readFileSync(kubeconfig, 'utf8'), text, 'the kubeconfig is not ours to write');
  });
});

function service(name: string, spec: object): object {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name }, spec };
}

/** A headless Service over a StatefulSet of two pods that answer their names. */
async function deployPair(namespace: TestNamespace): Promise<void> {
  const labels = { app: 'pair' };
  const program = `require('node:http').createServer((q, r) => r.end(require('node:os').hostname())).listen(8080); process.on('SIGTERM', () => process.exit(0))`;
  const container = {
    name: 'pair',
    image: namespace.cluster.nodeImage,
    imagePullPolicy: 'IfNotPresent',
    command: ['node', '-e', program],
    ports: [{ containerPort: 8080 }],
    readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
  };
  await namespace.apply([
    service('pair', { clusterIP: 'None', selector: labels, ports: [{ name: 'http', port: 8080 }] }),
    {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'pair' },
      spec: {
        serviceName: 'pair',
        replicas: 2,
        podManagementPolicy: 'Parallel',
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [container], terminationGracePeriodSeconds: 1 } },
      },
    },
  ]);
  await namespace.rollout('sts/pair');
}
