/**
 * Which node the agent goes to, on a cluster that has two: a volume that one node at a time may have (ReadWriteOnce) is
 * mounted where the original has it, and nowhere else. The volumes here lie on the node's disk and say nothing of it to the
 * scheduler, as a network disk does not.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cordon } from '../cluster/cordon.ts';
import { createNamespace } from '../cluster/namespace.ts';
import { startWorker } from '../cluster/worker.ts';
import {
  container,
  podSpec,
  programMap,
  service,
  startDaemon,
  testCluster,
  workload,
} from '../e2e/redirect-testbed.ts';
import type { TestCluster } from '../cluster/test-cluster.ts';

const skip = process.env['BOWLINE_TEST_KUBECONFIG'] !== undefined && 'a given cluster gets no second node from here';

void test('the agent and the volumes of its workload', { skip, timeout: 300_000 }, async (t) => {
  const cluster = await testCluster();
  await using daemon = await startDaemon(cluster);
  await using namespace = await createNamespace(cluster, { prefix: 'same-node' });
  await using worker = await startWorker(cluster);
  const kinds = { once: 'ReadWriteOnce', many: 'ReadWriteMany' };
  const volumes = Object.keys(kinds).map((name) => `${namespace.name}-${name}`);
  await using undo = new AsyncDisposableStack();
  undo.defer(async () => void (await cluster.kubectl(['delete', 'pv', ...volumes, '--wait=false'])));
  {
    await using _ = await cordon(cluster, 'node1');
    await namespace.apply([
      programMap,
      ...Object.entries(kinds).flatMap(([name, mode]) => withVolume(cluster, namespace.name, name, mode)),
    ]);
    for (const name of Object.keys(kinds)) await namespace.rollout(`deploy/${name}`);
  }
  await namespace.kubectl(['exec', 'deploy/once', '--', 'sh', '-c', 'echo "on the worker" > /data/where']);
  const connect = (name: string, timeoutSeconds = 60) =>
    daemon.connect({ namespace: namespace.name, target: `deploy/${name}`, timeoutSeconds, volumes: false });

  await t.test('one that many nodes may have binds it to none', async () => {
    await using _ = await cordon(cluster, worker.name);
    const { name, agent } = await connect('many');
    assert.equal(agent?.node, 'node1');
    await daemon.disconnect(name);
  });

  await t.test(
    'one that one node may have: where that takes no more pods, there is no agent, and it is said why',
    async () => {
      await using _ = await cordon(cluster, worker.name);
      await assert.rejects(connect('once', 5), { code: 'AGENT_UNSCHEDULABLE' });
    },
  );

  await t.test('one that one node may have: the agent is on that node, with what the original wrote', async () => {
    const { name, agent } = await connect('once');
    assert.equal(agent?.node, worker.name);
    const where = await namespace.kubectl(['exec', agent.pod, '-c', 'main', '--', 'cat', '/data/where']);
    assert.equal(where, 'on the worker\n');
    await daemon.disconnect(name);
  });
});

/** A Deployment and its Service; a folder of a node as its volume. */
function withVolume(cluster: TestCluster, namespace: string, name: string, mode: string): object[] {
  const volumeName = `${namespace}-${name}`;
  const spec = { accessModes: [mode], storageClassName: '' };
  const main = container(cluster) as { volumeMounts: object[] };
  const mounted = { ...main, volumeMounts: [...main.volumeMounts, { name: 'data', mountPath: '/data' }] };
  return [
    {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: volumeName },
      spec: {
        ...spec,
        capacity: { storage: '1Gi' },
        hostPath: { path: `/var/lib/volumes/${volumeName}`, type: 'DirectoryOrCreate' },
        persistentVolumeReclaimPolicy: 'Retain',
      },
    },
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name },
      spec: { ...spec, volumeName, resources: { requests: { storage: '1Gi' } } },
    },
    workload(
      'Deployment',
      name,
      podSpec([mounted], {
        volumes: [
          { name: 'program', configMap: { name: 'program' } },
          { name: 'data', persistentVolumeClaim: { claimName: name } },
        ],
      }),
    ),
    service(name, name, [{ name: 'http', port: 80, targetPort: 'http' }]),
  ];
}
