import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { slopeOf } from './growth.ts';

const points = (values: number[]): Array<{ round: number; value: number }> =>
  values.map((value, index) => ({ round: 10 * (index + 1), value }));

void suite('growth over rounds', () => {
  void test('what grows steadily has that slope, whatever single rounds say', () => {
    assert.equal(slopeOf(points([100, 200, 300, 400, 500])), 10);
    assert.equal(slopeOf(points([100, 200, 9000, 400, 500])), 10);
    assert.equal(slopeOf(points([100, 200, 300, 0, 500, 600, 700])), 10);
  });

  void test('what goes up and down has none', () => {
    assert.equal(slopeOf(points([5, 7, 5, 7, 5, 7, 5])), 0);
    assert.equal(slopeOf(points([500])), 0);
    assert.equal(slopeOf([]), 0);
  });
});
