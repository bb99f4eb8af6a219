/** How a connection ends other than by disconnect: an abort at each step, a daemon that was killed, somebody else's hand. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rename } from 'node:fs/promises';
import { after, before as beforeAll, suite, test } from 'node:test';
import type { V1Lease, V1Service } from '@kubernetes/client-node';
import type { Connection } from '../../api/schema.ts';
import { configMaps, leases, services } from '../../daemon/cluster/resources.ts';
import { sessionLabel, sessionObjectName } from '../../daemon/redirect/objects.ts';
import { readOriginal } from '../../daemon/redirect/record.ts';
import { writeKubeconfig } from './login.ts';
import { startLoad, wasCutOff } from '../cluster/load.ts';
import type { TestNamespace } from '../cluster/namespace.ts';
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

const web = [{ name: 'http', port: 80, targetPort: 'http' }];
const never = new AbortController().signal;

const deployWeb = (labels: Record<string, string> = {}): Promise<TestNamespace> =>
  deploy(daemon, {
    objects: [workload('Deployment', 'web', podSpec([container(daemon.test)])), service('web', 'web', web)],
    ready: ['deploy/web'],
    urls: ['web'],
    labels,
  });

/** The state of a connection, followed as clients do. */
async function reaches(
  of: TestDaemon,
  name: string,
  accept: (connection: Connection | undefined) => boolean,
  timeout = 30_000,
): Promise<Connection | undefined> {
  const look = (): Connection | undefined => of.manager.list().find((each) => each.name === name);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const late = AbortSignal.timeout(timeout);
  late.addEventListener('abort', () =>
    reject(new Error(`${name} is ${JSON.stringify(look()?.state)}: ${look()?.reason}`)),
  );
  const unsubscribe = of.manager.onChange(() => accept(look()) && resolve());
  if (accept(look())) resolve();
  await promise.finally(unsubscribe);
  return look();
}

