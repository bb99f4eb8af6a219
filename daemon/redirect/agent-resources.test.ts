import assert from 'node:assert/strict';
import { test } from 'node:test';
import { agentResources } from './agent-resources.ts';

const requests = { cpu: '10m', memory: '64Mi' };

void test('the agent asks for no more than the original may have, but for what it needs to live', () => {
  for (const [original, limits] of [
    [undefined, { memory: '512Mi' }],
    [{ requests: { cpu: '8', memory: '64Gi' } }, { memory: '512Mi' }],
    [{ limits: { memory: '128Mi' } }, { memory: '256Mi' }],
    [{ limits: { memory: '300Mi', cpu: '700m' } }, { memory: '300Mi', cpu: '700m' }],
    [{ limits: { memory: '300000000', cpu: '0.7' } }, { memory: '300000000', cpu: '0.7' }],
    [{ limits: { memory: '4e8', cpu: '1E0' } }, { memory: '4e8', cpu: '1E0' }],
    [{ limits: { memory: '8Gi', cpu: '64' } }, { memory: '512Mi', cpu: '2' }],
    [{ limits: { memory: '1M', cpu: '50m' } }, { memory: '256Mi', cpu: '500m' }],
  ] as const) {
    assert.deepEqual(agentResources(original), { requests, limits });
  }
});
