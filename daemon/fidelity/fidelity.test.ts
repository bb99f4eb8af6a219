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

test('tokens and fields of the pod are of each pod its own, the namespace and the CA are not; also below a subPath', () => {
  const pod: V1Pod = {
    spec: {
      containers: [],
      volumes: [
        {
          name: 'access',
          projected: {
            sources: [
              { serviceAccountToken: { path: 'token' } },
              { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
              { downwardAPI: { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] } },
            ],
          },
        },
        { name: 'info', downwardAPI: { items: [{ path: 'pod/name', fieldRef: { fieldPath: 'metadata.name' } }] } },
      ],
    },
  };
  const mounted = (...volumeMounts: Array<{ name: string; mountPath: string; subPath?: string }>): string[] => [
    ...perPodFiles(pod, { name: 'main', volumeMounts }).keys(),
  ];
  assert.deepEqual(mounted({ name: 'access', mountPath: '/run/a/' }, { name: 'info', mountPath: '/info' }), [
    '/run/a/token',
    '/info/pod/name',
  ]);
  assert.deepEqual(mounted({ name: 'info', mountPath: '/name', subPath: 'pod/name' }), ['/name']);
  assert.deepEqual(mounted({ name: 'info', mountPath: '/info', subPath: 'pod' }), ['/info/name']);
});
