import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatVariables } from '../formats.ts';
import { awkward } from '../testing/awkward-values.ts';
import { environmentAfter, isInstalled } from '../testing/consumer.ts';
import { Random } from '../testing/random.ts';

/** Those of setup/packages.ts, and what every Debian has. */
const shells: Record<string, string[]> = {
  sh: ['sh', '-c'],
  bash: ['bash', '--norc', '-c'],
  dash: ['dash', '-c'],
  zsh: ['zsh', '-f', '-c'],
  ksh: ['ksh', '-c'],
  busybox: ['busybox', 'sh', '-c'],
};

const namesOf = (skipped: Array<{ name: string }>): string[] => skipped.map(({ name }) => name).sort();

function assertHolds(got: Record<string, string>, expected: Record<string, string>): void {
  for (const [name, value] of Object.entries(expected)) assert.equal(got[name], value, name);
}

for (const [name, shell] of Object.entries(shells)) {
  void test(`sh: every value comes through ${name} as it is`, () => {
    const { text, skipped } = formatVariables(awkward, 'sh');
    assert.deepEqual(skipped, []);
    assertHolds(environmentAfter(shell, text, 'eval "$(cat "$FILE")"'), awkward);
  });

  void test(`sh: no name that ${name} keeps to itself is written`, () => {
    const own = {
      PPID: '1',
      UID: '7',
      EUID: '7',
      GID: '7',
      EGID: '7',
      SHELLOPTS: 'x',
      BASHOPTS: 'x',
      BASH_VERSINFO: 'x',
    };
    const { text, skipped } = formatVariables({ ...own, LAST: 'here' }, 'sh');
    assert.deepEqual(namesOf(skipped), Object.keys(own).sort());
    assert.equal(environmentAfter(shell, text, 'eval "$(cat "$FILE")"')['LAST'], 'here');
  });
}

void test('sh: names that a shell cannot hold are named, the others stay', () => {
  const { text, skipped } = formatVariables(
    { 'my.dotted': 'x', '1ST': 'x', 'a-b': 'x', 'x;id': 'x', '': 'x', OK: 'y', NUL: 'a\0b' },
    'sh',
  );
  assert.equal(text, "export OK='y'\n");
  assert.deepEqual(namesOf(skipped), ['', '1ST', 'NUL', 'a-b', 'my.dotted', 'x;id']);
});

void test('fish: every value comes through as it is', () => {
  const { text, skipped } = formatVariables(awkward, 'fish');
  assert.deepEqual(skipped, []);
  assertHolds(environmentAfter(['fish', '--no-config', '-c'], text, 'cat $FILE | source'), awkward);
});

void test('fish: what it keeps to itself is named', () => {
  const own = { version: '1', status: '1', hostname: 'x', PWD: '/x', SHLVL: '9', history: 'x', fish_pid: '1', _: 'x' };
  const { text, skipped } = formatVariables({ 'a.b': 'x', ...own, LAST: 'here' }, 'fish');
  assert.deepEqual(namesOf(skipped), ['a.b', ...Object.keys(own)].sort());
  assert.equal(environmentAfter(['fish', '--no-config', '-c'], text, 'cat $FILE | source')['LAST'], 'here');
});

/** What PowerShell makes of such lines by its own rules (about_Quoting_Rules): quotes twice are one. */
function readPowershell(text: string): Record<string, string> {
  const quote = "['\\u2018\\u2019\\u201A\\u201B]";
  const statement = new RegExp(
    `\\$(?:env:(\\w+)|\\{env:([^}]+)\\}) = ${quote}((?:${quote}${quote}|(?!${quote})[^])*)${quote}\\n`,
    'y',
  );
  const read: Record<string, string> = {};
  while (statement.lastIndex < text.length) {
    const match = statement.exec(text);
    assert.ok(match, 'each statement is one');
    const [, plain, braced, inner = ''] = match;
    // Of two quotes together PowerShell keeps the second.
    read[plain ?? braced!] = inner.replaceAll(new RegExp(`${quote}(${quote})`, 'g'), '$1');
  }
  return read;
}

void test('powershell: every value by the documented rules', () => {
  const { text, skipped } = formatVariables({ ...awkward, 'my.dotted': 'x', 'a*b': 'x', 'a}b': 'x' }, 'powershell');
  assert.deepEqual(namesOf(skipped), ['EMPTY', 'a*b', 'a}b']);
  const { EMPTY: _, ...held } = awkward;
  assert.deepEqual(readPowershell(text), { ...held, 'my.dotted': 'x' });
});

void test(
  'powershell: every value through the real one',
  { skip: isInstalled('pwsh', '-Version') ? false : 'pwsh is not installed' },
  () => {
    const { EMPTY: _, ...held } = awkward;
    const { text } = formatVariables(held, 'powershell');
    const shell = ['pwsh', '-NoProfile', '-Command'];
    const script =
      'Get-Content -Raw $env:FILE | Invoke-Expression; [Environment]::GetEnvironmentVariables() | ConvertTo-Json #';
    assertHolds(environmentAfter(shell, text, script), held);
  },
);

/**
 * What cmd.exe makes of a line of a batch file: %% is %, a lone % or %NAME% is lost; outside of double quotes an operator
 * ends the command; `set` takes what stands between the first quote and the last one.
 */
function readCmd(line: string): [name: string, value: string] {
  const [, percent] = /^@(set .*)\r$/.exec(line) ?? [];
  assert.ok(percent !== undefined, 'one command in the line, without echo');
  assert.doesNotMatch(percent.replaceAll('%%', ''), /%/, 'no % that stands for a variable');
  const command = percent.replaceAll('%%', '%');
  let quoted = false;
  for (const character of command) {
    if (character === '"') quoted = !quoted;
    assert.ok(quoted || !'&|<>^'.includes(character), `${character} would end the command`);
  }
  const [, name = '', value = ''] = /^set "([^=]*)=(.*)"$/.exec(command) ?? [];
  return [name, value];
}

void test('cmd: every value by the documented rules, and what a batch file cannot hold is named', () => {
  const { text, skipped } = formatVariables(
    { ...awkward, 'A%B': 'x', RUN: 'a"&calc.exe', LIMIT: 'x'.repeat(9_000) },
    'cmd',
  );
  assert.deepEqual(namesOf(skipped), [
    'A%B',
    'ASSIGNMENT',
    'EMPTY',
    'LIMIT',
    'LONG',
    'LONG_TEXT',
    'NEWLINE',
    'RETURN',
    'RUN',
  ]);
  const read = Object.fromEntries(text.split('\n').slice(0, -1).map(readCmd));
  const held = Object.entries(awkward).filter(([name]) => !namesOf(skipped).includes(name));
  assert.deepEqual(read, Object.fromEntries(held));
});

void test('cmd: no mixture of awkward characters begins a command', () => {
  const random = new Random(5);
  const characters = [...'"&|<>^%!() aé=\\,;'];
  for (let round = 0; round < 3_000; round++) {
    const value = random.text(characters, 12);
    const { text } = formatVariables({ V: value }, 'cmd');
    if (text !== '') assert.deepEqual(readCmd(text.slice(0, -1)), ['V', value]);
  }
});
