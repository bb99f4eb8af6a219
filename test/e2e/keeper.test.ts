/**
 * What happens in the cluster when a machine vanishes for good: its keeper puts everything back, with no healthy agent, and
 * killed itself in the middle. Lapses are shortened; the daemon of the test ends as after a kill -9.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before as beforeAll, suite, test } from 'node:test';
import { promisify } from 'node:util';
import type { KubernetesObject } from '@kubernetes/client-node';
import type { Connection, Redirect } from '../../api/schema.ts';
import type { Cluster } from '../../daemon/cluster/cluster.ts';
import type { Resource } from '../../daemon/cluster/resources.ts';
import { silentLog, type Log } from '../../daemon/log.ts';
import { keeperRules } from '../../daemon/redirect/keeper-objects.ts';
import { keep } from '../../keeper/keep.ts';
import { leases } from '../../daemon/cluster/resources.ts';
import type { TestNamespace } from '../cluster/namespace.ts';
import { startLoad, wasCutOff } from '../cluster/load.ts';
import { diffSnapshots, snapshot } from '../cluster/snapshot.ts';
import {
  ask,
  assertAsBefore,
  assertNoSession,
  before,
  container,
  deploy,
  podSpec,
  service,
  startDaemon,
  startProgram,
  startRelay,
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

const never = new AbortController().signal;
const web = [{ name: 'http', port: 80, targetPort: 'http' }];
const restricted = { 'pod-security.kubernetes.io/enforce': 'restricted' };
const admitted = {
  runAsNonRoot: true,
  runAsUser: 1000,
  runAsGroup: 1000,
  seccompProfile: { type: 'RuntimeDefault' },
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
};
const webSpec = (): object => podSpec([container(daemon.test, { securityContext: admitted })]);
const deployWeb = (): Promise<TestNamespace> =>
  deploy(daemon, {
    objects: [workload('Deployment', 'web', webSpec()), service('web', 'web', web)],
    ready: ['deploy/web'],
    urls: ['web'],
    labels: restricted,
  });

/** A connection, once it is as wanted. */
async function reaches(
  of: TestDaemon,
  name: string,
  what: string,
  isSo: (connection: Connection) => boolean,
): Promise<Connection> {
  const { promise, resolve, reject } = Promise.withResolvers<Connection>();
  const look = (): void => {
    const connection = of.manager.list().find((each) => each.name === name);
    if (connection !== undefined && isSo(connection)) resolve(connection);
  };
  const late = setTimeout(() => reject(new Error(`${name}: not within 60 s: ${what}`)), 60_000);
  const unsubscribe = of.manager.onChange(look);
  look();
  return promise.finally(() => {
    unsubscribe();
    clearTimeout(late);
  });
}

/** The keeper watches the session; until then nobody would put it back. */
const keptBy = (of: TestDaemon, name: string): Promise<Connection> =>
  reaches(of, name, 'a keeper watches it', ({ keeper }) => keeper !== undefined);

const warningsOf = ({ warnings }: Connection): string[] =>
  warnings.flatMap(({ code, message }) => (code === 'NO_KEEPER' ? [message] : []));

/** A connection of a machine that then vanishes; nobody has its state. */
async function connectAndVanish(
  request: Parameters<TestDaemon['connect']>[0],
  beforeEnd: (connection: Connection) => Promise<unknown> = async () => undefined,
): Promise<void> {
  await using folder = await stateFolder();
  const machine = await startDaemon(daemon.test, {
    stateFolder: folder.path,
    identity: { user: 'gone', host: 'away' },
  });
  const connection = await machine.connect({ lapseSeconds: 5, ...request });
  await keptBy(machine, connection.name);
  await beforeEnd(connection);
  await machine.crash();
}

