/** Snapshot, shop and load on the cluster that serves: that they see what they are there to see. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { deployEcho, startLoad } from './load.ts';
import { createNamespace } from './namespace.ts';
import { diffSnapshots, snapshot } from './snapshot.ts';
import { useCluster } from './test-cluster.ts';
import { waitUntil } from './wait.ts';
import type { TestNamespace } from './namespace.ts';

void describe('a namespace of a test', () => {
  let namespace: TestNamespace;

  before(async () => {
    namespace = await createNamespace(await useCluster(() => undefined));
    await deployEcho(namespace, { name: 'one' });
    await deployEcho(namespace, { name: 'two' });
  });
  after(() => namespace[Symbol.asyncDispose]());

  void test('an untouched one is equal, a touched one says what is different', async () => {
    const first = await snapshot(namespace.cluster, namespace.name);
    await namespace.kubectl([
      'patch',
      'service',
      'one',
      '--type=merge',
      '--patch',
      '{"spec":{"selector":{"app":"two"}}}',
    ]);
    const touched = diffSnapshots(first, await snapshot(namespace.cluster, namespace.name));
    assert.match(touched, /^Service\/one: changed\n {2}- {5}app: one\n {2}\+ {5}app: two$/m);
    await namespace.kubectl([
      'patch',
      'service',
      'one',
      '--type=merge',
      '--patch',
      '{"spec":{"selector":{"app":"one"}}}',
    ]);
    await namespace.kubectl(['create', 'configmap', 'left']);
    await namespace.kubectl(['delete', 'configmap', 'left']);
    await namespace.waitFor(
      'endpoints as before',
      async () => diffSnapshots(first, await snapshot(namespace.cluster, namespace.name)) === '',
    );
  });

  void test('a load sees who answers, and loses nothing while a Service changes over', async () => {
    await using load = await startLoad(namespace, { url: 'http://one/' });
    await load.answeredBy((by) => by.startsWith('one-'), 'one');
    await namespace.kubectl([
      'patch',
      'service',
      'one',
      '--type=merge',
      '--patch',
      '{"spec":{"selector":{"app":"two"}}}',
    ]);
    await load.answeredBy((by) => by.startsWith('two-'), 'two');
    await waitUntil(
      async () => {
        const records = await load.records();
        const sent = (target: string): number => records.filter((record) => record.target === target).length;
        return sent('subject') > 50 && sent('control') > 50;
      },
      { what: 'a second of requests to both Services' },
    );
    const { subject, control } = await load.stop();
    assert.deepEqual(subject.failed, []);
    assert.ok(subject.requests > 50 && control.requests > 50);
    assert.equal(Object.keys(subject.by).length, 2);
  });

  void test('a load sees every failure', async () => {
    await using load = await startLoad(namespace, { url: 'http://two/', timeout: 2000 });
    await namespace.kubectl(['scale', 'deploy/two', '--replicas=0']);
    await namespace.waitFor('failures', async () =>
      (await load.records()).some((record) => record.error !== undefined),
    );
    const { subject, control } = await load.stop();
    assert.ok(subject.failed.length > 0);
    assert.deepEqual(control.failed, []);
  });
});
