import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownersOf } from './owners.ts';

void test('each tool is known by its mark, and whether it would put a selector back', () => {
  const tracking = { 'argocd.argoproj.io/tracking-id': 'shop:apps/Deployment:shop/web' };
  const release = { 'meta.helm.sh/release-name': 'web' };
  const flux = { 'helm.toolkit.fluxcd.io/name': 'web' };
  const cases: Array<[metadata: object, tools: string[], restores: boolean]> = [
    [{ annotations: tracking }, ['Argo CD'], true],
    [{ labels: { 'argocd.argoproj.io/instance': 'shop' } }, ['Argo CD'], true],
    [{ labels: { 'kustomize.toolkit.fluxcd.io/name': 'apps' } }, ['Flux'], true],
    [{ annotations: release }, ['Helm'], false],
    [{ labels: { 'app.kubernetes.io/managed-by': 'Helm' } }, ['Helm'], false],
    [{ labels: { 'app.kubernetes.io/managed-by': 'kustomize' } }, [], false],
    // A release of Flux's has the marks of both.
    [{ labels: flux, annotations: release }, ['Flux'], true],
    [{}, [], false],
  ];
  for (const [metadata, tools, restores] of cases) {
    const owners = ownersOf({ metadata });
    assert.deepEqual(
      owners.map(({ tool }) => tool),
      tools,
    );
    assert.ok(owners.every(({ restoresSelectors }) => restoresSelectors === restores));
  }
  assert.equal(ownersOf({ metadata: { annotations: release } })[0]?.says, 'annotation meta.helm.sh/release-name: web');
});
