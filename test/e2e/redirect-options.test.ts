/** What may be asked of a redirect: --if-down, --stop-original, several at once, names only; and that no request is lost. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before as beforeAll, suite, test } from 'node:test';
import { shopImage } from '../../examples/shop/image.ts';
import { keptPodName } from '../../daemon/redirect/objects.ts';
import { startLoad } from '../cluster/load.ts';
import { pauseImage } from '../cluster/configuration.ts';
import {
  ask,
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
  stateFolder,
  testCluster,
  workload,
  type TestDaemon,
} from './redirect-testbed.ts';

let daemon: TestDaemon;

beforeAll(async () => {
  daemon = await startDaemon(await testCluster());
});
after(() => daemon[Symbol.asyncDispose]());

const web = [{ name: 'http', port: 80, targetPort: 'http' }];

void suite('load on a redirect', { timeout: 120_000 }, () => {
  void test('50 requests a second through connect and disconnect: none fails', async () => {
    await using namespace = await deploy(daemon, {
      objects: [
        workload('Deployment', 'web', podSpec([container(daemon.test)]), { replicas: 2 }),
        service('web', 'web', web),
      ],
      ready: ['deploy/web'],
      urls: ['web'],
    });
    await using program = await startProgram();
    await using load = await startLoad(namespace, { url: 'http://web/' });
    const was = await before(namespace);
    const connection = await daemon.connect({
      namespace: namespace.name,
      target: 'deploy/web',
      ports: [{ local: program.port, remote: 8080 }],
    });
    await load.answeredBy((by) => by === 'machine', 'the machine');
    await daemon.disconnect(connection.name);
    await load.answeredBy((by) => by.startsWith('web-'), 'an original');
    const { subject } = await load.stop();
    assert.deepEqual(subject.failed, []);
    assert.ok(subject.requests > 100);
    const strangers = Object.keys(subject.by).filter((by) => by !== 'machine' && !by.startsWith('web-'));
    assert.deepEqual(strangers, [], 'who else answered');
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });
});

/** Asks on one connection that it keeps, until /tmp/stop is there; /tmp/started is when it has had an answer. */
const keepsItsConnection = `
const { existsSync, writeFileSync } = require('node:fs');
const { Agent, get } = require('node:http');
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const ask = () => get({ host: 'web', agent }, (answer) => answer.resume().on('end', () => {
  writeFileSync('/tmp/started', '');
  if (existsSync('/tmp/stop')) process.exit(0);
  setTimeout(ask, 200);
}));
ask();`;

