/**
 * What a TCP connection must be like through both tunnels of a session, on a real cluster, over each way to the agent. The
 * same program is caller and server at either end. Inbound: a pod calls the Service and reaches the machine. Outbound: the
 * machine calls the address of a Service and reaches a pod.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { after, before as beforeAll, suite, test } from 'node:test';
import { startConnectProxy } from '../../daemon/cluster/testing/proxy.ts';
import type { Connection } from '../../api/schema.ts';
import type { TestNamespace } from '../cluster/namespace.ts';
import { must } from '../cluster/run.ts';
import { login, rulesOf, writeKubeconfig } from './login.ts';
import {
  assertAsBefore,
  assertNoSession,
  before,
  deploy,
  podSpec,
  service,
  startDaemon,
  startRelay,
  stateFolder,
  testCluster,
  workload,
  type Before,
  type TestDaemon,
} from './redirect-testbed.ts';

const programFile = join(import.meta.dirname, '../cluster/programs/peer.mjs');
const mebibyte = 1024 * 1024;
/** What windows and sockets on the way may hold while nobody reads; far below what is sent. */
const held = 192 * mebibyte;

interface Bulk {
  held: number;
  bytes: number;
  hash: string;
}

/** A caller at one end, and where it finds the server at the other end. */
interface Direction {
  host: string;
  port: number;
  call: (args: string[]) => Promise<string>;
}

void suite('connections through the tunnels', { timeout: 590_000 }, () => {
  let daemon: TestDaemon;
  let namespace: TestNamespace;
  let folder: Awaited<ReturnType<typeof stateFolder>>;
  let was: Before;
  let machine: AsyncDisposable & { port: number };
  const undo = new AsyncDisposableStack();

  beforeAll(async () => {
    daemon = undo.use(await startDaemon(await testCluster()));
    folder = undo.use(await stateFolder());
    machine = undo.use(await startServer());
    const peer = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'peer' } };
    const ports = [{ name: 'peer', port: 4000 }];
    namespace = undo.use(
      await deploy(daemon, {
        objects: [
          { ...peer, data: { 'peer.mjs': await readFile(programFile, 'utf8') } },
          workload('Deployment', 'near', peerPod(daemon)),
          workload('Deployment', 'far', peerPod(daemon)),
          service('near', 'near', ports),
          service('far', 'far', ports),
          service('closed', 'far', [{ name: 'closed', port: 4001 }]),
          service('nobody', 'nobody', ports),
        ],
        ready: ['deploy/near', 'deploy/far'],
        urls: [],
      }),
    );
    was = await before(namespace);
  });
  after(() => undo.disposeAsync());

  async function connected(kubeconfig: string, use: (connection: Connection) => Promise<void>): Promise<void> {
    const ports = [{ local: machine.port, remote: 4000 }];
    const request = { namespace: namespace.name, kubeconfig, target: 'deploy/near', ports };
    const { name } = await daemon.connect(request);
    const now = (): Connection => daemon.manager.list().find((each) => each.name === name)!;
    try {
      const { since } = now();
      await use(now());
      assert.deepEqual([now().state, now().since], ['connected', since], 'the tunnel was never lost');
    } finally {
      await daemon.disconnect(name);
    }
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  }

  const outbound = ({ services }: Connection, name = 'far'): Direction => {
    const { address, ports } = services.find(({ service: each }) => each === name) ?? assert.fail(`no ${name}`);
    return {
      host: address ?? assert.fail(`${name} is not carried`),
      port: ports[0]?.local ?? assert.fail(`${name} has no port`),
      call: (args) => must([process.execPath, programFile, ...args], { timeout: 120_000 }),
    };
  };
  const inbound = (): Direction => ({
    host: 'near',
    port: 4000,
    call: (args) =>
      namespace.kubectl(['exec', 'deploy/far', '--', 'node', '/peer/peer.mjs', ...args], { timeout: 120_000 }),
  });

  async function asked<T>({ call, host, port }: Direction, what: string, ...more: number[]): Promise<T> {
    return JSON.parse(await call([what, host, String(port), ...more.map(String)])) as T;
  }

  async function conforms(direction: Direction, size: number): Promise<void> {
    const hash = expected(size);
    for (const way of ['down', 'up']) {
      const bulk = await asked<Bulk>(direction, way, size);
      assert.deepEqual([bulk.bytes, bulk.hash], [size, hash], way);
      assert.ok(bulk.held < Math.min(size, held), `${way}: ${bulk.held} bytes were taken although nobody reads`);
    }
    assert.deepEqual(await asked(direction, 'ends'), {
      first: 'said before the end',
      greeting: 'welcome',
      said: 'said after the end',
    });
    assert.deepEqual(await asked(direction, 'many', 2000, 100), { answered: 2000, failed: {} });
  }

  async function fails(connection: Connection): Promise<void> {
    for (const name of ['closed', 'nobody']) {
      const { code, milliseconds } = await asked<{ code: string; milliseconds: number }>(
        outbound(connection, name),
        'fails',
      );
      assert.equal(code, 'ECONNRESET', name);
      assert.ok(milliseconds < 1000, `${name}: ${milliseconds} ms`);
    }
  }

  test('pods/proxy: 1 GiB to and from the machine with a reader that stalls, ends of either side, 2,000 connections, refusals', async () => {
    await connected(daemon.test.kubeconfig, async (connection) => {
      assert.equal(connection.pipe, 'pods/proxy');
      await conforms(outbound(connection), 1024 * mebibyte);
      await conforms(inbound(), 256 * mebibyte);
      await fails(connection);
    });
  });

  test('port-forward, for a user without the right to pods/proxy: the same', async () => {
    const rules = (await rulesOf('redirect.yaml')).map((rule) =>
      rule.resources.includes('pods/proxy')
        ? { ...rule, resources: ['pods/portforward'], verbs: ['get', 'create'] }
        : rule,
    );
    const kubeconfig = await login(namespace, { user: 'no-proxy', rules, folder: folder.path });
    was = await before(namespace); // with this user
    await connected(kubeconfig, async (connection) => {
      assert.equal(connection.pipe, 'port-forward');
      await conforms(outbound(connection), 256 * mebibyte);
      await conforms(inbound(), 256 * mebibyte);
      await fails(connection);
    });
  });

  test('a link that is cut: long connections of both ways are reset, and do not hang until it is back', async () => {
    await using relay = await startRelay(daemon.test, folder.path, 0);
    await using asleep = await startDaemon(daemon.test, { kubeconfig: relay.kubeconfig });
    const ports = [{ local: machine.port, remote: 4000 }];
    const { name, ...connection } = await asleep.connect({ namespace: namespace.name, target: 'deploy/near', ports });
    const ways = [outbound({ name, ...connection }), inbound()];
    const open = ways.map((way) => asked<{ code: string }>(way, 'keep'));
    for (const way of ways)
      await namespace.waitFor('the connection', async () => (await asked<{ count: number }>(way, 'kept')).count === 1);
    relay.freeze(true);
    try {
      // The heartbeat has 6 s for it; this is the bound of a test that has failed.
      const late = AbortSignal.timeout(30_000);
      const hangs = once(late, 'abort').then(() => assert.fail('a connection hangs while the link is cut'));
      for (const each of open) assert.deepEqual(await Promise.race([each, hangs]), { code: 'ECONNRESET' });
    } finally {
      relay.freeze(false);
    }
    await namespace.waitFor('the tie', async () => asleep.manager.list()[0]?.state === 'connected');
    await asleep.disconnect(name);
    await assertAsBefore(namespace, was);
  });

  test('behind a proxy with a login, the only way to the API server', async () => {
    const { hostname, port: apiPort } = new URL(daemon.cluster.server);
    const { proxy, seen, port } = await startConnectProxy('jane:s3cret', { 'api.invalid': hostname });
    const kubeconfig = await writeKubeconfig(namespace, {
      folder: folder.path,
      name: 'proxied',
      cluster: {
        server: `https://api.invalid:${apiPort}`,
        'tls-server-name': hostname,
        'proxy-url': `http://jane:s3cret@127.0.0.1:${port}`,
      },
    });
    try {
      await connected(kubeconfig, async (connection) => {
        assert.equal(connection.pipe, 'pods/proxy');
        assert.deepEqual(await asked(outbound(connection), 'many', 200, 20), { answered: 200, failed: {} });
        assert.deepEqual(await asked(inbound(), 'many', 200, 20), { answered: 200, failed: {} });
      });
      assert.deepEqual(new Set(seen), new Set([`api.invalid:${apiPort}`]));
    } finally {
      proxy.close();
      proxy.closeAllConnections();
    }
  });
});

