/** Which claims the clone can mount, and where: of claims as the API server has them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { V1PersistentVolumeClaim, V1PodTemplateSpec } from '@kubernetes/client-node';
import { claimPlan } from './volumes.ts';

const template: V1PodTemplateSpec = {
  spec: {
    containers: [{ name: 'main', image: 'x', volumeMounts: [{ name: 'data', mountPath: '/data' }] }],
    volumes: [
      { name: 'data', persistentVolumeClaim: { claimName: 'files' } },
      { name: 'config', configMap: { name: 'config' } },
    ],
  },
};
const deployment = { template, claimTemplates: [] };
const claims = (name: string, ...accessModes: string[]): Map<string, V1PersistentVolumeClaim> =>
  new Map([[name, { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name }, spec: { accessModes } }]]);

test('a volume that one node at a time has is mounted on the node of an original', () => {
  const plan = claimPlan(deployment, claims('files', 'ReadWriteOnce'));
  assert.deepEqual([plan.sameNode, plan.warnings], [true, []]);
  assert.equal(plan.template, template);
});

test('a volume that many nodes have is mounted anywhere', () => {
  for (const mode of ['ReadWriteMany', 'ReadOnlyMany'])
    assert.equal(claimPlan(deployment, claims('files', 'ReadWriteOnce', mode)).sameNode, false, mode);
});

test('a claim that cannot be read is taken for the narrower kind', () => {
  assert.equal(claimPlan(deployment, new Map()).sameNode, true);
});

test('a volume for one pod alone stays with the original: the clone has an empty folder, which is said', () => {
  const plan = claimPlan(deployment, claims('files', 'ReadWriteOncePod'));
  assert.equal(plan.sameNode, false, 'what the clone does not mount binds it to no node');
  assert.deepEqual(plan.template.spec?.volumes, [
    { name: 'config', configMap: { name: 'config' } },
    { name: 'data', emptyDir: {} },
  ]);
  assert.deepEqual(
    plan.warnings.map(({ code }) => code),
    ['VOLUME_NOT_SHARED'],
  );
  assert.match(plan.warnings[0]!.message, /Volume data \(claim files\) cannot be mounted beside the original/);
  assert.equal(
    template.spec?.volumes?.[0]?.persistentVolumeClaim?.claimName,
    'files',
    'the template itself is untouched',
  );
});

test('of a StatefulSet the claim of its first pod; where there is none, an empty folder', () => {
  const spec = { ...template.spec!, volumes: [] };
  const set = { firstPod: 'db-5', template: { spec }, claimTemplates: ['data'] };
  const plan = claimPlan(set, claims('data-db-5', 'ReadWriteOnce'));
  assert.deepEqual([plan.claims, plan.sameNode], [{ data: 'data-db-5' }, true]);
  const without = claimPlan(set, new Map());
  assert.deepEqual([without.claims, without.template.spec?.volumes], [{}, [{ name: 'data', emptyDir: {} }]]);
});

test('a volume that lives and dies with its pod is none to share, and nothing to warn of', () => {
  const volumes = [{ name: 'scratch', ephemeral: { volumeClaimTemplate: { spec: {} } } }];
  const plan = claimPlan({ ...deployment, template: { spec: { ...template.spec!, volumes } } }, new Map());
  assert.deepEqual(plan.template.spec?.volumes, [{ name: 'scratch', emptyDir: {} }]);
  assert.deepEqual(plan.warnings, []);
});