void suite('the end of a redirect', { concurrency: 5, timeout: 300_000 }, () => {
  // First: it waits the longest.
  void test('a slow API server is waited for; one that stops answering is not waited for for ever, and undone later', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    await using folder = await stateFolder();
    await using relay = await startRelay(daemon.test, folder.path, 60);
    const was = await before(namespace);
    const request = { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] };
    {
      await using slow = await startDaemon(daemon.test, { kubeconfig: relay.kubeconfig });
      const connection = await slow.connect(request);
      assert.equal((await ask(daemon, namespace, 'web')).by, 'machine');
      await slow.disconnect(connection.name);
      await assertNoSession(namespace);
    }
    const stuck = await startDaemon(daemon.test, { kubeconfig: relay.kubeconfig, stateFolder: folder.path });
    const connecting = stuck.connect(request, never, (step) => step === 'tunnel' && relay.freeze(true));
    await fails(connecting, 'API_UNREACHABLE', /could not be released/, /bowline restore/);
    await stuck.crash();
    relay.freeze(false);
    await using next = await startDaemon(daemon.test, { kubeconfig: relay.kubeconfig, stateFolder: folder.path });
    await next.manager.resume(never);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('an abort at each step leaves nothing behind', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    const was = await before(namespace);
    const steps = ['check', 'lease', 'agent', 'tunnel', 'redirect', 'proof', 'stop', 'names', 'done'];
    const reached = new Set<string>();
    for (const last of steps) {
      const abort = new AbortController();
      const connecting = daemon.connect(
        {
          namespace: namespace.name,
          target: 'deploy/web',
          ports: [{ local: program.port, remote: 8080 }],
          stopOriginal: last === 'stop',
          drainSeconds: 0,
        },
        abort.signal,
        (step) => {
          reached.add(step);
          if (step === last) abort.abort();
        },
      );
      // Whoever hears `done` is connected already.
      if (last === 'done') await daemon.disconnect((await connecting).name);
      else
        await fails(connecting, 'CANCELLED', last === 'check' ? /nothing was changed/ : /everything was put back/, /^/);
      await assertNoSession(namespace);
      assert.match((await namespace.waitFor('the original', () => ask(daemon, namespace, 'web'))).by, /^web-/, last);
      assert.deepEqual(
        daemon.manager.list().filter((each) => each.namespace === namespace.name && each.state !== 'failed'),
        [],
        last,
      );
    }
    assert.deepEqual(
      steps.filter((step) => !reached.has(step)),
      [],
    );
    await assertAsBefore(namespace, was, { names: /^(Pod\/web-|EndpointSlice\/|Endpoints\/)/ });
  });

  void test('a tunnel that is lost before the proof is opened again', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    await using folder = await stateFolder();
    await using relay = await startRelay(daemon.test, folder.path, 0);
    await using machine = await startDaemon(daemon.test, { kubeconfig: relay.kubeconfig, keeper: false });
    const request = { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] };
    const steps: string[] = [];
    const { name } = await machine.connect(request, never, (step) => {
      steps.push(step);
      if (step !== 'proof') return;
      relay.cut(true);
      relay.cut(false);
    });
    assert.equal(steps.filter((step) => step === 'tunnel').length, 2, steps.join());
    assert.equal((await ask(daemon, namespace, 'web')).by, 'machine');
    await machine.disconnect(name);
    await assertNoSession(namespace);
  });

  void test('disconnect while connecting undoes it too', async () => {
    await using namespace = await deployWeb();
    const was = await before(namespace);
    let ended: Promise<unknown> | undefined;
    const connecting = daemon.connect({ namespace: namespace.name, target: 'deploy/web' }, never, (step) => {
      if (step === 'redirect') ended = daemon.disconnect(`${namespace.name}/web`).catch(() => undefined);
    });
    await fails(connecting, 'CANCELLED', /being disconnected/, /^/);
    await ended;
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('the clone of a sidecar that does not hear SIGTERM is not waited for', async () => {
    const image = { image: daemon.test.nodeImage, imagePullPolicy: 'IfNotPresent' };
    const deaf = { name: 'deaf', ...image, command: ['sleep', '100000'] };
    await using namespace = await deploy(daemon, {
      objects: [workload('Deployment', 'web', podSpec([container(daemon.test), deaf])), service('web', 'web', web)],
      ready: ['deploy/web'],
      urls: ['web'],
    });
    await using program = await startProgram();
    const was = await before(namespace);
    const request = { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] };
    const { name } = await daemon.connect(request);
    const steps: string[] = [];
    await daemon.disconnect(name, (step) => steps.push(step));
    assert.equal(steps.at(-2), 'ending', steps.join());
    assert.match((await ask(daemon, namespace, 'web')).by, /^web-/);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('a daemon that starts again takes up what was connected and undoes what was half done', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    await using folder = await stateFolder();
    const was = await before(namespace);
    const first = await startDaemon(daemon.test, { stateFolder: folder.path });
    const request = { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] };
    const connection = await first.connect(request);
    await fails(
      daemon.connect(request),
      'ALREADY_REDIRECTED',
      /already redirected by .+@.+ since 2/,
      /disconnect.+restore/s,
    );
    await first.crash();
    {
      await using second = await startDaemon(daemon.test, { stateFolder: folder.path });
      await second.manager.resume(never);
      await reaches(second, connection.name, (each) => each?.state === 'connected');
      assert.equal((await ask(daemon, namespace, 'web')).by, 'machine');
      const environment = await second.manager.environment(connection.name, { inPlace: false }, never);
      assert.equal(environment.variables['CONTAINER'], 'main');
      assert.equal(environment.source, 'process');
      await second.disconnect(connection.name);
    }
    assert.match((await ask(daemon, namespace, 'web')).by, /^web-/);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('a daemon that starts without the kubeconfig of a connection shows it and why; a disconnect ends it here', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    await using folder = await stateFolder();
    const was = await before(namespace);
    const kubeconfig = await writeKubeconfig(namespace, { folder: folder.path, name: 'lent' });
    const first = await startDaemon(daemon.test, { stateFolder: folder.path, kubeconfig });
    const ports = [{ local: program.port, remote: 8080 }];
    const { name } = await first.connect({ namespace: namespace.name, target: 'deploy/web', ports });
    await first.crash();
    await rename(kubeconfig, `${kubeconfig}.away`);
    {
      await using second = await startDaemon(daemon.test, { stateFolder: folder.path });
      const stop = new AbortController();
      const resumed = second.manager.resume(stop.signal).catch(() => undefined);
      const waiting = await reaches(second, name, (each) => each?.state === 'reconnecting');
      assert.match(waiting?.reason ?? '', /lent.+Next try in \d+ s/);
      await rename(`${kubeconfig}.away`, kubeconfig);
      await reaches(second, name, (each) => each?.state === 'connected');
      await rename(kubeconfig, `${kubeconfig}.away`);
      await second.crash();
      stop.abort();
      await resumed;
    }
    await using third = await startDaemon(daemon.test, { stateFolder: folder.path });
    const resumed = third.manager.resume(never);
    await reaches(third, name, (each) => each?.state === 'reconnecting');
    await fails(
      third.disconnect(name),
      'KUBECONFIG_NOT_FOUND',
      /not kept on this machine any more/,
      /bowline restore -n/,
    );
    await resumed;
    assert.deepEqual(third.manager.list(), []);
    await third.manager.restore(
      { kubeconfig: daemon.test.kubeconfig, namespace: namespace.name, all: true, dryRun: false },
      () => undefined,
      never,
    );
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('a link that is lost in a proof is noticed by the heartbeat, not by the end of the proof', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    await using folder = await stateFolder();
    await using relay = await startRelay(daemon.test, folder.path, 0);
    await using machine = await startDaemon(daemon.test, { kubeconfig: relay.kubeconfig, keeper: false });
    const ports = [{ local: program.port, remote: 8080 }];
    // A proof begins each second: one is under way when the heartbeat ends, and alone would wait for 15 s.
    const { name } = await machine.connect({ namespace: namespace.name, target: 'deploy/web', ports, proofSeconds: 1 });
    relay.freeze(true);
    const late = AbortSignal.timeout(11_000);
    const noticed = reaches(machine, name, (each) => each?.state === 'reconnecting');
    await Promise.race([noticed, once(late, 'abort').then(() => assert.fail('it was still said to be connected'))]);
    relay.freeze(false);
    await reaches(machine, name, (each) => each?.state === 'connected');
    await machine.disconnect(name);
    await assertNoSession(namespace);
  });

  void test('connecting anew fails once in the middle: the next try stands', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    await using folder = await stateFolder();
    await using relay = await startRelay(daemon.test, folder.path, 0);
    await using machine = await startDaemon(daemon.test, { kubeconfig: relay.kubeconfig });
    const ports = [{ local: program.port, remote: 8080 }];
    const request = { namespace: namespace.name, target: 'deploy/web', ports, lapseSeconds: 5 };
    const { name, id } = await machine.connect(request);
    const lease = async (): Promise<V1Lease | undefined> =>
      (await daemon.cluster.list(leases, { namespace: namespace.name })).find(
        ({ metadata }) => metadata?.deletionTimestamp === undefined,
      );
    const sessionOf = (found: V1Lease | undefined): string | undefined => found?.metadata?.labels?.[sessionLabel];
    await namespace.waitFor('the keeper', async () =>
      machine.manager.list().some(({ keeper }) => keeper === 'namespace'),
    );
    relay.cut(true);
    await namespace.waitFor('the keeper to put it back', async () => (await lease()) === undefined, {
      timeout: 60_000,
    });
    relay.cut(false);
    const next = await namespace.waitFor(
      'the next session',
      async () => {
        const session = sessionOf(await lease());
        if (session === undefined || session === id) return false;
        // Made after the Lease is known: the try keeps it from there on.
        return (await daemon.cluster.find(configMaps, sessionObjectName(session), namespace.name)) && session;
      },
      { interval: 5 },
    );
    relay.cut(true);
    await reaches(machine, name, (each) => /Connecting anew: /.test(each?.reason ?? ''));
    relay.cut(false);
    const again = await reaches(machine, name, (each) => each?.state === 'connected');
    assert.notEqual(again?.id, next, 'it was cut off in the middle');
    assert.equal(sessionOf(await lease()), again?.id);
    assert.equal((await ask(daemon, namespace, 'web')).by, 'machine');
    await machine.disconnect(name);
    await assertNoSession(namespace);
  });

  void test('a session that is gone from the cluster ends with the reason; nothing is left, and a new one may follow', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    const was = await before(namespace);
    const request = { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] };
    const connection = await daemon.connect(request);
    const plan = await daemon.manager.planRestore(
      { kubeconfig: daemon.test.kubeconfig, namespace: namespace.name, all: true, dryRun: true },
      never,
    );
    assert.deepEqual(plan.actions, [], 'its own daemon holds it');

    await using other = await startDaemon(daemon.test);
    const done = await other.manager.restore(
      { kubeconfig: daemon.test.kubeconfig, namespace: namespace.name, all: true, dryRun: false },
      () => undefined,
      never,
    );
    assert.match(done.join('; '), /Service web selects its own pods again/);
    const failed = await reaches(daemon, connection.name, (each) => each?.state === 'failed');
    assert.equal(failed?.error?.code, 'CONNECTION_NOT_FOUND');
    assert.match(failed.error.message, /restored from elsewhere/);
    await assertNoSession(namespace);
    const forgotten = await daemon.manager.disconnect(connection.name, () => undefined, never);
    assert.deepEqual(forgotten, failed);
    assert.ok(!daemon.manager.list().some(({ name }) => name === connection.name), 'it is not listed any more');

    const again = await daemon.connect(request);
    assert.equal((await ask(daemon, namespace, 'web')).by, 'machine');
    await daemon.disconnect(again.name);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('somebody else puts the selector back: said with his name, the rest is put back too; his selector stays', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    const find = (): Promise<V1Service> => daemon.cluster.get(services, 'web', namespace.name);
    /** Of a Service, what a redirect changes. */
    const told = ({ metadata, spec }: V1Service): object => ({
      annotations: metadata?.annotations,
      selector: spec?.selector,
      publishNotReadyAddresses: spec?.publishNotReadyAddresses,
    });
    const was = told(await find());
    const connection = await daemon.connect({
      namespace: namespace.name,
      target: 'deploy/web',
      ports: [{ local: program.port, remote: 8080 }],
      proofSeconds: 1,
    });
    const proofs = (): string[] =>
      daemon.manager.list().flatMap(({ id, proof }) => (id === connection.id && proof ? [proof.at] : []));
    const first = proofs();
    await namespace.waitFor('another proof', async () => String(proofs()) !== String(first));
    const leads = async (selector: object): Promise<unknown> =>
      namespace.kubectl([
        'patch',
        'service',
        'web',
        '--type=json',
        '--field-manager=gitops',
        '-p',
        JSON.stringify([{ op: 'replace', path: '/spec/selector', value: selector }]),
      ]);
    await leads({ app: 'web' });
    const doubted = await reaches(daemon, connection.name, (each) => each?.state === 'reconnecting');
    assert.match(
      doubted?.reason ?? '',
      /Service web .+ was given the selector app=web by gitops at .+ nothing of the redirect is left on it.+ disconnect and connect again/,
    );
    const asBefore = async (): Promise<void> =>
      assert.deepEqual(told(await find()), { ...was, selector: { app: 'web' } });
    await asBefore();
    // kube-proxy may be late; with not-ready addresses published every other request would go on to arrive here.
    await namespace.waitFor('the originals alone', async () => {
      for (let asked = 0; asked < 8; asked++) if ((await ask(daemon, namespace, 'web')).by === 'machine') return false;
      return true;
    });
    // With the next agent it is not redirected again.
    const pod = doubted?.agent?.pod;
    await namespace.kubectl(['delete', 'pod', pod!, '--wait=false']);
    await reaches(daemon, connection.name, (each) => each?.agent !== undefined && each.agent.pod !== pod, 120_000);
    await reaches(daemon, connection.name, (each) => /app=web by gitops/.test(each?.reason ?? ''));
    await asBefore();
    await leads({ app: 'nobody' });
    await reaches(daemon, connection.name, (each) =>
      /given the selector app=nobody by gitops/.test(each?.reason ?? ''),
    );
    await leads({ app: 'web', tier: 'test' });
    await daemon.disconnect(connection.name);
    assert.deepEqual(told(await find()), { ...was, selector: { app: 'web', tier: 'test' } });
    await assertNoSession(namespace);
  });

  void test('the way to the originals that somebody deleted is made again at the same address, or it is said why not', async () => {
    const ports = [8080, 9090].map((containerPort) => ({ containerPort }));
    const leads = ports.map(({ containerPort: port }) => ({ name: `p${port}`, port }));
    await using namespace = await deploy(daemon, {
      objects: [
        workload('Deployment', 'web', podSpec([container(daemon.test, { ports })])),
        service('web', 'web', leads),
      ],
      ready: ['deploy/web'],
      urls: ['web:8080', 'web:9090'],
    });
    await using program = await startProgram();
    await using folder = await stateFolder();
    const machine = await startDaemon(daemon.test, { stateFolder: folder.path });
    const was = await before(namespace);
    const request = { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] };
    const { id, name } = await machine.connect(request);
    const find = (): ReturnType<typeof daemon.cluster.find<V1Service>> =>
      daemon.cluster.find(services, `bowline-${id}-originals`, namespace.name);
    const first = await find();
    await namespace.kubectl(['delete', 'service', `bowline-${id}-originals`]);
    await namespace.waitFor('the Service to be made again', async () => (await find()) !== undefined);
    const second = await find();
    assert.notEqual(second?.metadata?.uid, first?.metadata?.uid);
    assert.deepEqual(second?.spec, first?.spec);
    assert.deepEqual(second?.metadata?.labels, first?.metadata?.labels);
    assert.deepEqual(second?.metadata?.ownerReferences, first?.metadata?.ownerReferences);
    assert.match((await namespace.waitFor('the original', () => ask(daemon, namespace, 'web:9090'))).by, /^web-/);
    assert.equal((await ask(daemon, namespace, 'web:8080')).by, 'machine');

    // Nobody is there to make it again before somebody else has its address.
    await machine.crash();
    await namespace.kubectl(['delete', 'service', `bowline-${id}-originals`]);
    const { clusterIP } = second!.spec!;
    await namespace.apply([service('thief', 'thief', [{ port: 1 }], { clusterIP })]);
    await using next = await startDaemon(daemon.test, { stateFolder: folder.path });
    await next.manager.resume(never);
    const lacking = (each: Connection | undefined): boolean =>
      /-originals .+ was deleted by somebody, and cannot be made again: .+ connect again/.test(each?.reason ?? '');
    assert.equal((await reaches(next, name, lacking))?.state, 'reconnecting');
    await namespace.kubectl(['delete', 'service', 'thief']);
    await reaches(next, name, (each) => each?.state === 'connected');
    assert.match((await namespace.waitFor('the original', () => ask(daemon, namespace, 'web:9090'))).by, /^web-/);
    await next.disconnect(name);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test("without its agent's ReplicaSet a session is connected anew; its Secret is made again", async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    const was = await before(namespace);
    const request = { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] };
    const first = await daemon.connect(request);
    const reasons = new Set<string>();
    const unsubscribe = daemon.manager.onChange(({ connection }) => {
      if (connection?.name === first.name) reasons.add(connection.reason ?? '');
    });
    await namespace.kubectl(['delete', 'replicaset', `bowline-${first.id}`, '--wait=false']);
    const second = await reaches(
      daemon,
      first.name,
      (each) => each?.state === 'connected' && each.id !== first.id && each.agent?.pod.includes(each.id) === true,
      120_000,
    );
    unsubscribe();
    assert.ok(
      [...reasons].some((reason) => /ReplicaSet bowline-.+ was deleted by somebody\. Connecting anew/.test(reason)),
    );
    assert.equal((await ask(daemon, namespace, 'web')).by, 'machine');

    await namespace.kubectl(['delete', 'secret', `bowline-${second!.id}`]);
    await namespace.kubectl(['delete', 'pod', second!.agent!.pod, '--wait=false']);
    const third = await reaches(
      daemon,
      first.name,
      (each) => each?.state === 'connected' && each.agent !== undefined && each.agent.pod !== second!.agent!.pod,
      120_000,
    );
    assert.equal(third?.id, second?.id);
    assert.equal((await ask(daemon, namespace, 'web')).by, 'machine');
    await daemon.disconnect(first.name);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('a Lease that somebody deleted is made again; without its machine the keeper puts everything back; no request is lost', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    await using folder = await stateFolder();
    const was = await before(namespace);
    await using relay = await startRelay(daemon.test, folder.path, 0);
    await using machine = await startDaemon(daemon.test, { kubeconfig: relay.kubeconfig, stateFolder: folder.path });
    const request = { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] };
    const { id, name } = await machine.connect(request);
    await reaches(machine, name, (each) => each?.keeper !== undefined, 60_000);
    const find = (): ReturnType<typeof daemon.cluster.find<V1Lease>> =>
      daemon.cluster.find(leases, 'bowline-deployment-web', namespace.name);
    {
      await using load = await startLoad(namespace, { url: 'http://web/', rate: 20 });
      await load.answeredBy((by) => by === 'machine', 'the machine');
      const first = await find();
      await namespace.kubectl(['delete', 'lease', 'bowline-deployment-web']);
      await namespace.waitFor('another Lease', async () => {
        const uid = (await find())?.metadata?.uid;
        return uid !== undefined && uid !== first?.metadata?.uid;
      });
      const second = await find();
      assert.deepEqual(second?.metadata?.labels, first?.metadata?.labels);
      assert.equal(second?.spec?.holderIdentity, first?.spec?.holderIdentity);
      const renewed = async (): Promise<boolean> => (await find())?.spec?.renewTime !== second?.spec?.renewTime;
      await namespace.waitFor('a renewal of it', renewed, { timeout: 60_000 });
      assert.equal((await reaches(machine, name, (each) => each?.state === 'connected'))?.id, id);
      await load.settled(Date.now());
      await load.answeredBy((by) => by === 'machine', 'the machine');
      const none = (await load.records()).filter((record) => record.target === 'subject' && record.error !== undefined);
      assert.deepEqual(none, []);

      const cutAt = Date.now();
      relay.cut(true);
      await machine.crash();
      await load.answeredBy((by) => by.startsWith('web-'), 'the original');
      await namespace.kubectl(['delete', 'lease', 'bowline-deployment-web']);
      await namespace.waitFor(
        'the keeper',
        async () => readOriginal(await daemon.cluster.get(services, 'web', namespace.name)) === undefined,
        { timeout: 60_000 },
      );
      await assertNoSession(namespace);
      const { subject } = await load.stop();
      assert.deepEqual(
        subject.failed.filter((record) => !wasCutOff(record, cutAt)),
        [],
      );
    }
    await assertAsBefore(namespace, was);
  });

  void test('Lease and record that somebody deleted: restore still finds the Service that leads nowhere', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    await using folder = await stateFolder();
    const was = await before(namespace);
    const first = await startDaemon(daemon.test, { stateFolder: folder.path, keeper: false });
    const request = { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] };
    const { id } = await first.connect(request);
    await first.crash();
    await daemon.cluster.delete(leases, 'bowline-deployment-web', namespace.name);
    await daemon.cluster.delete(configMaps, `bowline-${id}`, namespace.name);
    await namespace.waitFor(
      'the garbage collector',
      async () => (await namespace.kubectl(['get', 'pods', '-l', 'bowline.dev/session', '-o', 'name'])) === '',
    );
    await daemon.manager.restore(
      { kubeconfig: daemon.test.kubeconfig, namespace: namespace.name, all: false, dryRun: false },
      () => undefined,
      never,
    );
    assert.match((await namespace.waitFor('the original', () => ask(daemon, namespace, 'web'))).by, /^web-/);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });
});
