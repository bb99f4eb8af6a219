import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { V1Service } from '@kubernetes/client-node';
import { originalAnnotation, undoAnnotation } from './objects.ts';
import { readOriginal } from './record.ts';
import { forgetPatch, redirectPatch, restorePatch } from './services.ts';

type Operation = ReturnType<typeof redirectPatch>[number];

const web: V1Service = {
  metadata: { name: 'web', namespace: 'shop', resourceVersion: '7', annotations: { note: 'kept' } },
  spec: { selector: { app: 'web' }, ports: [{ port: 80 }] },
};

/** What an API server does with these few operations; a `test` that does not hold refuses them all. */
function patched(service: V1Service, operations: Operation[]): V1Service {
  const object = structuredClone(service) as unknown as Record<string, unknown>;
  for (const { op, path, value } of operations) {
    const steps = path
      .slice(1)
      .split('/')
      .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = steps.pop()!;
    const parent = steps.reduce((at, step) => at[step] as Record<string, unknown>, object);
    if (op === 'test') assert.deepEqual(parent[last], value, `test ${path}`);
    else if (op === 'remove') {
      assert.ok(last in parent, `remove ${path}`);
      delete parent[last];
    } else parent[last] = value;
  }
  return object;
}

/** Both patches, one after the other. */
function restoredFrom(away: V1Service): V1Service {
  const original = readOriginal(away)!;
  const back = patched(away, restorePatch(away, original));
  return patched(back, forgetPatch(back, original));
}

const originalOf = (service: V1Service) => readOriginal(service)!;

void suite('redirect and restore of a Service', () => {
  void test('there and back, and nothing is different', () => {
    const away = patched(web, redirectPatch(web, 's1'));
    assert.deepEqual(away.spec?.selector, { 'bowline.dev/session': 's1' });
    assert.equal(away.spec.publishNotReadyAddresses, true);
    assert.deepEqual(originalOf(away), { session: 's1', selector: { app: 'web' } });
    assert.deepEqual(restoredFrom(away), web);
  });

  void test('who was killed between the two patches is followed by somebody who knows what is left', () => {
    const managedFields = [{ manager: 'kubectl', operation: 'Update', fieldsV1: { 'f:spec': { 'f:selector': {} } } }];
    const owned: V1Service = { ...web, metadata: { ...web.metadata, managedFields } };
    const away = patched(owned, redirectPatch(owned, 's1'));
    const taken = { manager: 'bowline', operation: 'Update', fieldsV1: { 'f:spec': { 'f:selector': {} } } };
    const others = [{ ...managedFields[0]!, fieldsV1: {} }, taken];
    const half = patched(away, restorePatch(away, originalOf(away)));
    const found: V1Service = { ...half, metadata: { ...half.metadata, managedFields: others } };
    assert.deepEqual(found.spec, web.spec);
    assert.deepEqual(restorePatch(found, originalOf(found)), []);
    assert.deepEqual(restoredFrom(found), owned);
  });

  void test('a Service that publishes not-ready addresses by itself, and one without annotations', () => {
    const open: V1Service = { ...web, spec: { ...web.spec, publishNotReadyAddresses: true } };
    const away = patched(open, redirectPatch(open, 's1'));
    assert.deepEqual(restoredFrom(away), open);
    const plain: V1Service = { ...web, metadata: { name: 'web', resourceVersion: '7' } };
    assert.deepEqual(Object.keys(patched(plain, redirectPatch(plain, 's1')).metadata?.annotations ?? {}), [
      originalAnnotation,
      undoAnnotation,
    ]);
  });

  void test('nothing is overwritten that changed since it was read', () => {
    const changed: V1Service = { ...web, metadata: { ...web.metadata, resourceVersion: '8' } };
    assert.throws(() => patched(changed, redirectPatch(web, 's1')), /test \/metadata\/resourceVersion/);
  });

  void test('a selector that somebody set meanwhile stays; one that an apply mixed with ours loses ours', () => {
    const away = patched(web, redirectPatch(web, 's1'));
    const restored = (selector: Record<string, string>) => {
      const now: V1Service = { ...away, spec: { ...away.spec, selector } };
      return patched(now, restorePatch(now, originalOf(now))).spec?.selector;
    };
    assert.deepEqual(restored({ app: 'new' }), { app: 'new' });
    assert.deepEqual(restored({ app: 'new', 'bowline.dev/session': 's1' }), { app: 'new' });
    assert.deepEqual(restored({ 'bowline.dev/session': 's1' }), { app: 'web' });
    assert.deepEqual(restored({ 'bowline.dev/session': 'another' }), { 'bowline.dev/session': 'another' });
  });
});
