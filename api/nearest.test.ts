import assert from 'node:assert/strict';
import { test } from 'node:test';
import { didYouMean, nearest } from './nearest.ts';

void test('near names, nearest first; far ones are not offered', () => {
  assert.deepEqual(nearest('stats-apo', ['stats-api', 'stats', 'catalog', 'stats-app']), [
    'stats',
    'stats-api',
    'stats-app',
  ]);
  assert.deepEqual(nearest('web', ['database', 'wep', 'we']), ['we', 'wep']);
  assert.deepEqual(nearest('x', ['catalog']), []);
  assert.deepEqual(nearest('xy', ['db', 'api', 'proxy', 'web']), []);
  assert.deepEqual(nearest('deploy/wep', ['deploy/db', 'deploy/api', 'deploy/web']), ['deploy/web']);
});

void test('the hint: near names, else what there is, else that there is nothing', () => {
  assert.equal(didYouMean('wep', ['web', 'catalog'], 'workloads'), 'Did you mean web?');
  assert.equal(didYouMean('zzzzzz', ['web', 'catalog'], 'workloads'), 'There are these workloads: catalog, web.');
  assert.equal(didYouMean('x', [], 'workloads'), 'There are no workloads.');
});
