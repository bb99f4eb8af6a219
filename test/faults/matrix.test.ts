/** That the matrix would say so: each goal is missed once, by requests and times that are made up. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { answeredAfter, impactOf } from './impact.ts';
import { judge, type Measured } from './matrix.ts';
import type { Injected } from './faults.ts';
import type { LoadRecord } from '../cluster/load.ts';

/** The fault begins here, in milliseconds. */
const began = 100_000;
const until = 130_000;

/** One request every 20 ms from 2 s before until the end, answered after 5 ms, but for what `change` does to one. */
function load(change: (at: number) => Partial<LoadRecord> = () => ({})): LoadRecord[] {
  return Array.from({ length: (until - began + 2000) / 20 }, (_, n) => {
    const at = began - 2000 + 20 * n;
    return { n, target: 'subject', at, ms: 5, by: 'web-1', ...change(at) };
  });
}

function judged(
  records: LoadRecord[],
  { cuts, ...more }: Partial<Injected> & Partial<Pick<Measured, 'back' | 'leftovers'>> & { cuts?: true } = {},
): string[] {
  const { back, leftovers = [], ...injected } = more;
  const impact = impactOf([...records, ...records.map((one) => beside(one))], began, until);
  const fault = { name: 'a fault', ...(cuts === undefined ? {} : { cuts }) };
  const row = judge(fault, { began, ...injected }, { impact, back, leftovers });
  return [...row.missed, ...row.late];
}

/** The same moment at the untouched Service, where nothing happens. */
function beside({ n, at }: LoadRecord): LoadRecord {
  return { n, target: 'control', at, ms: 5, by: 'echo-1' };
}

const failing = { error: 'ECONNRESET', by: undefined } as unknown as Partial<LoadRecord>;

void suite('a fault is judged', () => {
  void test('nothing happened: every goal is met', () => {
    assert.deepEqual(judged(load(), { back: 3, noticed: 5, restored: 10 }), []);
  });

  void test('one request of all that were sent since failed', () => {
    const missed = judged(load((at) => (at === began + 4000 ? failing : {})));
    assert.deepEqual(missed, ['1 requests failed (ECONNRESET), sent from 4.0 to 4.0 s']);
  });

  void test('where nobody can answer, lost requests say nothing', () => {
    assert.deepEqual(
      judged(
        load((at) => (at > began ? failing : {})),
        { unanswerable: 'there is no Service' },
      ),
      [],
    );
  });

  void test('what was under way may be cut off only where the fault cuts', () => {
    const records = load((at) => (at === began - 500 ? { ...failing, ms: 1000 } : {}));
    assert.deepEqual(judged(records), ['1 requests failed (ECONNRESET), sent from -0.5 to -0.5 s']);
    assert.deepEqual(judged(records, { cuts: true }), []);
  });

  void test('what failed before it began is not its fault', () => {
    assert.deepEqual(judged(load((at) => (at === began - 1000 ? failing : {}))), []);
  });

  void test('no answer for longer than 6 s', () => {
    const waiting = (at: number): Partial<LoadRecord> =>
      at >= began + 1000 && at < began + 8000 ? { ms: began + 8000 - at } : {};
    assert.deepEqual(judged(load(waiting)), ['an answer came after 7.02 s']);
  });

  void test('the machine, the notice and the restore were late', () => {
    const late = [
      'the machine answered again after 3.1 s',
      'it was noticed after 5.1 s',
      'it was restored after 10.1 s',
    ];
    assert.deepEqual(judged(load(), { back: 3.1, noticed: 5.1, restored: 10.1 }), late);
  });

  void test('something is left', () => {
    assert.deepEqual(judged(load(), { leftovers: ['Service/web is changed'] }), ['left: Service/web is changed']);
  });

  void test('back is counted to the first answer of the machine to a request sent after the cause was gone', () => {
    const records = load((at) => (at >= began + 5000 ? { by: 'machine' } : {}));
    assert.equal(
      answeredAfter(records, began + 4000, (by) => by === 'machine'),
      1.01,
    );
    assert.equal(
      answeredAfter(records, began + 4000, (by) => by === 'nobody'),
      undefined,
    );
  });
});
