import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BowlineError } from '../../api/errors.ts';
import type { Connection } from '../../api/schema.ts';
import { readEnvironmentFile } from './environment-file.ts';
import { namedVolumes, placeVolumes } from './placements.ts';

const account = '/var/run/secrets/kubernetes.io/serviceaccount';

void test('volumes are put at their places once they have come; what cannot be is told; the place in the pod is left alone', async () => {
  const file = readEnvironmentFile({
    path: '/project/azds-local.env',
    text: [
      'A=${volumes.lists|./lists}',
      'B=${volumes.lists/*.txt|./some}',
      'C=${volumes.lists/a.txt|/srv/taken}',
      `D=\${volumes.default-token-*|${account}}`,
      'E=${volumes.gone|./gone?}',
      'F=${volumes.lists}',
    ].join('\n'),
  })!;
  const mount = (volume: string, mountPath: string) =>
    ({ volume, mountPath, kind: 'configMap', readOnly: true, local: '/copy', state: 'ready' }) as const;
  const snapshot = (): Connection['files'] => ({
    folder: '/files',
    backing: 'memory',
    mounts: [mount('lists', '/etc/lists'), mount('kube-api-access-x', account)],
  });
  const asked: unknown[] = [];
  let hasSettled = false;
  const files = {
    settled: async () => void (hasSettled = true),
    snapshot: () => (hasSettled ? snapshot() : undefined),
    async download(what: { volume: string; path?: string; to: string }) {
      asked.push(what);
      if (what.to === '/srv/taken') throw new BowlineError('LOCAL_PATH_TAKEN', '/srv/taken is there already.');
    },
  };
  const { placed, failed } = await placeVolumes(file, files, undefined, new AbortController().signal);
  assert.deepEqual(asked, [
    { volume: 'lists', to: '/project/lists' },
    { volume: 'lists', path: '*.txt', to: '/project/some' },
    { volume: 'lists', path: 'a.txt', to: '/srv/taken' },
  ]);
  assert.deepEqual(
    placed.map(({ to }) => to),
    ['/project/lists', '/project/some'],
  );
  assert.deepEqual(
    failed.map(({ to, reason }) => [to, reason]),
    [['/srv/taken', '/srv/taken is there already.']],
  );
});

void test('what the file names of the volumes that are there: whole ones, and parts of them', () => {
  const file = readEnvironmentFile({
    path: '/project/azds-local.env',
    text: 'A=${volumes.lists/*.txt|./some}\nB=${volumes.default-token-*}\nC=${volumes.lists/a/b}\nD=${volumes.gone?}',
  })!;
  assert.deepEqual(namedVolumes(file, ['lists', 'kube-api-access-x', 'other']), {
    whole: ['kube-api-access-x'],
    parts: [
      { volume: 'lists', path: '*.txt' },
      { volume: 'lists', path: 'a/b' },
    ],
  });
  const bots = readEnvironmentFile({ path: '/project/azds-local.env', text: 'A=${volumes.bot-token-*}' })!;
  assert.deepEqual(namedVolumes(bots, ['kube-api-access-x'], 'bot').whole, ['kube-api-access-x']);
  assert.deepEqual(namedVolumes(bots, ['kube-api-access-x']).whole, []);
});