function expected(size: number): string {
  const chunk = Buffer.from(Array.from({ length: mebibyte }, (_, index) => (index * 31 + (index >> 8)) & 0xff));
  const hash = createHash('sha256');
  for (let sent = 0; sent < size; sent += chunk.length) hash.update(chunk);
  return hash.digest('hex');
}

/** The machine's program. */
async function startServer(): Promise<AsyncDisposable & { port: number }> {
  const child = spawn(process.execPath, [programFile, 'serve', '0', '127.0.0.1'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [port] = (await once(child.stdout, 'data')) as [Buffer];
  return {
    port: Number(port.toString()),
    async [Symbol.asyncDispose]() {
      const closed = once(child, 'close');
      child.kill();
      await closed;
    },
  };
}

function peerPod(daemon: TestDaemon): object {
  const { nodeImage: image } = daemon.test;
  return podSpec(
    [
      {
        name: 'peer',
        image,
        imagePullPolicy: 'IfNotPresent',
        command: ['node', '/peer/peer.mjs', 'serve', '4000'],
        ports: [{ name: 'peer', containerPort: 4000 }],
        readinessProbe: { tcpSocket: { port: 4000 }, periodSeconds: 1 },
        volumeMounts: [{ name: 'peer', mountPath: '/peer' }],
      },
    ],
    { volumes: [{ name: 'peer', configMap: { name: 'peer' } }] },
  );
}
