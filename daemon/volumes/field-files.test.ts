/** What kubelet writes from fields of a pod, and how it comes in the place of what it wrote for the agent: real folders. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import type { V1Pod, V1VolumeMount } from '@kubernetes/client-node';
import { fieldFiles, hasFieldFiles, withFieldFiles, type FieldFiles } from './field-files.ts';
import type { Source } from './sources.ts';

const field = (path: string, fieldPath = path) => ({ path, fieldRef: { fieldPath } });
const limit = (path: string, resource: string, divisor?: string) => ({
  path,
  resourceFieldRef: { containerName: 'main', resource, ...(divisor !== undefined && { divisor }) },
});

const pod = (...volumeMounts: V1VolumeMount[]): V1Pod => ({
  metadata: {
    name: 'web-7f-x',
    namespace: 'shop',
    labels: { tier: 'front', app: 'web' },
    annotations: { note: 'say "ü"\n\tC:\\x \u0001\u200b' },
  },
  spec: {
    containers: [{ name: 'main', volumeMounts, resources: { limits: { memory: '64Mi' } } }],
    volumes: [
      {
        name: 'info',
        downwardAPI: {
          items: [
            field('pod/name', 'metadata.name'),
            field('labels', 'metadata.labels'),
            field('note', 'metadata.annotations'),
            field('namespace', 'metadata.namespace'),
            limit('memory', 'limits.memory', '1Mi'),
            limit('cpu', 'limits.cpu'),
          ],
        },
      },
      { name: 'all', projected: { sources: [{ downwardAPI: { items: [field('uid', 'metadata.uid')] } }] } },
      { name: 'settings', configMap: { name: 'settings' } },
    ],
  },
});

test('each file as kubelet writes it for the original; the namespace is the same in every pod', () => {
  const volumeMounts = [
    { name: 'info', mountPath: '/info/' },
    { name: 'info', mountPath: '/name', subPath: 'pod/name' },
    { name: 'settings', mountPath: '/etc/settings' },
  ];
  assert.deepEqual(Object.fromEntries(fieldFiles(pod(...volumeMounts), 'main')), {
    '/info/pod/name': { content: 'web-7f-x' },
    '/info/labels': { content: 'app="web"\ntier="front"' },
    '/info/note': { content: String.raw`note="say \"ü\"\n\tC:\\x \x01\u200b"`, ofKubelet: true },
    '/info/memory': { content: '64' },
    '/info/cpu': { content: undefined, ofKubelet: true },
    '/name': { content: 'web-7f-x' },
  });
  assert.ok(hasFieldFiles(pod()));
  const token = { name: 'token', projected: { sources: [{ downwardAPI: { items: [field('metadata.namespace')] } }] } };
  assert.equal(hasFieldFiles({ spec: { containers: [], volumes: [token] } }), false);
});

/** What is in the folder afterwards, and what is told. */
async function completed(files: FieldFiles, mountPath: string, came: Record<string, string>) {
  const into = await mkdtemp(join(tmpdir(), 'bowline-fields-'));
  try {
    for (const [path, text] of Object.entries(came)) {
      await mkdir(dirname(join(into, path)), { recursive: true });
      await writeFile(join(into, path), text, { mode: 0o600 });
    }
    const source: Source = { size: async () => undefined, open: () => Promise.reject(new Error('not asked')) };
    const told = await withFieldFiles(source, mountPath, files).complete?.(into);
    const found = await readdir(into, { recursive: true, withFileTypes: true });
    const names = found.filter((each) => each.isFile()).map(({ parentPath, name }) => join(parentPath, name));
    const content = await Promise.all(names.map(async (name) => [relative(into, name), await readFile(name, 'utf8')]));
    return { told, content: Object.fromEntries(content) as Record<string, string> };
  } finally {
    await rm(into, { recursive: true, force: true });
  }
}

test("the original's take the place of the agent's, where those have come; what is not known stays, and is said", async () => {
  const files = new Map([
    ['/info/pod/name', { content: 'web-7f-x' }],
    ['/info/excluded', { content: 'x' }],
    ['/info/cpu', { content: undefined }],
    ['/other/name', { content: 'of another mount' }],
  ]);
  const { told, content } = await completed(files, '/info', { 'pod/name': 'bowline-x', cpu: '2', more: 'kept' });
  assert.deepEqual(content, { 'pod/name': 'web-7f-x', cpu: '2', more: 'kept' });
  assert.equal(told, '/info/cpu: as in the pod of the agent, because it depends on the node');
});

test('the only file of a mount has the name that it has in the volume', async () => {
  const files = new Map([['/name', { content: 'web-7f-x' }]]);
  const { told, content } = await completed(files, '/name', { metadata: 'bowline-x' });
  assert.deepEqual([told, content], [undefined, { metadata: 'web-7f-x' }]);
});
