import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leaseName } from './objects.ts';
import { leaseObject } from './lease.ts';
import { readOriginal, readRecord, type SessionRecord } from './record.ts';
import { alreadyRedirected } from './refusals.ts';

const record: SessionRecord = {
  session: 's1',
  user: 'ann',
  host: 'desk',
  version: '0.1.0',
  since: '2026-01-02T03:04:05.678Z',
  workload: { kind: 'Deployment', name: 'web' },
};

void test('the record of a session comes back from its Lease; times have six digits', () => {
  const lease = leaseObject('shop', leaseName('s1', record.workload), record, 60);
  assert.equal(lease.metadata?.name, 'bowline-deployment-web');
  assert.equal(String(lease.spec?.renewTime), '2026-01-02T03:04:05.678000Z');
  assert.deepEqual(readRecord(lease), record);
  const { message, hint } = alreadyRedirected(record.workload!, lease, undefined);
  assert.match(message, /deployment\/web in namespace shop .+ by ann@desk since 2026-01-02/);
  assert.match(hint ?? '', /bowline restore -n shop --all/);
});

void test('what somebody else wrote there is no record', () => {
  for (const text of ['', 'no json', '{}', '{"session":1}', 'null']) {
    assert.equal(readRecord({ metadata: { annotations: { 'bowline.dev/record': text } } }), undefined);
    assert.equal(readOriginal({ metadata: { annotations: { 'bowline.dev/original': text } } }), undefined);
  }
  assert.equal(readOriginal({}), undefined);
});
