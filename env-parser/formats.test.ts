import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { parseEnv } from 'node:util';
import { formatVariables } from './formats.ts';
import { forMachine } from './machine-variables.ts';

const awkward: Record<string, string> = {
  EMPTY: '',
  PLAIN: 'postgres.shop:5432',
  SPACES: '  two  spaces  ',
  SINGLE: "it's",
  DOUBLE: 'say "hi"',
  BOTH: `it's "x"`,
  DOLLAR: '$HOME ${HOME} $(id) `id`',
  DOLLAR_SINGLE: "'$HOME'",
  BACKSLASH: 'C:\\new\\table\\',
  ESCAPES: '\\n is not a line',
  BANG: 'wow!! !x',
  NEWLINE: 'first\nsecond\n\n',
  ASSIGNMENT: '\nOTHER=1\n# no comment',
  HASH: '#start and # middle',
  TAB: '\ta\tb',
  UNICODE: 'grüß 漢字 🪢',
  JSON: '{"a":["b\'c",1],"d":"$e"}',
  GLOB: '* ? [a] ~ {a,b}',
  ALL_QUOTES: `'"\``,
  RETURN: 'a\rb\r\nc',
  DASH: '-n',
  EQUALS: 'a=b=c',
};

const shells = ['sh', 'bash', 'dash', 'zsh', 'ksh', 'busybox'].filter((shell) => {
  try {
    execFileSync(shell, shell === 'busybox' ? ['true'] : ['-c', 'true']);
    return true;
  } catch {
    return false;
  }
});

function throughShell(shell: string, script: string): Record<string, string> {
  const args = shell === 'busybox' ? ['sh', '-c'] : shell === 'bash' ? ['--norc', '-c'] : ['-c'];
  const print = `${JSON.stringify(process.execPath)} -e 'process.stdout.write(JSON.stringify(process.env))'`;
  const output = execFileSync(shell, [...args, `eval "$1"\n${print}`, 'x', script], {
    env: { PATH: process.env['PATH'] },
    encoding: 'utf8',
  });
  return JSON.parse(output) as Record<string, string>;
}

for (const shell of shells) {
  void test(`sh: every value comes through ${shell} as it is`, () => {
    const { text, skipped } = formatVariables(awkward, 'sh');
    assert.deepEqual(skipped, []);
    const got = throughShell(shell, text);
    for (const [name, value] of Object.entries(awkward)) assert.equal(got[name], value, name);
  });
}

void test('sh: names that a shell cannot hold are named, the others stay', () => {
  const { text, skipped } = formatVariables(
    { 'my.dotted': 'x', '1ST': 'x', 'a-b': 'x', 'x;id': 'x', '': 'x', OK: 'y', NUL: 'a\0b' },
    'sh',
  );
  assert.equal(text, "export OK='y'\n");
  assert.deepEqual(skipped.map(({ name }) => name).sort(), ['', '1ST', 'NUL', 'a-b', 'my.dotted', 'x;id']);
});

void test('dotenv: every value comes through as it is, or is named', () => {
  const { text, skipped } = formatVariables(awkward, 'dotenv');
  assert.deepEqual(
    skipped.map(({ name }) => name),
    ['ALL_QUOTES', 'RETURN'],
  );
  const { RETURN: _, ALL_QUOTES: __, ...expected } = awkward;
  assert.deepEqual({ ...parseEnv(text) }, expected);
});

void test('dotenv: any mixture of awkward characters comes through or is named', () => {
  const alphabet = ['a', ' ', '\n', "'", '"', '`', '$', '\\', '#', '=', '!', '\t', 'é', '\r', '-'];
  // A fixed generator, so that a failure can be repeated.
  let state = 42;
  const random = (below: number): number => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) % below;
  let held = 0;
  for (let round = 0; round < 3_000; round++) {
    const value = Array.from({ length: random(9) }, () => alphabet[random(alphabet.length)]).join('');
    const { text, skipped } = formatVariables({ BEFORE: 'x y', V: value, AFTER: 'z' }, 'dotenv');
    const expected = skipped.length > 0 ? { BEFORE: 'x y', AFTER: 'z' } : { BEFORE: 'x y', V: value, AFTER: 'z' };
    assert.deepEqual({ ...parseEnv(text) }, expected, JSON.stringify({ value, text }));
    if (skipped.length === 0) held++;
  }
  assert.ok(held > 1_000);
});

void test('json: everything', () => {
  const all = { ...awkward, 'my.dotted': 'x\0' };
  assert.deepEqual(JSON.parse(formatVariables(all, 'json').text), all);
});

void test('what belongs to the machine stays the machine’s', () => {
  const pod = {
    PATH: '/app',
    HOME: '/root',
    TERM: 'x',
    Path: 'x',
    XDG_RUNTIME_DIR: '/x',
    LC_ALL: 'C',
    HOSTNAME: 'pod-1',
    DB: 'x',
    NODE_ENV: 'production',
  };
  assert.deepEqual(forMachine(pod), { HOSTNAME: 'pod-1', DB: 'x', NODE_ENV: 'production' });
});
