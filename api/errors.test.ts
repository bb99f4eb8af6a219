import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { BowlineError, errorCodes, exitStatus } from './errors.ts';

const page = await readFile(new URL('../docs/errors.md', import.meta.url), 'utf8');
const rows = [...page.matchAll(/^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|/gm)].map(
  ([, key = '', second = '', third = '']) => [key, second.trim(), third.trim()] as const,
);

void test('the documentation has each code with its category, and no other', () => {
  const documented = rows.filter(([key]) => /^[A-Z]/.test(key)).map(([code, category]) => [code, category]);
  assert.equal(new Set(documented.map(([code]) => code)).size, documented.length, 'no code twice');
  assert.deepEqual(Object.fromEntries(documented), errorCodes);
});

void test('the documentation has each category with its exit status', () => {
  const documented = rows.filter(([key]) => /^[a-z]/.test(key)).map(([category, status]) => [category, Number(status)]);
  assert.deepEqual(Object.fromEntries(documented), exitStatus);
});

void test('an error crosses the API and stays what it is', () => {
  const error = new BowlineError('PORT_TAKEN', 'Port 80 is taken.', { hint: 'End nginx.', details: { port: 80 } });
  const crossed = BowlineError.fromShape(
    JSON.parse(JSON.stringify(error.toShape())) as ReturnType<typeof error.toShape>,
  );
  assert.deepEqual(crossed.toShape(), error.toShape());
  assert.equal(BowlineError.from(new DOMException('x', 'AbortError')).code, 'CANCELLED');
  assert.equal(BowlineError.from(new TypeError('x')).code, 'INTERNAL');
});
