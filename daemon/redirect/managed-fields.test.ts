import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { V1ManagedFieldsEntry } from '@kubernetes/client-node';
import { restoredManagedFields } from './managed-fields.ts';

const entry = (manager: string, fieldsV1: object, more: Partial<V1ManagedFieldsEntry> = {}): V1ManagedFieldsEntry => ({
  manager,
  operation: 'Update',
  apiVersion: 'v1',
  fieldsType: 'FieldsV1',
  fieldsV1,
  ...more,
});

const whole = { 'f:spec': { 'f:ports': {}, 'f:selector': {} } };

void suite('owners of fields', () => {
  void test('what we took goes back to whom it belonged, and our entry goes', () => {
    const saved = [entry('kubectl', whole, { operation: 'Apply' })];
    const current = [
      entry('kubectl', { 'f:spec': { 'f:ports': {} } }, { operation: 'Apply' }),
      entry('bowline', { 'f:metadata': { 'f:annotations': {} }, 'f:spec': { 'f:selector': {} } }),
    ];
    assert.deepEqual(restoredManagedFields(saved, current), saved);
  });

  void test('an owner of which nothing was left comes back', () => {
    const saved = [entry('one', { 'f:spec': { 'f:selector': {} } }), entry('two', { 'f:spec': { 'f:ports': {} } })];
    const current = [saved[1]!, entry('bowline', { 'f:spec': { 'f:selector': {} } })];
    assert.deepEqual(restoredManagedFields(saved, current), saved);
  });

  void test('what others took or gave up meanwhile is theirs', () => {
    const saved = [entry('kubectl', whole)];
    const other = entry('gitops', { 'f:spec': { 'f:ports': {} } });
    const current = [other, entry('bowline', { 'f:spec': { 'f:selector': {} } })];
    assert.deepEqual(restoredManagedFields(saved, current), [
      entry('kubectl', { 'f:spec': { 'f:selector': {} } }),
      other,
    ]);
  });

  void test('an entry that a Bowline user had before us stays', () => {
    const saved = [entry('bowline', whole)];
    assert.deepEqual(restoredManagedFields(saved, [entry('bowline', whole)]), saved);
  });
});