/** No Lease is left; with the keeper's own words where that does not come true. */
async function restored(namespace: TestNamespace): Promise<void> {
  const none = async (): Promise<boolean> =>
    (await daemon.cluster.list(leases, { namespace: namespace.name })).length === 0;
  await namespace
    .waitFor('the keeper to put everything back', none, { timeout: 60_000 })
    .catch(async (error: unknown) => {
      const logs = await namespace.kubectl(['logs', 'deploy/bowline-keeper', '--tail=50']).catch(String);
      const objects = await namespace.kubectl(['get', 'pods,leases', '-o', 'wide']);
      throw new Error(`${String(error)}\n${logs}\n${objects}`);
    });
}

void suite('the keeper', { concurrency: 5, timeout: 600_000 }, () => {
  void test('comes with the first session and goes with the last; a disconnect leaves nothing of it', async () => {
    await using namespace = await deployWeb();
    await namespace.apply([workload('Deployment', 'api', webSpec()), service('api', 'api', web)]);
    await namespace.rollout('deploy/api');
    const was = await before(namespace);
    const both = await Promise.all(
      ['web', 'api'].map((name) => daemon.connect({ namespace: namespace.name, target: `deploy/${name}` })),
    );
    await Promise.all(both.map(({ name }) => keptBy(daemon, name)));
    const list = await namespace.get<{ items: unknown[] }>('deployments', '-l', 'app.kubernetes.io/managed-by=bowline');
    assert.equal(list.items.length, 1);
    await daemon.disconnect(both[0]!.name);
    await namespace.kubectl(['get', 'deploy/bowline-keeper', 'serviceaccount/bowline-keeper']);
    await daemon.disconnect(both[1]!.name);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('a machine that is killed and never comes back: restored, and no request is lost', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    const was = await before(namespace);
    {
      await using load = await startLoad(namespace, { url: 'http://web/' });
      await connectAndVanish(
        { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] },
        () => load.answeredBy((by) => by === 'machine', 'the machine'),
      );
      const vanished = Date.now();
      await restored(namespace);
      await load.answeredBy((by) => by.startsWith('web-'), 'the original');
      const { subject } = await load.stop();
      assert.deepEqual(
        subject.failed.filter((record) => !wasCutOff(record, vanished)),
        [],
      );
    }
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  for (const [what, break_] of [
    ['an image that cannot be pulled any more', { image: 'registry.invalid/none:1' }],
    ['an agent that crashes again and again', { command: ['false'] }],
  ] as const) {
    void test(`needs no healthy agent: ${what}`, async () => {
      await using namespace = await deployWeb();
      const was = await before(namespace);
      await connectAndVanish({ namespace: namespace.name, target: 'deploy/web' }, async ({ id }) => {
        const patch = { spec: { template: { spec: { containers: [{ name: 'main', ...break_ }] } } } };
        await namespace.kubectl(['patch', `rs/bowline-${id}`, '-p', JSON.stringify(patch)]);
        await namespace.kubectl(['delete', 'pod', '-l', `bowline.dev/session=${id}`, '--grace-period=0', '--force']);
      });
      await restored(namespace);
      assert.match((await namespace.waitFor('the original', () => ask(daemon, namespace, 'web'))).by, /^web-/);
      await assertAsBefore(namespace, was);
    });
  }

  for (const [kind, target] of [
    ['Deployment', 'deploy/web'],
    ['StatefulSet', 'sts/web'],
    ['Pod', 'pod/web'],
  ] as const) {
    void test(`starts stopped originals again: ${kind}`, async () => {
      const bare = { apiVersion: 'v1', kind, metadata: { name: 'web', labels: { app: 'web' } }, spec: webSpec() };
      const object =
        kind === 'Pod' ? bare : workload(kind, 'web', webSpec(), kind === 'StatefulSet' ? { serviceName: 'web' } : {});
      await using namespace = await deploy(daemon, {
        objects: [object, service('web', 'web', web)],
        ready: [target],
        urls: ['web'],
        labels: restricted,
      });
      const was = await before(namespace);
      await connectAndVanish({ namespace: namespace.name, target, stopOriginal: true });
      await restored(namespace);
      assert.match((await namespace.waitFor('the original', () => ask(daemon, namespace, 'web'))).by, /^web/);
      await assertAsBefore(namespace, was, {
        anew: /^Pod\/web$/,
        names: /^(Pod\/web-|EndpointSlice\/|Endpoints\/)/,
      });
    });
  }

  void test('a machine that only slept says so and is connected anew, unless somebody else took the workload', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    await using folder = await stateFolder();
    const was = await before(namespace);
    const asleep = await startDaemon(daemon.test, { stateFolder: folder.path });
    const request = { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] };
    const first = await asleep.connect({ ...request, lapseSeconds: 5 });
    await keptBy(asleep, first.name);
    await asleep.crash();
    await restored(namespace);
    assert.match((await namespace.waitFor('the original', () => ask(daemon, namespace, 'web'))).by, /^web-/);
    await using awake = await startDaemon(daemon.test, { stateFolder: folder.path });
    const reasons = new Set<string>();
    const { promise, resolve } = Promise.withResolvers<Connection>();
    awake.manager.onChange(({ connection }) => {
      if (connection?.reason !== undefined) reasons.add(connection.reason);
      if (connection?.state === 'connected') resolve(connection);
    });
    await awake.manager.resume(never);
    const second = await promise;
    assert.notEqual(second.id, first.id);
    assert.equal((await ask(daemon, namespace, 'web')).by, 'machine');
    assert.ok([...reasons].some((reason) => /gave no sign for 5 s .+ put back .+ Connecting anew/.test(reason)));
    await awake.disconnect(second.name);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('one that somebody deleted or scaled to 0 is made again, and watches; where it cannot be, that is said', async () => {
    await using namespace = await deployWeb();
    await namespace.apply([workload('Deployment', 'api', webSpec()), service('api', 'api', web)]);
    await namespace.rollout('deploy/api');
    const was = await before(namespace);
    await connectAndVanish({ namespace: namespace.name, target: 'deploy/web' }, async () => {
      const uid = async (): Promise<string> =>
        namespace.kubectl(['get', 'deploy/bowline-keeper', '--ignore-not-found', '-o', 'jsonpath={.metadata.uid}']);
      for (const end of [
        ['delete', 'deploy/bowline-keeper'],
        ['scale', 'deploy/bowline-keeper', '--replicas=0'],
      ]) {
        const former = await uid();
        await namespace.kubectl(end);
        await namespace.waitFor('another keeper', async () => !['', former].includes(await uid()), { timeout: 30_000 });
      }
    });
    await restored(namespace);

    await using other = await startDaemon(daemon.test, { keeper: false });
    const { name: mine } = await daemon.connect({ namespace: namespace.name, target: 'deploy/web' });
    const { name } = await other.connect({ namespace: namespace.name, target: 'deploy/api', lapseSeconds: 5 });
    await keptBy(other, name);
    const isGone = /No keeper is left in namespace .+, and none can be made: .+ `bowline restore`/;
    const lacking = reaches(other, name, 'a warning', (each) => isGone.test(warningsOf(each).join()));
    await daemon.disconnect(mine);
    assert.equal((await lacking).keeper, undefined);
    await other.disconnect(name);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('one that is there and does not work is said to be so, until it works again', async () => {
    await using namespace = await deployWeb();
    const was = await before(namespace);
    const { name } = await daemon.connect({ namespace: namespace.name, target: 'deploy/web', lapseSeconds: 5 });
    await keptBy(daemon, name);
    const run = (image: string): Promise<string> =>
      namespace.kubectl(['set', 'image', 'deploy/bowline-keeper', `keeper=${image}`]);
    await run('registry.invalid/none:1');
    const said = /keeper of namespace .+ gives no sign; `kubectl describe .+` may say why/;
    const broken = await reaches(daemon, name, 'a warning', (each) => said.test(warningsOf(each).join()));
    assert.equal(broken.keeper, undefined);
    await run(daemon.test.nodeImage);
    assert.deepEqual(warningsOf(await keptBy(daemon, name)), []);
    await daemon.disconnect(name);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('a Lease that was deleted while no keeper was there: found by its record, though no Service was redirected', async () => {
    await using namespace = await deploy(daemon, {
      objects: [workload('Deployment', 'worker', webSpec())],
      ready: ['deploy/worker'],
      urls: [],
      labels: restricted,
    });
    const was = await before(namespace);
    const request = { namespace: namespace.name, target: 'deploy/worker', stopOriginal: true, lapseSeconds: 600 };
    await connectAndVanish(request);
    const scale = (replicas: number): Promise<string> =>
      namespace.kubectl(['scale', 'deploy/bowline-keeper', `--replicas=${replicas}`]);
    await scale(0);
    await namespace.kubectl(['wait', '--for=delete', 'pod', '-l', 'bowline.dev/keeper=namespace', '--timeout=60s'], {
      timeout: 65_000,
    });
    await namespace.kubectl(['delete', 'leases', '--all']);
    await scale(1);
    const records = async (): Promise<string> =>
      namespace.kubectl(['get', 'configmaps', '-l', 'bowline.dev/session', '-o', 'name']);
    await namespace.waitFor('the session to be put back', async () => (await records()) === '', { timeout: 60_000 });
    await assertAsBefore(namespace, was, { names: /^Pod\/worker-/ });
  });

  void test('uses what its Role lists, and nothing else', async () => {
    const kinds = [
      ['Deployment', 'deploy', 'one'],
      ['StatefulSet', 'sts', 'two'],
      ['ReplicaSet', 'rs', 'three'],
      ['Pod', 'pod', 'four'],
    ] as const;
    const labels = (name: string): object => ({ name, labels: { app: name } });
    await using namespace = await deploy(daemon, {
      objects: kinds.flatMap(([kind, , name]) => [
        kind === 'Pod'
          ? { apiVersion: 'v1', kind, metadata: labels(name), spec: webSpec() }
          : workload(kind, name, webSpec(), kind === 'StatefulSet' ? { serviceName: name } : {}),
        service(name, name, web),
      ]),
      ready: kinds.map(([, short, name]) => `${short}/${name}`),
      urls: [],
    });
    await using folder = await stateFolder();
    const machine = await startDaemon(daemon.test, { stateFolder: folder.path, keeper: false });
    await Promise.all(
      kinds.map(([, short, name]) =>
        machine.connect({
          namespace: namespace.name,
          target: `${short}/${name}`,
          stopOriginal: true,
          withoutKeeper: true,
          lapseSeconds: 5,
        }),
      ),
    );
    await machine.crash();
    const used = new Set<string>();
    {
      await using _ = keepHere(recorded(daemon.cluster, used), namespace, silentLog);
      await restored(namespace);
    }
    const listed = keeperRules.flatMap(({ apiGroups, resources, verbs }) =>
      (resources ?? []).flatMap((resource) => verbs.map((verb) => `${verb} ${resource}.${apiGroups?.[0]}`)),
    );
    assert.deepEqual([...used].sort(), listed.sort());
  });

  void test('while nobody can hear anybody, nobody is taken for gone', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    await using folder = await stateFolder();
    await using relay = await startRelay(daemon.test, folder.path, 0);
    await using machine = await startDaemon(daemon.test, { kubeconfig: relay.kubeconfig, keeper: false });
    await using cut = await startDaemon(daemon.test, { kubeconfig: relay.kubeconfig });
    const log: string[] = [];
    const heard = (event: string): unknown => log.push(event);
    await using _ = keepHere(cut.cluster, namespace, { ...silentLog, info: heard, warn: heard, error: heard });
    const request = { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] };
    const connection = await machine.connect({ ...request, lapseSeconds: 5 });
    await keptBy(machine, connection.name);
    const lease = async (): Promise<Redirect | undefined> => {
      const where = { kubeconfig: daemon.test.kubeconfig, namespace: namespace.name, allNamespaces: false };
      return (await daemon.manager.redirects(where, never))[0];
    };
    relay.cut(true);
    // Longer than the lapse, by the API server's own clock.
    await namespace.waitFor('the lapse', async () => ((await lease())?.silentSeconds ?? 0) > 7, { interval: 500 });
    relay.cut(false);
    await namespace.waitFor('a sign', async () => ((await lease())?.silentSeconds ?? 99) < 2, { timeout: 60_000 });
    assert.ok(log.includes('keeper.watch-broken'), log.join());
    assert.ok(!log.includes('keeper.restoring'), log.join());
    assert.equal((await lease())?.session, connection.id);
    await machine.disconnect(connection.name);
  });

  void test('by hand: the lines of docs/keeper.md, with kubectl alone and with a keeper', async () => {
    await using namespace = await deployWeb();
    const was = await before(namespace);
    await using folder = await stateFolder();
    for (const which of [1, 2]) {
      const machine = await startDaemon(daemon.test, { stateFolder: folder.path });
      const { name } = await machine.connect({ namespace: namespace.name, target: 'deploy/web' });
      await keptBy(machine, name);
      await machine.crash();
      await fromDocs(namespace, which);
      assert.match((await namespace.waitFor('the original', () => ask(daemon, namespace, 'web'))).by, /^web-/);
      await namespace.waitFor(
        'the namespace to be as before',
        async () => diffSnapshots(was.objects, await snapshot(namespace.cluster, namespace.name)) === '',
        { timeout: 30_000 },
      );
    }
  });
});

/** A keeper in this process, until it is disposed. */
function keepHere(cluster: Cluster, { name: namespace }: TestNamespace, log: Log): AsyncDisposable {
  const end = new AbortController();
  const keeping = keep(cluster, { namespace, log, signal: end.signal }).catch(() => undefined);
  return {
    async [Symbol.asyncDispose]() {
      end.abort();
      await keeping;
    },
  };
}

/** The same cluster; `used` gets each right that is made use of, as `patch services.`. */
function recorded(cluster: Cluster, used: Set<string>): Cluster {
  const verbs: Record<string, string[]> = {
    get: ['get'],
    find: ['get'],
    list: ['list'],
    watch: ['list', 'watch'],
    create: ['create'],
    patch: ['patch'],
    delete: ['delete'],
  };
  return new Proxy(cluster, {
    get(of, name: keyof Cluster) {
      const method: unknown = of[name];
      if (typeof method !== 'function') return method;
      return (...args: unknown[]): unknown => {
        const resource = args[0] as Resource<KubernetesObject>;
        const known = verbs[name];
        if (known === undefined) used.add(`unknown ${name}`);
        for (const verb of known ?? []) used.add(`${verb} ${resource.plural}.${resource.group}`);
        return Reflect.apply(method, of, args);
      };
    },
  });
}

/** Runs the last shell blocks of docs/keeper.md as they stand there; 2 is the last. */
async function fromDocs(namespace: TestNamespace, which: number): Promise<void> {
  const text = await readFile(join(import.meta.dirname, '../../docs/keeper.md'), 'utf8');
  const blocks = [...text.matchAll(/^```sh\n([^]*?)^```$/gm)].map((match) => match[1]!);
  const script = blocks
    .at(which - 3)!
    .replace('LEASE', 'bowline-deployment-web')
    .replace('NAMESPACE', namespace.name);
  const { kubectlPath, kubeconfig } = namespace.cluster;
  const PATH = `${dirname(kubectlPath)}:${process.env['PATH']}`;
  await promisify(execFile)('sh', ['-ec', script], {
    env: { ...process.env, PATH, KUBECONFIG: kubeconfig, NS: namespace.name },
  });
}
