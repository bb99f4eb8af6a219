/**
 * Several people and one workload: who has it is said, and the others can wait or take it over. What happens when they
 * come in the same moment: test/faults/race.test.ts.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before as beforeAll, suite, test } from 'node:test';
import type { Connection, Redirect } from '../../api/schema.ts';
import { ended as commandEnded, speaks, startDeveloper } from './developer.ts';
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
  stateFolder,
  testCluster,
  workload,
  type TestDaemon,
} from './redirect-testbed.ts';

let ann: TestDaemon;
let bob: TestDaemon;

beforeAll(async () => {
  const test = await testCluster();
  ann = await startDaemon(test, { identity: { user: 'ann', host: 'desk' } });
  bob = await startDaemon(test, { identity: { user: 'bob', host: 'laptop' } });
});
after(async () => {
  await ann[Symbol.asyncDispose]();
  await bob[Symbol.asyncDispose]();
});

const never = new AbortController().signal;

const deployWeb = (): Promise<TestNamespace> =>
  deploy(ann, {
    objects: [
      workload('Deployment', 'web', podSpec([container(ann.test)])),
      service('web', 'web', [{ name: 'http', port: 80, targetPort: 'http' }]),
    ],
    ready: ['deploy/web'],
    urls: ['web'],
  });

const redirects = (of: TestDaemon, namespace: TestNamespace): Promise<Redirect[]> =>
  of.manager.redirects({ kubeconfig: of.test.kubeconfig, namespace: namespace.name, allNamespaces: false }, never);

/** Until a connection has ended, with what it was at last. */
async function ended(of: TestDaemon, name: string): Promise<Connection> {
  const { promise, resolve } = Promise.withResolvers<Connection>();
  const unsubscribe = of.manager.onChange(({ connection, removed }) => {
    if (removed === name && connection !== undefined) resolve(connection);
  });
  const late = AbortSignal.timeout(30_000);
  try {
    return await Promise.race([
      promise,
      once(late, 'abort').then(() => assert.fail(`${name} did not end: ${JSON.stringify(of.manager.list())}`)),
    ]);
  } finally {
    unsubscribe();
  }
}

