/** A redirect of each kind of workload, from connect until everything is as before, on a real cluster. */
import assert from 'node:assert/strict';
import { after, before as beforeAll, suite, test } from 'node:test';
import type { TestNamespace } from '../cluster/namespace.ts';
import type { ConnectInput, Connection } from '../../api/schema.ts';
import {
  ask,
  askUdp,
  assertAsBefore,
  assertNoSession,
  before,
  container,
  deploy,
  fails,
  podSpec,
  service,
  startDaemon,
  startProgram,
  testCluster,
  workload,
  type MachineProgram,
  type TestDaemon,
} from './redirect-testbed.ts';

let daemon: TestDaemon;

beforeAll(async () => {
  daemon = await startDaemon(await testCluster());
});
after(() => daemon[Symbol.asyncDispose]());

const web = [{ name: 'http', port: 80, targetPort: 'http' }];
const codes = (connection: Connection): string[] => connection.warnings.map(({ code }) => code);

interface Redirected {
  target: string;
  ports?: (program: MachineProgram) => ConnectInput['ports'];
  request?: Partial<ConnectInput>;
  /** Must be answered here while the redirect stands. */
  urls: string[];
  during?: (connection: Connection, program: MachineProgram) => Promise<void>;
}

/** Connects, sees every URL answered here, disconnects, and sees the namespace as it was. */
async function redirected(namespace: TestNamespace, options: Redirected): Promise<Connection> {
  await using program = await startProgram();
  const was = await before(namespace);
  const connection = await daemon.connect({
    namespace: namespace.name,
    target: options.target,
    ports: options.ports?.(program) ?? [{ local: program.port, remote: 8080 }],
    ...options.request,
  });
  assert.equal(connection.state, 'connected');
  for (const url of options.urls) assert.equal((await ask(daemon, namespace, url)).by, 'machine', url);
  await options.during?.(connection, program);
  const ended = await daemon.disconnect(connection.name);
  assert.equal(ended.state, 'disconnected');
  for (const url of options.urls) assert.notEqual((await ask(daemon, namespace, url)).by, 'machine', url);
  await assertNoSession(namespace);
  await assertAsBefore(namespace, was);
  return connection;
}

