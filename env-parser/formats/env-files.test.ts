import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseEnv } from 'node:util';
import { parse as dotenv } from 'dotenv';
import { formatVariables } from '../formats.ts';
import { awkward } from '../testing/awkward-values.ts';
import { temporaryFile } from '../testing/consumer.ts';
import { Random } from '../testing/random.ts';

const namesOf = (skipped: Array<{ name: string }>): string[] => skipped.map(({ name }) => name).sort();
const without = (names: string[]): Record<string, string> =>
  Object.fromEntries(Object.entries(awkward).filter(([name]) => !names.includes(name)));

void test('dotenv: every value comes through Node and dotenv as it is, or is named', () => {
  const { text, skipped } = formatVariables({ ...awkward, 'a b': 'x' }, 'dotenv');
  assert.deepEqual(namesOf(skipped), ['ALL_QUOTES', 'LONG', 'RETURN', 'a b']);
  const expected = without(namesOf(skipped));
  assert.deepEqual({ ...parseEnv(text) }, expected);
  assert.deepEqual({ ...dotenv(text) }, expected);
});

void test('dotenv: any mixture of awkward characters comes through both or is named', () => {
  const characters = [...'a \n\'"`$\\#=!\té\r-\u2028\u00A0'];
  const random = new Random(42);
  let held = 0;
  for (let round = 0; round < 5_000; round++) {
    const value = random.text(characters, 8);
    const other = random.text(characters, 4);
    const { text, skipped } = formatVariables({ BEFORE: 'x y', V: value, W: other, AFTER: 'z' }, 'dotenv');
    const all: Record<string, string> = { BEFORE: 'x y', V: value, W: other, AFTER: 'z' };
    for (const { name } of skipped) delete all[name];
    assert.deepEqual({ ...parseEnv(text) }, all, JSON.stringify({ value, other, text }));
    assert.deepEqual({ ...dotenv(text) }, all, JSON.stringify({ value, other, text }));
    held += Object.keys(all).length - 2;
  }
  assert.ok(held > 3_000);
});

/** Docker's documented rules: a line is a variable, # begins a comment, spaces before are lost, the rest is as it is. */
function readDocker(text: string): Record<string, string> {
  const lines = text.split('\n').map((line) => line.replace(/\r$/, '').trimStart());
  const entries = lines.filter((line) => line !== '' && !line.startsWith('#'));
  return Object.fromEntries(
    entries.map((line) => {
      const equals = line.indexOf('=');
      assert.ok(equals > 0 && !/\s/.test(line.slice(0, equals)) && Buffer.byteLength(line) < 65_536);
      return [line.slice(0, equals), line.slice(equals + 1)];
    }),
  );
}

const forDocker = {
  ...awkward,
  'my.dotted': 'x',
  '#no': 'x',
  'a b': 'x',
  '': 'x',
  ASCII: 'x'.repeat(65_535 - 'ASCII='.length),
  FITS: 'y'.repeat(65_534 - 'FITS='.length),
};
const notForDocker = ['', '#no', 'ASCII', 'ASSIGNMENT', 'LONG', 'LONG_TEXT', 'NEWLINE', 'RETURN', 'a b'];

void test('docker: every value by the documented rules, and what a line cannot hold is named', () => {
  const { text, skipped } = formatVariables(forDocker, 'docker');
  assert.deepEqual(namesOf(skipped), notForDocker);
  const expected = { ...without(notForDocker), 'my.dotted': 'x', FITS: forDocker.FITS };
  assert.deepEqual(readDocker(text), expected);
});

void test('docker: every value as the docker command reads it', () => {
  const { text, skipped } = formatVariables(forDocker, 'docker');
  const held = Object.entries(forDocker).filter(([name]) => !namesOf(skipped).includes(name));
  assert.deepEqual(readByDocker(text).toSorted(), held.map(([name, value]) => `${name}=${value}`).toSorted());
});

/** NAME=value, as the parser of the docker command has it: a program around that, built from its source. */
function readByDocker(text: string): string[] {
  using file = temporaryFile(text);
  const read = spawnSync('go', ['run', '.', file.path], {
    cwd: fileURLToPath(new URL('../testing/docker-env-file', import.meta.url)),
    // A fresh shell often does not have Go's own place in PATH.
    env: { ...process.env, PATH: `${process.env['PATH']}:/usr/local/go/bin:/usr/lib/go/bin` },
    encoding: 'utf8',
    maxBuffer: 10 * 1024 * 1024,
  });
  assert.equal(read.status, 0, read.error?.message ?? read.stderr);
  return JSON.parse(read.stdout) as string[];
}