void suite('one workload and several people', { concurrency: 3, timeout: 600_000 }, () => {
  void test('everybody sees who has it; a second one is refused with all of that, or waits', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    const was = await before(namespace);
    const request = { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] };
    const connection = await ann.connect(request);
    const [seen, ...others] = await redirects(bob, namespace);
    assert.deepEqual(others, []);
    assert.deepEqual(
      [seen?.user, seen?.host, seen?.machine, seen?.workload, seen?.session, seen?.connection, seen?.lapseSeconds],
      ['ann', 'desk', 'there', { kind: 'Deployment', name: 'web' }, connection.id, undefined, 60],
    );
    const [own] = await redirects(ann, namespace);
    assert.equal(own?.connection, connection.name);

    const refused = await fails(
      bob.connect(request),
      'ALREADY_REDIRECTED',
      /^deployment\/web in namespace \S+ is already redirected by ann@desk since 2\S+ \(Bowline \d\S+\), whose machine was there \d+ s ago\.$/,
      /--wait.+--take-over.+bowline restore/,
    );
    assert.equal((refused.details?.['holder'] as Redirect | undefined)?.user, 'ann');
    await fails(bob.connect({ ...request, waitSeconds: 1 }), 'WAIT_TIMEOUT', /ann@desk/, /--wait-timeout/);
    const cancelled = new AbortController();
    await fails(
      bob.connect({ ...request, waitSeconds: 60 }, cancelled.signal, (step) => step === 'wait' && cancelled.abort()),
      'CANCELLED',
      /nothing was changed/,
      /^/,
    );

    let free: Promise<unknown> | undefined;
    const waiting = await bob.connect({ ...request, waitSeconds: 60 }, never, (step) => {
      if (step === 'wait') free ??= ann.disconnect(connection.name);
    });
    await free;
    assert.equal((await ask(bob, namespace, 'web')).by, 'machine');
    await bob.disconnect(waiting.name);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('Ctrl-C in the middle of a take-over: what was begun is finished, and said; nothing is left', async () => {
    await using namespace = await deployWeb();
    const was = await before(namespace);
    const request = { namespace: namespace.name, target: 'deploy/web', stopOriginal: true, withoutKeeper: true };
    const { name } = await ann.connect(request);
    const lost = ended(ann, name);
    const abort = new AbortController();
    await fails(
      bob.connect({ ...request, takeOver: true }, abort.signal, (step) => step === 'originals' && abort.abort()),
      'CANCELLED',
      /was ended and put back before; nothing is connected/,
      /^/,
    );
    assert.equal((await lost).error?.code, 'TAKEN_OVER');
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was, { names: /^(Pod\/web-|EndpointSlice\/|Endpoints\/)/ });
  });

  void test('a Service that another workload of somebody else redirects is refused with its holder', async () => {
    const twin = workload('Deployment', 'twin', podSpec([container(ann.test)]), {
      selector: { matchLabels: { twin: 'yes' } },
      template: { metadata: { labels: { app: 'web', twin: 'yes' } }, spec: podSpec([container(ann.test)]) },
    });
    await using namespace = await deployWeb();
    await namespace.apply([twin]);
    await namespace.rollout('deploy/twin');
    const connection = await ann.connect({ namespace: namespace.name, target: 'deploy/web' });
    await fails(
      bob.connect({ namespace: namespace.name, target: 'deploy/twin' }),
      'ALREADY_REDIRECTED',
      /^Service web .+ is already redirected by ann@desk .+, with deployment\/web\.$/,
    );
    await ann.disconnect(connection.name);
  });

  void test('taken over: the loser knows at once by whom, and lets go of nothing that is the winner’s', async () => {
    await using namespace = await deployWeb();
    await using annsProgram = await startProgram();
    await using bobsProgram = await startProgram();
    const was = await before(namespace);
    const request = (program: { port: number }) => ({
      namespace: namespace.name,
      target: 'deploy/web',
      ports: [{ local: program.port, remote: 8080 }],
    });
    const lost = await ann.connect({ ...request(annsProgram), stopOriginal: true, withoutKeeper: true });
    const end = ended(ann, lost.name);
    const won = await bob.connect({
      ...request(bobsProgram),
      stopOriginal: true,
      withoutKeeper: true,
      takeOver: true,
    });
    const { state, error } = await end;
    assert.deepEqual([state, error?.code, error?.category], ['failed', 'TAKEN_OVER', 'conflict']);
    assert.match(error?.message ?? '', /taken over by bob@laptop\.$/);
    assert.equal((await ask(bob, namespace, 'web')).by, 'machine');
    assert.deepEqual(annsProgram.requests, []);
    assert.ok(bobsProgram.requests.length > 0);
    assert.equal((await namespace.get<{ spec: { replicas: number } }>('deploy/web')).spec.replicas, 0);
    assert.equal(won.originals?.replicas, 1, 'the count that was there before the first of them');
    await bob.disconnect(won.name);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was, { names: /^(Pod\/web-|EndpointSlice\/|Endpoints\/)/ });
  });

  void test('taken over from a machine that is gone, and when that one comes back it takes nothing', async () => {
    await using namespace = await deployWeb();
    await using program = await startProgram();
    await using folder = await stateFolder();
    const was = await before(namespace);
    const request = { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] };
    const identity = { user: 'cyd', host: 'train' };
    const gone = await startDaemon(ann.test, { identity, stateFolder: folder.path });
    const lost = await gone.connect(request);
    await gone.crash();
    const won = await bob.connect({ ...request, takeOver: true });
    await using back = await startDaemon(ann.test, { identity, stateFolder: folder.path });
    const end = ended(back, lost.name);
    await back.manager.resume(never);
    assert.match((await end).error?.message ?? '', /already redirected by bob@laptop/);
    assert.equal((await ask(bob, namespace, 'web')).by, 'machine');
    await bob.disconnect(won.name);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('on the command line: the loser is told while his command runs, and by its exit status', async () => {
    await using namespace = await deployWeb();
    await using loser = await startDeveloper({ name: 'loser', helper: false });
    await using winner = await startDeveloper({ name: 'winner', helper: false });
    const where = ['-n', namespace.name];
    const waits = ['sh', '-c', 'echo up; until test -e ~/go-on; do sleep 0.1; done'];
    const command = loser.start(['connect', 'deploy/web', ...where, '--', ...waits]);
    const end = commandEnded(command);
    await speaks(command);
    assert.match(await winner.must(['list', ...where]), /\S+\/web +Deployment +\S+ +\S+ +\d+ s +there\n/);
    const refused = await winner.bowline(['connect', 'deploy/web', ...where]);
    assert.equal(refused.exitCode, 6);
    assert.match(refused.stderr, /^error\[ALREADY_REDIRECTED\].+--take-over/s);
    await winner.must(['connect', 'deploy/web', ...where, '--take-over']);
    await namespace.waitFor('the loser to be told', async () =>
      (await loser.must(['status'])).includes('TAKEN_OVER: '),
    );
    await loser.sh('touch ~/go-on');
    const { exitCode, stderr } = await end;
    assert.equal(exitCode, 6, stderr);
    assert.match(stderr, /web ended: .+ taken over by .+; the command goes on without it/);
    // A short name means the living one of two, and which it was is said.
    await using other = await deployWeb();
    await loser.must(['connect', 'deploy/web', '-n', other.name]);
    assert.equal(
      (await loser.bowline(['disconnect', 'web'])).stderr,
      `Untied ${other.name}/web: cluster and machine are as before.\n` +
        `${namespace.name}/web, which has failed, is still listed; \`bowline disconnect ${namespace.name}/web\` takes it off the list.\n`,
    );
    assert.match(await winner.must(['status']), /keeper +of the namespace/);
    assert.match(
      await winner.must(['keeper', 'status', ...where]),
      /^The keeper of the namespace watches namespace \S+; it answered after \d+ ms\.$/m,
    );
    await winner.must(['disconnect']);
    await assertNoSession(namespace);
    const none = await winner.bowline(['keeper', 'status', ...where]);
    assert.deepEqual([none.exitCode, none.stdout], [5, `No keeper watches namespace ${namespace.name}.\n`]);
  });
});
