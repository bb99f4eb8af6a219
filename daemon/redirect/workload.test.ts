import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BowlineError } from '../../api/errors.ts';
import { parseTarget } from './workload.ts';

void test('TARGET: a kind in any of its spellings, or a name alone', () => {
  for (const kind of ['deploy', 'deployment', 'Deployments', 'deployments.apps']) {
    assert.deepEqual(parseTarget(`${kind}/web`), { kind: 'Deployment', name: 'web' });
  }
  assert.deepEqual(parseTarget('sts/db-0.x'), { kind: 'StatefulSet', name: 'db-0.x' });
  assert.deepEqual(
    ['ds/a', 'rs/a', 'po/a', 'svc/a'].map((target) => parseTarget(target).kind),
    ['DaemonSet', 'ReplicaSet', 'Pod', 'Service'],
  );
  assert.deepEqual(parseTarget('web'), { name: 'web' });
});

void test('what is no target', () => {
  for (const target of [
    '',
    '/',
    'deploy/',
    '/web',
    'a/b/c',
    'Web',
    'web_1',
    '../web',
    'deploy/-web',
    'job/web',
    'constructor/web',
  ])
    assert.throws(
      () => parseTarget(target),
      (error: BowlineError) => error.code === 'BAD_TARGET' && error.hint !== undefined,
      target,
    );
});
