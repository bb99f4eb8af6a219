/**
 * The node of the agent is lost, and the machine with it, for good: nobody is left who knows of the session but its keeper.
 * Each takes as long as Kubernetes needs to call a node lost, so `npm run test:faults -- nodes` runs them, and not `npm test`.
 */
import assert from 'node:assert/strict';
import { suite, test, type TestContext } from 'node:test';
import type { Connection } from '../../api/schema.ts';
import { leases } from '../../daemon/cluster/resources.ts';
import { cordon } from '../cluster/cordon.ts';
import type { TestNamespace } from '../cluster/namespace.ts';
import { waitUntil } from '../cluster/wait.ts';
import { startWorker } from '../cluster/worker.ts';
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
  testCluster,
  workload,
  type TestDaemon,
} from '../e2e/redirect-testbed.ts';

const skip = process.env['BOWLINE_TEST_KUBECONFIG'] !== undefined && 'a given cluster gets no second node from here';
/** Seconds. */
const lapse = 10;
const ports = [{ name: 'http', port: 80, targetPort: 'http' }];

void suite('node and machine gone', { skip, timeout: 600_000 }, () => {
  void test("the agent's node: the keeper, which is on another one, puts everything back", (t) => lose(t, 'agent'));
  void test("the agent's and the keeper's node: the keeper comes again on another one, and puts everything back", (t) =>
    lose(t, 'agent and keeper'));
});

async function lose(t: TestContext, onWorker: 'agent' | 'agent and keeper'): Promise<void> {
  const cluster = await testCluster();
  await using neighbour = await startDaemon(cluster);
  await using namespace = await deploy(neighbour, {
    objects: ['web', 'other'].flatMap((name) => [
      workload('Deployment', name, podSpec([container(cluster)])),
      service(name, name, ports),
    ]),
    ready: ['deploy/web', 'deploy/other'],
    urls: ['web', 'other'],
  });
  const was = await before(namespace);
  // With the first connection the keeper comes.
  const other =
    onWorker === 'agent'
      ? await neighbour.connect({ namespace: namespace.name, target: 'deploy/other', lapseSeconds: 300 })
      : undefined;
  if (other !== undefined) await keptBy(neighbour, other.name);
  await using worker = await startWorker(cluster);
  await using machine = await startDaemon(cluster, { identity: { user: 'gone', host: 'away' } });
  let connection: Connection;
  {
    await using _ = await cordon(cluster, 'node1');
    connection = await machine.connect({ namespace: namespace.name, target: 'deploy/web', lapseSeconds: lapse });
    connection = await keptBy(machine, connection.name);
  }
  assert.equal(connection.agent?.node, worker.name);
  assert.equal(await nodeOfKeeper(namespace), onWorker === 'agent' ? 'node1' : worker.name);

  await Promise.all([machine.crash(), worker.stop()]);
  const began = performance.now();
  const put = async (): Promise<boolean> =>
    (await neighbour.cluster.list(leases, { namespace: namespace.name })).every(
      ({ metadata }) => metadata?.name !== 'bowline-deployment-web',
    );
  await namespace.waitFor('the keeper to put everything back', put, { timeout: 180_000 });
  t.diagnostic(`put back ${((performance.now() - began) / 1000 - lapse).toFixed(1)} s after the lapse of ${lapse} s`);
  assert.match((await namespace.waitFor('the original', () => ask(neighbour, namespace, 'web'))).by, /^web-/);
  if (other !== undefined) await neighbour.disconnect(other.name);
  // What ran on the lost node stays in the API until the node is known to be gone.
  await worker[Symbol.asyncDispose]();
  await assertNoSession(namespace);
  await assertAsBefore(namespace, was);
}

/** Until a keeper watches the session. */
async function keptBy(daemon: TestDaemon, name: string): Promise<Connection> {
  const kept = (): Connection | undefined =>
    daemon.manager.list().find((each) => each.name === name && each.keeper !== undefined);
  return waitUntil(kept, { what: `a keeper of ${name}`, timeout: 60_000 });
}

async function nodeOfKeeper(namespace: TestNamespace): Promise<string | undefined> {
  const { items } = await namespace.get<{ items: Array<{ spec: { nodeName?: string } }> }>(
    'pods',
    '-l',
    'bowline.dev/keeper=namespace',
  );
  assert.equal(items.length, 1);
  return items[0]?.spec.nodeName;
}
