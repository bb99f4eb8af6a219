/** What the channels of a tunnel may have under way grows with its readers, and only so far. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Allowance, firstWindow } from './window.ts';

const megabyte = 1024 * 1024;

function grown(allowance: Allowance): number {
  let window = firstWindow;
  for (let more = allowance.grow(window); more > 0; more = allowance.grow(window)) window += more;
  return window;
}

void test('one channel grows to 16 MiB, all together by 64 MiB, and a closed one makes room', () => {
  const allowance = new Allowance();
  const windows = Array.from({ length: 100 }, () => grown(allowance));
  assert.equal(windows[0], 16 * megabyte);
  assert.equal(windows.at(-1), firstWindow);
  const growth = windows.reduce((sum, window) => sum + window - firstWindow, 0);
  assert.equal(growth, 64 * megabyte);
  allowance.giveBack(windows[0] ?? 0);
  assert.equal(grown(allowance), 16 * megabyte);
});
