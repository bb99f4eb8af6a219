import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { V1Lease } from '@kubernetes/client-node';
import { Silences } from './silence.ts';

const lease = (renewTime: string, more: { name?: string; holder?: string; lapse?: number } = {}): V1Lease => ({
  metadata: { name: more.name ?? 'web', namespace: 'shop', uid: '1' },
  spec: {
    holderIdentity: more.holder ?? 'ann@desk/s1',
    leaseDurationSeconds: more.lapse ?? 60,
    renewTime: renewTime as unknown as Date,
  },
});
const names = (leases: V1Lease[]): Array<string | undefined> => leases.map(({ metadata }) => metadata?.name);

void suite('silence of Leases', () => {
  void test('counts from the last change that was seen, whatever the clock of the other machine says', () => {
    const silences = new Silences();
    silences.see(lease('2099-01-01T00:00:00.000000Z'), 1000);
    silences.see(lease('2099-01-01T00:00:00.000000Z'), 50_000); // something else changed
    assert.deepEqual(names(silences.lapsed(60_999)), []);
    assert.equal(silences.next(60_999), 1);
    assert.deepEqual(names(silences.lapsed(61_000)), ['web']);
    silences.see(lease('1999-01-01T00:00:00.000000Z'), 61_000);
    assert.deepEqual(names(silences.lapsed(120_999)), []);
  });

  void test('each by its own lapse; a new holder is a sign too', () => {
    const silences = new Silences();
    silences.see(lease('a', { name: 'short', lapse: 5 }), 0);
    silences.see(lease('a', { name: 'long', lapse: 100 }), 0);
    assert.equal(silences.next(0), 5000);
    assert.deepEqual(names(silences.lapsed(5000)), ['short']);
    silences.see(lease('a', { name: 'short', lapse: 5, holder: 'bob@laptop/take-over' }), 5000);
    assert.deepEqual(names(silences.lapsed(9999)), []);
  });

  void test('what could not be heard is forgiven by half, once or many times', () => {
    const silences = new Silences();
    silences.see(lease('a'), 0);
    for (const now of [70_000, 70_000, 70_001]) silences.forgive(now);
    assert.deepEqual(names(silences.lapsed(100_000)), []);
    assert.deepEqual(names(silences.lapsed(100_001)), ['web']);
    silences.see(lease('b'), 100_001);
    silences.forgive(100_002);
    assert.deepEqual(names(silences.lapsed(160_000)), [], 'a silence that was short is not made longer');
  });

  void test('gone is gone', () => {
    const silences = new Silences();
    silences.see(lease('a'), 0);
    silences.see(lease('a', { name: 'other' }), 0);
    silences.retain([lease('a')]);
    silences.forget(lease('a'));
    assert.deepEqual(silences.lapsed(1_000_000), []);
    assert.equal(silences.next(0), 60_000);
  });
});
