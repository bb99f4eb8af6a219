import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { V1Pod } from '@kubernetes/client-node';
import { parse } from './original-files.ts';
import { perPodFiles } from './per-pod-files.ts';

test('what sha256sum, find and stat say: several mounts, spaces, binary mode, and complaints in between', () => {
  const [a, b] = ['a'.repeat(64), 'b'.repeat(64)];
  const lines = [
    `${a}  /etc/app/one two`,
    'executable',
    '/etc/app/one two',
    'times',
    '1700000000 /etc/app/one two',
    'files',
    `${b} */srv/x`,
    'executable',
    'files',
  ];
  assert.deepEqual(parse(lines), [
    { path: '/etc/app/one two', sha256: a, executable: true, modified: 1_700_000_000 },
    { path: '/srv/x', sha256: b, executable: false },
  ]);
});

test('tokens are of each pod its own; also below a subPath', () => {
  const sources = [
    { serviceAccountToken: { path: 'a/token' } },
    { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'a/ca.crt' }] } },
    { downwardAPI: { items: [{ path: 'a/name', fieldRef: { fieldPath: 'metadata.name' } }] } },
  ];
  const pod: V1Pod = { spec: { containers: [], volumes: [{ name: 'access', projected: { sources } }] } };
  const mounted = (mount: { mountPath: string; subPath?: string }): string[] => [
    ...perPodFiles(pod, { name: 'main', volumeMounts: [{ name: 'access', ...mount }] }).keys(),
  ];
  assert.deepEqual(mounted({ mountPath: '/run/access/' }), ['/run/access/a/token']);
  assert.deepEqual(mounted({ mountPath: '/token', subPath: 'a/token' }), ['/token']);
  assert.deepEqual(mounted({ mountPath: '/run', subPath: 'a' }), ['/run/token']);
});
