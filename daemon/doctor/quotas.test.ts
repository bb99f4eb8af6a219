import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { V1PodSpec, V1ResourceQuota } from '@kubernetes/client-node';
import { keeperObjects } from '../redirect/keeper-objects.ts';
import { agentReplicaSet } from '../redirect/session-objects.ts';
import { claimsOf, shortages, type Claim } from './quotas.ts';

const spec: V1PodSpec = {
  containers: [
    { name: 'main', resources: { requests: { cpu: '10m', memory: '64Mi' }, limits: { memory: '512Mi' } } },
    // A limit alone is a request too.
    { name: 'proxy', resources: { limits: { cpu: '100m', memory: '128Mi' } } },
  ],
  initContainers: [
    { name: 'log', restartPolicy: 'Always', resources: { requests: { cpu: '50m' } } },
    { name: 'migrate', resources: { requests: { cpu: '1', memory: '32Mi' } } },
  ],
};
const agent = claimsOf(agentReplicaSet('id', 'shop', { metadata: {}, spec }));
const { deployment } = keeperObjects({
  namespace: 'shop',
  scope: 'namespace',
  image: 'node',
  code: { code: '', hash: 'x' },
});
const keeper = claimsOf(deployment);

const quota = (hard: Record<string, string>, used: Record<string, string>, more: object = {}): V1ResourceQuota => ({
  metadata: { name: 'few', namespace: 'shop' },
  spec: { hard, ...more },
  status: { hard, used },
});
const said = (claims: Claim[], ...of: Parameters<typeof quota>): string[] =>
  shortages(quota(...of), claims).map(({ state, message }) => `${state} ${message}`);

void test('controllers are counted with what they make, under both names that a quota may use', () => {
  assert.deepEqual(
    agent.map(({ object, keeper }) => [object, keeper]),
    [
      ['replicasets/bowline-id', false],
      ['pods/bowline-id-...', false],
    ],
  );
  assert.deepEqual(agent[0]?.takes, { 'count/replicasets.apps': 1 });
  assert.deepEqual([agent[1]?.takes['pods'], agent[1]?.takes['count/pods']], [1, 1]);
  assert.deepEqual(
    keeper.map(({ object, keeper }) => [object, keeper]),
    [
      ['deployments/bowline-keeper', true],
      ['replicasets/bowline-keeper-...', true],
      ['pods/bowline-keeper-...-...', true],
    ],
  );
});

void test('a pod takes what it has at its most: its containers, or one that starts beside the sidecars before it', () => {
  const takes = agent[1]?.takes ?? {};
  const mib = 2 ** 20;
  assert.deepEqual(
    ['requests.cpu', 'cpu', 'limits.cpu', 'requests.memory', 'limits.memory'].map((resource) => takes[resource]),
    [1.05, 1.05, 0.1, 192 * mib, 640 * mib],
  );
});

void test('the quota that would refuse something is named, with what is in use, what is needed and for which objects', () => {
  assert.deepEqual(said(agent, { pods: '4' }, { pods: '4' }), [
    'failure Quota few in namespace shop has 4 of 4 pods in use, and a connect needs 1 more: pods/bowline-id-....',
  ]);
  assert.deepEqual(said(agent, { pods: '5', 'count/replicasets.apps': '1' }, { pods: '4' }), [], 'just enough');
  assert.match(
    said(agent, { 'limits.memory': '1Gi' }, { 'limits.memory': '512Mi' }).join('\n'),
    /^failure .* 512Mi of 1Gi limits\.memory in use, and a connect needs 640Mi more/,
  );
  assert.deepEqual(said(agent, { secrets: '1' }, { secrets: '2' }), [], 'nothing of what is made is a Secret');
});

void test('what is short for the keeper alone is a warning', () => {
  const [line, ...more] = said([...agent, ...keeper], { pods: '5' }, { pods: '4' });
  assert.match(
    line ?? '',
    /^warning .* needs 2 more: pods\/bowline-id-\.\.\., pods\/bowline-keeper-.*none for a keeper/,
  );
  assert.deepEqual(more, []);
  assert.match(said([...agent, ...keeper], { pods: '4' }, { pods: '4' }).join('\n'), /^failure/);
});

void test('a quota with scopes is about the pods that it says, and nothing else', () => {
  const [pods, used] = [{ pods: '0' }, { pods: '0' }];
  const about = (more: object, claims = agent): number => said(claims, pods, used, more).length;
  const priority = (operator: string, values?: string[]): object => ({
    scopeSelector: { matchExpressions: [{ scopeName: 'PriorityClass', operator, values }] },
  });
  const high = claimsOf(agentReplicaSet('id', 'shop', { spec: { ...spec, priorityClassName: 'high' } }));
  const bare = claimsOf(agentReplicaSet('id', 'shop', { spec: { containers: [{ name: 'main' }] } }));
  assert.deepEqual([about({ scopes: ['Terminating'] }), about({ scopes: ['NotTerminating'] })], [0, 1]);
  assert.deepEqual([about({ scopes: ['BestEffort'] }), about({ scopes: ['NotBestEffort'] })], [0, 1]);
  assert.deepEqual([about({ scopes: ['BestEffort'] }, bare), about({ scopes: ['NotBestEffort'] }, bare)], [1, 0]);
  assert.deepEqual([about(priority('In', ['high'])), about(priority('In', ['high']), high)], [0, 1]);
  assert.deepEqual([about(priority('DoesNotExist')), about(priority('Exists'), high)], [1, 1]);
  assert.deepEqual([about(priority('NotIn', ['high'])), about(priority('NotIn', ['high']), high)], [1, 0]);
  assert.deepEqual(said(agent, { 'count/replicasets.apps': '0' }, {}, { scopes: ['NotTerminating'] }), []);
});