void suite('options of a redirect', { concurrency: 4, timeout: 170_000 }, () => {
  void test('sessionAffinity does not hold a caller back with the originals, nor afterwards with the machine', async () => {
    const pinned = service('web', 'web', web, { sessionAffinity: 'ClientIP' });
    await using namespace = await deploy(daemon, {
      objects: [workload('Deployment', 'web', podSpec([container(daemon.test)]), { replicas: 2 }), pinned],
      ready: ['deploy/web'],
      urls: ['web'],
    });
    await using program = await startProgram();
    const was = await before(namespace);
    const ports = [{ local: program.port, remote: 8080 }];
    const { by } = await ask(daemon, namespace, 'web');
    for (let round = 0; round < 5; round += 1)
      assert.equal((await ask(daemon, namespace, 'web')).by, by, 'it is pinned');
    const { name } = await daemon.connect({ namespace: namespace.name, target: 'deploy/web', ports });
    for (let round = 0; round < 5; round += 1) assert.equal((await ask(daemon, namespace, 'web')).by, 'machine');
    await daemon.disconnect(name);
    for (let round = 0; round < 5; round += 1) assert.match((await ask(daemon, namespace, 'web')).by, /^web-/);
    await assertAsBefore(namespace, was);
  });

  void test('a caller that keeps a connection from before stays with the originals: it is named, until it is gone', async () => {
    await using namespace = await deploy(daemon, {
      objects: [workload('Deployment', 'web', podSpec([container(daemon.test)])), service('web', 'web', web)],
      ready: ['deploy/web'],
      urls: ['web'],
    });
    await using program = await startProgram();
    const was = await before(namespace);
    const inCaller = (...command: string[]): Promise<string> => namespace.kubectl(['exec', 'caller', '--', ...command]);
    const asking = inCaller('node', '-e', keepsItsConnection);
    await namespace.waitFor('its first answer', () => inCaller('ls', '/tmp/started'));
    const warned: string[] = [];
    const ports = [{ local: program.port, remote: 8080 }];
    const { name, warnings } = await daemon.connect(
      { namespace: namespace.name, target: 'deploy/web', ports, proofSeconds: 1 },
      undefined,
      (step) => warned.push(step),
    );
    assert.ok(warned.includes('OPEN_CONNECTIONS'), warned.join());
    const { message = '' } = warnings.find(({ code }) => code === 'OPEN_CONNECTIONS') ?? {};
    assert.match(
      message,
      /^1 connection from before the redirect is still open.+: caller\. Restart .+`kubectl rollout restart deployment\/web -n \S+`/,
    );
    const told = (): boolean =>
      daemon.manager
        .list()
        .some((each) => each.name === name && each.warnings.some(({ code }) => code === 'OPEN_CONNECTIONS'));
    assert.ok(told());
    await inCaller('touch', '/tmp/stop');
    await asking;
    await namespace.waitFor('the warning to be taken back', async () => !told());
    await daemon.disconnect(name);
    await assertAsBefore(namespace, was);
  });

  void test('before the program has come up the originals answer; when it is gone, --if-down decides', async () => {
    await using namespace = await deploy(daemon, {
      objects: ['refused', 'passed'].flatMap((name) => [
        workload('Deployment', name, podSpec([container(daemon.test)])),
        service(name, name, web),
      ]),
      ready: ['deploy/refused', 'deploy/passed'],
      urls: ['refused', 'passed'],
    });
    const first = await startProgram();
    const { port } = first;
    await first[Symbol.asyncDispose](); // nobody listens yet
    const connect = async (name: string, ifDown: 'refuse' | 'original'): Promise<string> => {
      const ports = [{ local: port, remote: 8080 }];
      return (await daemon.connect({ namespace: namespace.name, target: `deploy/${name}`, ports, ifDown })).name;
    };
    const names = [await connect('refused', 'refuse'), await connect('passed', 'original')];
    /** What callers are said to get at the port that nobody listens on, of each connection. */
    const down = (): unknown[] =>
      names.map((name) =>
        daemon.manager
          .list()
          .find((each) => each.name === name)
          ?.down?.map((each) => each.callers),
      );
    assert.match((await ask(daemon, namespace, 'refused')).by, /^refused-/);
    assert.match((await ask(daemon, namespace, 'passed')).by, /^passed-/);
    assert.deepEqual(down(), [['originals'], ['originals']]);
    {
      await using _program = await startProgram(port);
      assert.equal((await ask(daemon, namespace, 'refused')).by, 'machine');
      assert.equal((await ask(daemon, namespace, 'passed')).by, 'machine');
      assert.deepEqual(down(), [undefined, undefined]);
    }
    await assert.rejects(ask(daemon, namespace, 'refused'), /wget/);
    assert.match((await ask(daemon, namespace, 'passed')).by, /^passed-/);
    assert.deepEqual(down(), [['reset'], ['originals']]);
    for (const name of names) await daemon.disconnect(name);
    await assertNoSession(namespace);
  });

  void test('an open request finishes while the tie is undone; new ones go to the originals meanwhile', async () => {
    await using namespace = await deploy(daemon, {
      objects: [workload('Deployment', 'web', podSpec([container(daemon.test)])), service('web', 'web', web)],
      ready: ['deploy/web'],
      urls: ['web'],
    });
    await using program = await startProgram();
    const ports = [{ local: program.port, remote: 8080 }];
    const connection = await daemon.connect({
      namespace: namespace.name,
      target: 'deploy/web',
      ports,
      drainSeconds: 30,
    });
    const open = ask(daemon, namespace, 'web/held');
    await namespace.waitFor('the open request', async () => program.requests.includes('/held'));
    let meanwhile: Promise<string> | undefined;
    const ended = daemon.disconnect(connection.name, (step) => {
      if (step === 'drain') meanwhile = ask(daemon, namespace, 'web').then(({ by }) => by);
    });
    await namespace.waitFor('draining', async () => meanwhile !== undefined);
    assert.match((await meanwhile) ?? '', /^web-/);
    assert.equal(daemon.manager.list().find(({ name }) => name === connection.name)?.state, 'disconnecting');
    program.letGo();
    assert.equal((await open).by, 'machine');
    await ended;
    await assertNoSession(namespace);
  });

  void test('--stop-original: Deployment, StatefulSet and bare Pod stop while the redirect stands, and come back as they were', async () => {
    const stateful = { replicas: 2, serviceName: 'db', podManagementPolicy: 'Parallel' };
    const solo = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'solo', labels: { app: 'solo' }, annotations: { note: 'kept' } },
      spec: podSpec([container(daemon.test)]),
    };
    await using namespace = await deploy(daemon, {
      objects: [
        workload('Deployment', 'web', podSpec([container(daemon.test)]), { replicas: 2 }),
        service('web', 'web', web),
        workload('StatefulSet', 'db', podSpec([container(daemon.test)]), stateful),
        service('db', 'db', [{ name: 'http', port: 8080 }], { clusterIP: 'None' }),
        service('db-read', 'db', web),
        solo,
        service('solo', 'solo', web),
      ],
      ready: ['deploy/web', 'sts/db', 'pod/solo'],
      urls: ['web', 'db-read', 'solo'],
    });
    const was = await before(namespace);
    await using program = await startProgram();
    const connect = async (target: string): Promise<string> => {
      const ports = [{ local: program.port, remote: 8080 }];
      const request = { namespace: namespace.name, target, ports, stopOriginal: true };
      const planned = (await daemon.plan(request)).actions.filter(({ why }) => why.startsWith('--stop-original'));
      const connection = await daemon.connect(request);
      assert.equal(connection.originals?.stopped, true);
      const pod = target.startsWith('pod/');
      assert.deepEqual(
        planned.map(({ verb, object }) =>
          `${verb} ${object}`.replace(/bowline-(?!pod-|statefulset-|deployment-)[^-]+/, 'ID'),
        ),
        pod
          ? [
              'create configmaps/ID-original-pod',
              'patch configmaps/ID',
              'patch leases/bowline-pod-solo',
              'delete pod/solo',
            ]
          : [
              'patch configmaps/ID',
              `patch leases/bowline-${target.startsWith('sts/') ? 'statefulset-db' : 'deployment-web'}`,
              `scale ${target}`,
            ],
      );
      const kept = ['get', 'configmap', keptPodName(connection.id), '--ignore-not-found', '-o', 'name'];
      assert.equal((await namespace.kubectl(kept)).trim(), pod ? `configmap/${keptPodName(connection.id)}` : '');
      return connection.name;
    };
    const names = await Promise.all(['deploy/web', 'sts/db', 'pod/solo'].map(connect));
    const left = await namespace.kubectl([
      'get',
      'pods',
      '-l',
      '!bowline.dev/session,app.kubernetes.io/managed-by!=bowline',
      '-o',
      'jsonpath={.items[*].metadata.name}',
    ]);
    assert.equal(left, 'caller');
    for (const url of ['web', 'db-read', 'solo']) assert.equal((await ask(daemon, namespace, url)).by, 'machine');
    // The ordinal's own name is the agent's.
    await namespace.waitFor(
      'db-0.db here',
      async () => (await ask(daemon, namespace, 'db-0.db:8080')).by === 'machine',
    );
    await Promise.all(names.map((name) => daemon.disconnect(name)));
    for (const url of ['web', 'db-read', 'solo']) assert.notEqual((await ask(daemon, namespace, url)).by, 'machine');
    await assertNoSession(namespace);
    // Pods of controllers have other names now, and with them their slices; the bare one is the same but for its address.
    await assertAsBefore(namespace, was, {
      names: /^(Pod\/(web|db)-|EndpointSlice\/|Endpoints\/)/,
      anew: /^Pod\/solo$/,
    });
  });

  void test('a namespace that enforces Pod Security restricted, port 80 as non-root, with a user in the template and without', async () => {
    const hardened = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } };
    const pod = {
      securityContext: {
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
        sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '0' }],
      },
    };
    const ports = [{ name: 'http', containerPort: 80 }];
    const numbered = container(daemon.test, {
      ports,
      securityContext: { ...hardened, runAsUser: 4711, runAsGroup: 4712 },
    });
    // The image's own USER is a name and root at that: only a number in the pod makes it non-root; the container says none.
    const inPod = { securityContext: { ...pod.securityContext, runAsUser: 1000 } };
    // The image says the user, the template only that it is none of root's; only our own cluster has such an image.
    const byImage =
      daemon.test.instance === undefined
        ? []
        : [
            workload(
              'Deployment',
              'image',
              podSpec([container(daemon.test, { ports, securityContext: hardened, image: shopImage().name })], pod),
            ),
            service('image', 'image', web),
          ];
    const users = [['own', 4711], ['pod', 1000], ...(byImage.length === 0 ? [] : [['image', 1000] as const])] as const;
    await using namespace = await deploy(daemon, {
      objects: [
        ...byImage,
        workload('Deployment', 'own', podSpec([numbered], pod)),
        service('own', 'own', web),
        workload('Deployment', 'pod', podSpec([container(daemon.test, { ports, securityContext: hardened })], inPod)),
        service('pod', 'pod', web),
      ],
      ready: users.map(([name]) => `deploy/${name}`),
      urls: users.map(([name]) => name),
      labels: { 'pod-security.kubernetes.io/enforce': 'restricted' },
    });
    const was = await before(namespace);
    await using program = await startProgram();
    for (const [name, uid] of users) {
      const connection = await daemon.connect({
        namespace: namespace.name,
        target: `deploy/${name}`,
        ports: [{ local: program.port, remote: 80 }],
      });
      assert.equal((await ask(daemon, namespace, name)).by, 'machine');
      const place = { namespace: namespace.name, name: connection.agent!.pod, container: 'main' };
      const { stdout } = await daemon.cluster.exec(place, ['cat', '/proc/1/status']);
      assert.match(stdout.toString(), new RegExp(`^Uid:\\t${uid}\\t${uid}\\t`, 'm'));
      assert.match(stdout.toString(), /^CapEff:\t0+$/m);
      await daemon.disconnect(connection.name);
    }
    const gateway = await daemon.connect({ namespace: namespace.name });
    await daemon.disconnect(gateway.name);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  /** The administrator's kubeconfig with its context under a second name beside it. */
  async function kubeconfigWithContext(
    { test }: TestDaemon,
    name: string,
    folder: string,
    namespace?: string,
  ): Promise<string> {
    const config = JSON.parse(await test.kubectl(['config', 'view', '--raw', '--flatten', '-o', 'json'])) as {
      contexts: Array<{ name: string; context: object }>;
    };
    config.contexts.push({ name, context: { ...config.contexts[0]!.context, ...(namespace && { namespace }) } });
    const file = join(folder, 'config');
    await writeFile(file, JSON.stringify(config));
    return file;
  }

  void test('two redirects and names alone at once, in two namespaces and two contexts', async () => {
    const objects = [workload('Deployment', 'web', podSpec([container(daemon.test)])), service('web', 'web', web)];
    await using one = await deploy(daemon, { objects, ready: ['deploy/web'], urls: ['web'] });
    await using two = await deploy(daemon, { objects, ready: ['deploy/web'], urls: ['web'] });
    const was = [await before(one), await before(two)];
    await using program = await startProgram();
    const ports = [{ local: program.port, remote: 8080 }];
    await using folder = await stateFolder();
    const other = { kubeconfig: await kubeconfigWithContext(daemon, 'other', folder.path), context: 'other' };
    const connections = await Promise.all([
      daemon.connect({ namespace: one.name, target: 'deploy/web', ports }),
      daemon.connect({ namespace: two.name, target: 'deploy/web', ports, ...other }),
      daemon.connect({ namespace: one.name }),
    ]);
    assert.equal(connections[1].context, 'other');
    assert.deepEqual(
      connections.map(({ name }) => name),
      [`${one.name}/web`, `${two.name}/web`, one.name],
    );
    assert.equal((await ask(daemon, one, 'web')).by, 'machine');
    assert.equal((await ask(daemon, two, `web.${one.name}`)).by, 'machine');
    assert.equal((await ask(daemon, two, 'web')).by, 'machine');
    // The first ends alone: the others stand, and share what they had in common (the agent's code).
    await daemon.disconnect(connections[0].name);
    assert.match((await ask(daemon, one, 'web')).by, /^web-/);
    assert.equal((await ask(daemon, two, 'web')).by, 'machine');
    const named = connections[2].services.find(({ namespace, service }) => namespace === one.name && service === 'web');
    const response = await fetch(`http://${named?.address}:${named?.ports[0]?.local}/`);
    assert.match(((await response.json()) as { by: string }).by, /^web-/);
    await Promise.all([daemon.disconnect(connections[1].name), daemon.disconnect(connections[2].name)]);
    for (const [index, namespace] of [one, two].entries()) {
      await assertNoSession(namespace);
      await assertAsBefore(namespace, was[index]!);
    }
  });

  void test('two workloads of one name; a namespace that the user switches to; a namespace that bounds its containers', async () => {
    const pods = { replicas: 1, serviceName: 'web', ordinals: { start: 5 } };
    const bounds = { max: { cpu: '1', memory: '256Mi' }, default: { cpu: '500m', memory: '128Mi' } };
    const limits = {
      apiVersion: 'v1',
      kind: 'LimitRange',
      metadata: { name: 'bounds' },
      spec: {
        limits: [{ type: 'Container', ...bounds, defaultRequest: { cpu: '10m', memory: '32Mi' } }],
      },
    };
    const deployment = workload('Deployment', 'web', podSpec([container(daemon.test)]));
    const set = workload('StatefulSet', 'web', podSpec([container(daemon.test)], { hostname: 'kept' }), pods) as {
      spec: { selector: { matchLabels: object }; template: { metadata: { labels: object } } };
    };
    set.spec.selector.matchLabels = set.spec.template.metadata.labels = { app: 'set' };
    await using one = await deploy(daemon, {
      objects: [limits, deployment, set, service('web', 'web', web), service('set', 'set', web)],
      ready: ['deploy/web', 'sts/web'],
      urls: ['web', 'set'],
    });
    await using two = await deploy(daemon, { objects: [], ready: [], urls: [] });
    const was = await before(one);
    await using program = await startProgram();
    await using folder = await stateFolder();
    const kubeconfig = await kubeconfigWithContext(daemon, 'mine', folder.path, one.name);
    const request = { kubeconfig, context: 'mine', ports: [{ local: program.port, remote: 8080 }] };
    const first = await daemon.connect({ ...request, target: 'deploy/web' });
    const second = await daemon.connect({ ...request, target: 'sts/web' });
    assert.deepEqual([first.name, second.name], [`${one.name}/web`, `${one.name}/sts/web`]);
    for (const url of ['web', 'set']) assert.equal((await ask(daemon, one, url)).by, 'machine');
    const host = await one.kubectl(['get', 'pod', second.agent!.pod, '-o', 'jsonpath={.spec.hostname}']);
    assert.equal(host, 'web-5', 'of the first ordinal');
    await fails(
      daemon.connect({ ...request, target: 'sts/web' }),
      'ALREADY_CONNECTED',
      /sts\/web is connected already/,
    );
    // As `kubectl config set-context --current --namespace` while others are connected with the same file.
    await kubeconfigWithContext(daemon, 'mine', folder.path, two.name);
    const third = await daemon.connect({ kubeconfig, context: 'mine' });
    assert.equal(third.name, two.name);
    await Promise.all([first, second, third].map(({ name }) => daemon.disconnect(name)));
    await assertNoSession(one);
    await assertAsBefore(one, was);
  });

  void test('variables: of the process; of a command where processes are shared; of the agent where nothing can be run', async () => {
    const env = [
      { name: 'A', value: 'a $(B)' },
      { name: 'NODE_OPTIONS', value: '--max-old-space-size=99' },
    ];
    const shell = { ...container(daemon.test, { env }), readinessProbe: undefined };
    const wrapped = { ...shell, command: ['sh', '-c', 'export BY_ENTRYPOINT=yes; exec node /program/program.mjs'] };
    const objects = [
      workload('Deployment', 'process', podSpec([wrapped])),
      workload('Deployment', 'shared', podSpec([shell], { shareProcessNamespace: true })),
      workload(
        'Deployment',
        'nothing',
        podSpec([{ name: 'main', image: pauseImage, imagePullPolicy: 'IfNotPresent', env }]),
      ),
    ];
    const cases = daemon.test.instance === undefined ? objects.slice(0, 2) : objects;
    const names = ['process', 'shared', 'nothing'].slice(0, cases.length);
    await using namespace = await deploy(daemon, {
      objects: cases,
      ready: names.map((name) => `deploy/${name}`),
      urls: [],
    });
    const environments = await Promise.all(
      names.map(async (name) => {
        const connection = await daemon.connect({ namespace: namespace.name, target: `deploy/${name}` });
        const { variables, source } = await daemon.manager.environment(
          connection.name,
          { inPlace: false },
          new AbortController().signal,
        );
        await daemon.disconnect(connection.name);
        assert.equal(variables['A'], 'a $(B)');
        assert.equal(variables['NODE_OPTIONS'], '--max-old-space-size=99');
        return [source, variables['BY_ENTRYPOINT']];
      }),
    );
    const expected = [
      ['process', 'yes'],
      ['exec', undefined],
      ['spec', undefined],
    ];
    assert.deepEqual(environments, expected.slice(0, cases.length));
    await assertNoSession(namespace);
  });
});
