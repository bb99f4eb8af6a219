import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse, type ParseError } from 'jsonc-parser';
import { formatVariables } from '../formats.ts';
import { awkward } from '../testing/awkward-values.ts';

void test('json: everything, but for nothing', () => {
  const all = { ...awkward, 'my.dotted': 'x\0' };
  assert.deepEqual(JSON.parse(formatVariables(all, 'json').text), all);
});

/**
 * What VS Code makes of the `env` of a configuration: JSON with comments, read by its own parser, then in every value each
 * `${...}` is replaced (https://code.visualstudio.com/docs/reference/variables-reference); there is no escape.
 */
function readLaunchConfiguration(env: string): Record<string, string> {
  const errors: ParseError[] = [];
  const launch = parse(`{\n  // of the user\n  "configurations": [${env},]\n}`, errors, {
    allowTrailingComma: true,
  }) as { configurations: Array<{ env: Record<string, string> }> };
  assert.deepEqual(errors, []);
  const replaced = (value: string): string => value.replaceAll(/\$\{[^]*?\}/g, 'replaced');
  const entries = Object.entries(launch.configurations[0]!.env);
  return Object.fromEntries(entries.map(([name, value]) => [name, replaced(value)]));
}

void test('vscode: the env of a configuration comes through; what VS Code would replace is named', () => {
  const { text, skipped } = formatVariables({ ...awkward, 'my.dotted': 'x', NUL: 'a\0' }, 'vscode');
  const names = skipped.map(({ name }) => name).sort();
  assert.deepEqual(names, ['DOLLAR', 'EDITOR_TOKEN', 'NUL']);
  const held = Object.entries({ ...awkward, 'my.dotted': 'x' }).filter(([name]) => !names.includes(name));
  assert.deepEqual(readLaunchConfiguration(text), Object.fromEntries(held));
});
