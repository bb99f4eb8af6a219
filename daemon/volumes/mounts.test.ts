/** Which copies are planned of a container's mounts: of pods as the API server has them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { V1Pod, V1Volume, V1VolumeMount } from '@kubernetes/client-node';
import { needsOriginal, placesInOriginal, planCopies, planParts } from './mounts.ts';

function pod(node: string, volumes: V1Volume[], volumeMounts: V1VolumeMount[]): V1Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `pod-on-${node}`, namespace: 'shop' },
    spec: { nodeName: node, volumes, containers: [{ name: 'main', image: 'x', volumeMounts }] },
  };
}

const claim: V1Volume = { name: 'data', persistentVolumeClaim: { claimName: 'data' } };
const config: V1Volume = { name: 'config', configMap: { name: 'config' } };
const host: V1Volume = { name: 'host', hostPath: { path: '/srv' } };
const all: V1VolumeMount[] = [
  { name: 'data', mountPath: '/data/' },
  { name: 'config', mountPath: '/etc/config' },
  { name: 'host', mountPath: '/host', readOnly: true },
];

test('the agent is asked for what it has mounted, an original for what only that has', () => {
  const original = pod('a', [claim, config, host, { name: 'work', emptyDir: {} }], all);
  const from = (agent: V1Pod): Record<string, string> =>
    Object.fromEntries(planCopies(agent, 'main', original).map((copy) => [copy.entry, copy.from]));
  const sameNode = pod('a', [claim, config, host], all);
  assert.deepEqual(from(sameNode), { data: 'agent', config: 'agent', host: 'agent' });
  const otherNode = pod('b', [claim, config, host], all);
  assert.deepEqual(from(otherNode), { data: 'agent', config: 'agent', host: 'original' }, "another node's files");
});

test('a claim that cannot be mounted twice is read in the original, and called what it is', () => {
  const original = pod('a', [claim, config, host], all);
  // As planClaims has it for ReadWriteOncePod.
  const agent = pod('a', [{ name: 'data', emptyDir: {} }, config, host], all);
  assert.ok(needsOriginal(agent));
  const [data] = planCopies(agent, 'main', original);
  assert.deepEqual(
    [data?.from, data?.mounts[0]?.kind, data?.mountPath],
    ['original', 'persistentVolumeClaim', '/data'],
  );
  assert.deepEqual(placesInOriginal(original, 'main', data!.mounts[0]!), [{ container: 'main', mountPath: '/data' }]);
});

test('in an original a subPathExpr stands for what the agent has in its place', () => {
  const mount = { name: 'host', mountPath: '/logs/' };
  const original = pod('a', [host], [{ ...mount, subPathExpr: '$(POD_NAME)' }]);
  const beside = { name: 'host', mountPath: '/var/log', subPathExpr: '$(POD_NAME)' };
  original.spec?.containers.push({ name: 'side', volumeMounts: [beside, { name: 'host', mountPath: '/all' }] });
  const [copy] = planCopies(pod('b', [host], [{ ...mount, subPath: 'web-7f-x' }]), 'main', original);
  assert.deepEqual(placesInOriginal(original, 'main', copy!.mounts[0]!), [
    { container: 'main', mountPath: '/logs' },
    { container: 'side', mountPath: '/var/log' },
  ]);
});

test('mounts of one volume share a copy; those with a subPath, and volumes inside volumes, do not', () => {
  const mounts = [
    { name: 'config', mountPath: '/etc/config' },
    { name: 'config', mountPath: '/etc/again' },
    { name: 'config', mountPath: '/etc/one', subPath: 'one' },
    { name: 'data', mountPath: '/etc/config/deep/data' },
    { name: 'bowline-code', mountPath: '/bowline' },
  ];
  const copies = planCopies(pod('a', [claim, config], mounts), 'main', undefined);
  assert.deepEqual(
    copies.map(({ entry, mounts: at, except }) => [entry, at.map(({ mountPath }) => mountPath), except]),
    [
      ['config', ['/etc/config', '/etc/again'], ['deep/data']],
      ['config.2', ['/etc/one'], []],
      ['data', ['/etc/config/deep/data'], []],
    ],
  );
});

test('read-only is what the pod may not write', () => {
  const volumes: V1Volume[] = [
    config,
    claim,
    host,
    { name: 'secret', secret: { secretName: 's' } },
    { name: 'all', projected: { sources: [] } },
    { name: 'down', downwardAPI: {} },
    { name: 'lent', persistentVolumeClaim: { claimName: 'lent', readOnly: true } },
    { name: 'work', emptyDir: {} },
  ];
  const mounts = volumes.map(({ name }) => ({
    name,
    mountPath: `/${name}`,
    ...(name === 'host' && { readOnly: true }),
  }));
  const planned = planCopies(pod('a', volumes, mounts), 'main', undefined).flatMap((copy) => copy.mounts);
  const writable = planned.filter(({ readOnly }) => !readOnly).map(({ volume }) => volume);
  assert.deepEqual(writable, ['data', 'work']);
});

test('a part has a copy of its own, of the whole volume where that is mounted, once', () => {
  const mounts = [
    { name: 'config', mountPath: '/etc/one', subPath: 'one' },
    { name: 'config', mountPath: '/etc/config' },
  ];
  const copies = planCopies(pod('a', [config], mounts), 'main', undefined);
  const wanted = ['*.crt', 'a/b', '*.crt'].map((path) => ({ volume: 'config', path }));
  const parts = planParts(copies, [...wanted, { volume: 'gone', path: 'x' }]);
  assert.deepEqual(
    parts.map(({ part, mountPath }) => [part, mountPath]),
    [
      ['*.crt', '/etc/config'],
      ['a/b', '/etc/config'],
    ],
  );
  assert.equal(new Set([...copies, ...parts].map(({ entry }) => entry)).size, 4);
});

test("the copy of the service account's token stays the same when the agent is another pod", () => {
  const entryIn = (name: string): string | undefined => {
    const volumes = [{ name, projected: { sources: [] } }];
    return planCopies(pod('a', volumes, [{ name, mountPath: '/var/run/secrets' }]), 'main', undefined)[0]?.entry;
  };
  assert.equal(entryIn('kube-api-access-x7f2q'), entryIn('kube-api-access-bb9k4'));
  assert.equal(entryIn('kube-api-access-of-mine'), 'kube-api-access-of-mine');
});
