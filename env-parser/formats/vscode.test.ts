import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatVariables } from '../formats.ts';
import { awkward } from '../testing/awkward-values.ts';

void test('json: everything, but for nothing', () => {
  const all = { ...awkward, 'my.dotted': 'x\0' };
  assert.deepEqual(JSON.parse(formatVariables(all, 'json').text), all);
});

void test('vscode: the env of a configuration; what VS Code would replace is named', () => {
  const { text, skipped } = formatVariables({ ...awkward, 'my.dotted': 'x', NUL: 'a\0' }, 'vscode');
  const names = skipped.map(({ name }) => name).sort();
  assert.deepEqual(names, ['DOLLAR', 'EDITOR_TOKEN', 'NUL']);
  const held = Object.entries({ ...awkward, 'my.dotted': 'x' }).filter(([name]) => !names.includes(name));
  assert.deepEqual(JSON.parse(text), { env: Object.fromEntries(held) });
});
