/** The second node on the cluster that serves: pods of both reach each other, and one that is lost is removed without a trace. */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { cordon } from './cordon.ts';
import { createNamespace } from './namespace.ts';
import { inNetwork } from './network.ts';
import { findNode } from './node.ts';
import { must } from './run.ts';
import { useCluster } from './test-cluster.ts';
import { startWorker } from './worker.ts';

const given = process.env['BOWLINE_TEST_KUBECONFIG'] !== undefined;
const skip = process.getuid?.() !== 0 ? 'needs root' : given ? 'a given cluster gets no second node from here' : false;

void test('a second node: its pods, and its end', { skip, timeout: 180_000 }, async (t) => {
  const cluster = await useCluster(() => undefined);
  const instance = cluster.instance!;
  await using namespace = await createNamespace(cluster);
  await using worker = await startWorker(cluster);
  {
    await using _ = await cordon(cluster, instance.nodeName);
    await namespace.apply([httpd('far'), service('far')]);
    await namespace.kubectl(['wait', 'pod/far', '--for=condition=Ready', '--timeout=60s'], { timeout: 65_000 });
  }
  {
    await using _ = await cordon(cluster, worker.name);
    await namespace.apply([httpd('near'), service('near')]);
    await namespace.kubectl(['wait', 'pod/near', '--for=condition=Ready', '--timeout=60s'], { timeout: 65_000 });
  }

  await t.test('each reaches the other by its name, and is seen with its own address', async () => {
    for (const [from, to] of [
      ['near', 'far'],
      ['far', 'near'],
    ] as const) {
      const fetch = ['exec', from, '--', 'wget', '-q', '-O', '-', `http://${to}/etc/hostname`];
      const answer = await namespace.waitFor(`answer of ${to}`, () => namespace.kubectl(fetch));
      assert.equal(answer.trim(), to);
      const { status } = await namespace.get<{ status: { podIP: string } }>(`pod/${from}`);
      const log = await namespace.waitFor(`log of ${to}`, () => namespace.kubectl(['logs', to]));
      assert.match(log, new RegExp(`\\b${status.podIP.replaceAll('.', '\\.')}\\b`));
    }
  });

  await t.test('another one is refused while this one is there', async () => {
    await assert.rejects(startWorker(cluster), /in use by process/);
  });

  await t.test(
    'off it is silent; left by a test that was killed, it goes with the next start, and nothing is left',
    async () => {
      await worker.stop();
      assert.equal(findNode(instance.worker), undefined);
      const { status } = await namespace.get<{ status: { podIP: string } }>('pod/far');
      const heard = await namespace.kubectl(['exec', 'near', '--', 'node', '-e', listen(status.podIP)]);
      assert.equal(heard, 'nothing\n');
      writeFileSync(join(instance.worker.folder, 'owner'), JSON.stringify({ pid: process.pid, started: 'before' }));
      await useCluster(() => undefined);
      assert.equal((await cluster.kubectl(['get', 'nodes', '-o', 'name'])).trim(), `node/${instance.nodeName}`);
      assert.equal((await namespace.kubectl(['get', 'pods', '-o', 'name'])).trim(), 'pod/near');
      assert.equal(existsSync(instance.worker.folder), false);
      const links = await must(inNetwork(findNode(instance)!.pid, ['ip', '-o', 'link']));
      assert.doesNotMatch(links, /worker|switch/);
    },
  );
});

/** Says what comes of a connection: no network says within this time that nobody is there. */
const listen = (address: string): string => `
const say = (what) => { console.log(what); process.exit(); };
require('node:net').connect(8080, '${address}', () => say('an answer')).on('error', (error) => say(error.code));
setTimeout(say, 4000, 'nothing');
`;

const httpd = (name: string): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, labels: { app: name } },
  spec: {
    terminationGracePeriodSeconds: 0,
    containers: [
      {
        name: 'httpd',
        image: 'bowline.test/node:24',
        command: ['httpd', '-f', '-vv', '-p', '8080', '-h', '/'],
        readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
      },
    ],
  },
});

const service = (name: string): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name },
  spec: { selector: { app: name }, ports: [{ port: 80, targetPort: 8080 }] },
});