void suite('redirect', { concurrency: 4, timeout: 170_000 }, () => {
  void test('Deployment of two: requests through the Service arrive here, then at the originals again', async () => {
    await using namespace = await deploy(daemon, {
      objects: [
        workload('Deployment', 'web', podSpec([container(daemon.test)]), { replicas: 2 }),
        service('web', 'web', web),
      ],
      ready: ['deploy/web'],
      urls: ['web'],
    });
    await using program = await startProgram();
    const was = await before(namespace);
    const steps: string[] = [];
    const request = { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] };
    const connection = await daemon.connect(request, undefined, (step) => steps.push(step));
    assert.deepEqual(connection.ports, [{ local: program.port, remote: 8080, services: ['web:80'] }]);
    assert.deepEqual(connection.proof?.services, ['web']);
    const order = steps.filter((step) => !['waiting', 'HELPER_MISSING'].includes(step));
    assert.deepEqual(order, ['check', 'lease', 'agent', 'tunnel', 'redirect', 'proof', 'names', 'done']);
    for (const path of ['/b', '/c', '/d'])
      assert.deepEqual(await ask(daemon, namespace, `web${path}`), { by: 'machine', path });
    await fails(daemon.connect(request), 'ALREADY_CONNECTED', /is connected already/, /bowline disconnect/);

    const ended = await daemon.disconnect(connection.name);
    assert.equal(ended.state, 'disconnected');
    assert.match((await ask(daemon, namespace, 'web/e')).by, /^web-/);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('StatefulSet of two with a governing and a normal Service: its pods keep their names', async () => {
    const replicas = { replicas: 2, serviceName: 'db-pods', podManagementPolicy: 'Parallel' };
    await using namespace = await deploy(daemon, {
      objects: [
        workload('StatefulSet', 'db', podSpec([container(daemon.test)]), replicas),
        service('db-pods', 'db', [{ name: 'http', port: 8080 }], { clusterIP: 'None' }),
        service('db', 'db', web),
      ],
      ready: ['sts/db'],
      urls: ['db', 'db-0.db-pods:8080'],
    });
    const connection = await redirected(namespace, {
      target: 'sts/db',
      urls: ['db'],
      during: async () => assert.equal((await ask(daemon, namespace, 'db-0.db-pods:8080')).by, 'db-0'),
    });
    assert.ok(codes(connection).includes('GOVERNING_SERVICE_KEPT'));
  });

  void test('StatefulSet of one with a headless Service alone: its name leads here', async () => {
    await using namespace = await deploy(daemon, {
      objects: [
        workload('StatefulSet', 'one', podSpec([container(daemon.test)]), { serviceName: 'one' }),
        service('one', 'one', [{ name: 'http', port: 8080 }], { clusterIP: 'None' }),
      ],
      ready: ['sts/one'],
      urls: ['one:8080', 'one-0.one:8080'],
    });
    const connection = await redirected(namespace, {
      target: 'sts/one',
      urls: [],
      // A cached name may live on for some seconds.
      during: async () => {
        for (const url of ['one:8080', 'one-0.one:8080'])
          await namespace.waitFor(`${url} here`, async () => (await ask(daemon, namespace, url)).by === 'machine');
      },
    });
    assert.ok(codes(connection).includes('HEADLESS'));
    await namespace.waitFor(
      'the original again',
      async () => (await ask(daemon, namespace, 'one:8080')).by === 'one-0',
    );
  });

  void test('ReplicaSet, and one that belongs to a Deployment', async () => {
    await using namespace = await deploy(daemon, {
      objects: [
        workload('ReplicaSet', 'set', podSpec([container(daemon.test)])),
        service('set', 'set', web),
        workload('Deployment', 'web', podSpec([container(daemon.test)])),
        service('web', 'web', web),
      ],
      ready: ['rs/set', 'deploy/web'],
      urls: ['set', 'web'],
    });
    await redirected(namespace, { target: 'rs/set', urls: ['set'] });
    const owned = (await namespace.kubectl(['get', 'rs', '-l', 'app=web', '-o', 'name'])).trim().split('/')[1];
    const { target } = await redirected(namespace, { target: `rs/${owned}`, urls: ['web'] });
    assert.deepEqual([target?.kind, target?.name, target?.container], ['Deployment', 'web', 'main']);
  });

  void test('DaemonSet, and its refusal of --stop-original', async () => {
    await using namespace = await deploy(daemon, {
      objects: [workload('DaemonSet', 'node', podSpec([container(daemon.test)])), service('node', 'node', web)],
      ready: ['ds/node'],
      urls: ['node'],
    });
    const stop = daemon.connect({ namespace: namespace.name, target: 'ds/node', stopOriginal: true });
    await fails(stop, 'WORKLOAD_UNSUPPORTED', /DaemonSet.*cannot be stopped/, /Leave out --stop-original/);
    await redirected(namespace, { target: 'ds/node', urls: ['node'] });
  });

  void test('bare Pod', async () => {
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'solo', labels: { app: 'solo' } },
      spec: podSpec([container(daemon.test)]),
    };
    await using namespace = await deploy(daemon, {
      objects: [pod, service('solo', 'solo', web)],
      ready: ['pod/solo'],
      urls: ['solo'],
    });
    await redirected(namespace, { target: 'pod/solo', urls: ['solo'] });
  });

  void test('a Service or a bare name stands for its workload; an ambiguous one is refused', async () => {
    await using namespace = await deploy(daemon, {
      objects: [
        workload('Deployment', 'web', podSpec([container(daemon.test)])),
        service('front', 'web', web),
        workload('Deployment', 'twin', podSpec([container(daemon.test)])),
        workload('StatefulSet', 'twin', podSpec([container(daemon.test)]), { serviceName: 'twin' }),
        service('twin', 'twin', web),
      ],
      ready: ['deploy/web', 'deploy/twin', 'sts/twin'],
      urls: ['front'],
    });
    await redirected(namespace, { target: 'svc/front', urls: ['front'] });
    await redirected(namespace, { target: 'web', urls: ['front'] });
    await redirected(namespace, { target: 'front', urls: ['front'] });
    for (const target of ['twin', 'svc/twin']) {
      const ambiguous = daemon.connect({ namespace: namespace.name, target });
      await fails(ambiguous, 'TARGET_AMBIGUOUS', /deploy\/twin.+sts\/twin/, /bowline connect deploy\/twin/);
    }
    await assertNoSession(namespace);
  });

  void test('several Services with named ports; what was not asked for goes on to the originals, TCP and UDP', async () => {
    const ports = [
      { name: 'http', containerPort: 8080 },
      { name: 'admin', containerPort: 9090 },
      { name: 'stats', containerPort: 5300, protocol: 'UDP' as const },
    ];
    await using namespace = await deploy(daemon, {
      objects: [
        workload('Deployment', 'multi', podSpec([container(daemon.test, { ports })])),
        service('multi', 'multi', [
          { name: 'main', port: 80, targetPort: 'http' },
          { name: 'admin', port: 81, targetPort: 'admin' },
          { name: 'stats', port: 53, targetPort: 'stats', protocol: 'UDP' },
        ]),
        service('also', 'multi', [{ port: 8000, targetPort: 8080 }]),
        service('admin-only', 'multi', [{ port: 9090, targetPort: 'admin' }]),
        service('pods', 'multi', [{ name: 'http', port: 8080 }], { clusterIP: 'None' }),
      ],
      ready: ['deploy/multi'],
      urls: ['multi', 'multi:81', 'also:8000', 'admin-only:9090'],
    });
    const connection = await redirected(namespace, {
      target: 'deploy/multi',
      ports: ({ port }) => [{ local: port, remote: 'main' }],
      urls: ['multi', 'also:8000'],
      during: async () => {
        for (const url of ['multi:81', 'admin-only:9090']) {
          const answer = await ask(daemon, namespace, url);
          assert.match(answer.by, /^multi-/);
          assert.equal(answer.port, 9090);
        }
        assert.match(await askUdp(daemon, namespace, 'multi', 53), /^multi-\S+ 5300$/);
        await namespace.waitFor(
          'the headless Service here',
          async () => (await ask(daemon, namespace, 'pods:8080')).by === 'machine',
        );
      },
    });
    assert.deepEqual(connection.proof?.services.toSorted(), ['also', 'multi', 'pods']);
    assert.deepEqual(connection.passedOn, [
      { remote: 9090, protocol: 'TCP' },
      { remote: 5300, protocol: 'UDP' },
    ]);
  });

  void test('two ports for two programs, one of which is on ::1 alone; a Service that leads elsewhere fails the proof, and all is undone', async () => {
    const ports = [
      { name: 'http', containerPort: 8080 },
      { name: 'admin', containerPort: 9090 },
    ];
    await using namespace = await deploy(daemon, {
      objects: [
        workload('Deployment', 'multi', podSpec([container(daemon.test, { ports })])),
        service('multi', 'multi', [
          { name: 'main', port: 80, targetPort: 'http' },
          { name: 'admin', port: 81, targetPort: 'admin' },
        ]),
      ],
      ready: ['deploy/multi'],
      urls: ['multi', 'multi:81'],
    });
    await using program = await startProgram();
    await using admin = await startProgram(0, { host: '::1', name: 'admin' });
    const was = await before(namespace);
    const request = {
      namespace: namespace.name,
      target: 'deploy/multi',
      ports: [
        { local: program.port, remote: 'http' },
        { local: admin.port, remote: 'admin' },
      ],
    };
    const { name } = await daemon.connect(request);
    assert.equal((await ask(daemon, namespace, 'multi')).by, 'machine');
    assert.equal((await ask(daemon, namespace, 'multi:81')).by, 'admin');
    await daemon.disconnect(name);
    await assertAsBefore(namespace, was);

    // As in a cluster with something that leads around kube-proxy, which leaves a Service with this label alone.
    const labels = { 'service.kubernetes.io/service-proxy-name': 'another' };
    const elsewhere = service('elsewhere', 'multi', [{ port: 80, targetPort: 'http' }]);
    await namespace.apply([{ ...elsewhere, metadata: { name: 'elsewhere', labels } }]);
    const withIt = await before(namespace);
    const refused = daemon.connect({ ...request, timeoutSeconds: 10 });
    await fails(refused, 'PROOF_FAILED', /elsewhere:80 does not arrive at this machine/, /doctor/);
    assert.equal((await ask(daemon, namespace, 'multi')).by.startsWith('multi-'), true);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, withIt);
  });

  void test('two containers: chosen by --container, else by the port asked for; the other is a sidecar of the agent', async () => {
    const containers = [
      container(daemon.test, { name: 'proxy', ports: [{ name: 'proxy', containerPort: 8080 }] }),
      container(daemon.test, { name: 'app', ports: [{ name: 'app', containerPort: 9000 }] }),
    ];
    await using namespace = await deploy(daemon, {
      objects: [
        workload('Deployment', 'duo', podSpec(containers)),
        service('duo', 'duo', [
          { name: 'proxy', port: 80, targetPort: 'proxy' },
          { name: 'app', port: 81, targetPort: 'app' },
        ]),
      ],
      ready: ['deploy/duo'],
      urls: ['duo', 'duo:81'],
    });
    const byPort = await redirected(namespace, {
      target: 'deploy/duo',
      ports: ({ port }) => [{ local: port, remote: 9000 }],
      urls: ['duo:81'],
      during: async (connection) => {
        // The clone's own sidecar answers, as in each pod of the workload.
        const sidecar = await namespace.waitFor('the sidecar', () => ask(daemon, namespace, 'duo'));
        assert.deepEqual([sidecar.container, sidecar.by], ['proxy', connection.agent?.pod]);
      },
    });
    assert.equal(byPort.target?.container, 'app');
    const named = await redirected(namespace, {
      target: 'deploy/duo',
      ports: ({ port }) => [{ local: port, remote: 8080 }],
      request: { container: 'proxy' },
      urls: ['duo'],
    });
    assert.equal(named.target?.container, 'proxy');
  });
});
