/** The formats that the documentation shows are those that there are. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { formats } from '../formats.ts';

const documented = (file: string): string => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
const found = (text: string, pattern: RegExp): string[] =>
  [...new Set([...text.matchAll(pattern)].map(([, format = '']) => format))].sort();
const all = [...formats].sort();

void test('README and docs/environment.md show `bowline env` in every format', () => {
  for (const file of ['README.md', 'docs/environment.md']) {
    const text = documented(file);
    // Without --format it is for a shell.
    assert.match(text, /^eval "\$\(bowline env\)"/m, file);
    assert.deepEqual([...found(text, /bowline env --format (\w+)/g), 'sh'].sort(), all, file);
  }
});

void test('docs/environment-files.md has a row for every format', () => {
  const [, table = ''] = /^# Formats of([^]*)/m.exec(documented('docs/environment-files.md')) ?? [];
  assert.deepEqual(found(table, /^\| `(\w+)` \|/gm), all);
});
