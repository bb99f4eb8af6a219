/**
 * The agent baked into an image, for clusters that admit only their own images: no ConfigMap is made. The image is built
 * from agent-image/Dockerfile.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { bundleAgent } from '../../agent-image/bundle.ts';
import { buildImage } from '../cluster/builder.ts';
import { load } from '../cluster/image-import.ts';
import { makeArchive } from '../cluster/images.ts';
import { deployEcho } from '../cluster/load.ts';
import { createNamespace } from '../cluster/namespace.ts';
import { diffSnapshots, snapshot } from '../cluster/snapshot.ts';
import { node } from '../cluster/stock-images.ts';
import { startDaemon, testCluster } from './redirect-testbed.ts';

const cluster = await testCluster();
const { instance } = cluster;
const unable = instance === undefined && 'images of a given cluster come from its registry';

test('an image that carries the agent needs no code from the client', { skip: unable, timeout: 90_000 }, async () => {
  await using image = await buildImage({
    name: 'bowline.test/agent:1',
    dockerfile: join(import.meta.dirname, '../../agent-image/Dockerfile'),
    context: { 'dist/agent.mjs': (await bundleAgent()).code },
    base: { argument: 'NODE_IMAGE', archive: await makeArchive(node()) },
  });
  await load(instance!, image.path);

  await using namespace = await createNamespace(cluster, { prefix: 'baked' });
  await deployEcho(namespace, { name: 'echo' });
  const before = await snapshot(cluster, namespace.name);
  await using daemon = await startDaemon(cluster);
  const connection = await daemon.connect({
    namespace: namespace.name,
    target: 'deploy/echo',
    agentImage: 'bowline.test/agent:1',
    agentImageHasAgent: true,
  });
  assert.deepEqual(connection.proof?.services, ['echo']);
  const maps = await namespace.kubectl([
    'get',
    'configmaps',
    '-l',
    'app.kubernetes.io/managed-by=bowline',
    '-o',
    'name',
  ]);
  assert.match(maps, /^configmap\/bowline-/m);
  assert.doesNotMatch(maps, /^configmap\/bowline-agent-/m, 'no code of the agent is carried into the cluster');
  await daemon.disconnect(connection.name);
  assert.equal(diffSnapshots(before, await snapshot(cluster, namespace.name)), '');
});
