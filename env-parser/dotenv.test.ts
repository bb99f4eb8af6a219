/** The same files through our reader and the npm package dotenv: every difference has a reason that is listed here. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse as dotenv } from 'dotenv';
import type { Entry, Token } from './environment-file.ts';
import { parseEnvironmentFile } from './parse.ts';
import { Random } from './testing/random.ts';

/** Where dotenv guesses or is silent, ours says so; these are all the things that it says. */
const silences = {
  'This line is no entry':
    'dotenv passes over it, or takes up the next line: a name, its = and the begin of its value may stand in several lines',
  'The closing " is missing': 'dotenv makes the quote a part of the value',
  "The closing ' is missing": 'dotenv makes the quote a part of the value',
  'The closing ` is missing': 'dotenv makes the quote a part of the value',
  'There is text behind the closing quote': 'dotenv makes the quotes a part of the value, or takes off the outermost',
  'This is no token': 'dotenv knows no tokens',
  'A token without its closing }': 'dotenv knows no tokens',
} as const;

const pieces = {
  plain: [
    'a',
    'B1',
    '_',
    '.',
    '-',
    '/',
    ':',
    '=',
    ',',
    '@',
    'é',
    '漢',
    '🪢',
    '\u00A0',
    '%',
    '!',
    '?',
    '{',
    '}',
    '(',
    ';',
    '&',
  ],
  space: [' ', '\t', '  '],
  quotes: ["'", '"', '`', '\\', "\\'", '\\"', '\\n', '\\r', '\\\\', '\\`'],
  lines: ['\n', '\n', '\r\n', '\r', '\n\n', ' \n', '\n '],
  comments: ['#', ' # c', '#c"', "# it's"],
  dollars: ['$', '$$', '${services.web}', '${volumes.a/b|c?}', '$${x}', '$x', '${x}', '${'],
  names: ['A', 'B', 'LONG_NAME', 'a.b', 'c-d', '1', 'export', 'NAME'],
  assignments: ['=', '=', '=', ' = ', '= ', ' =', ': ', ':', '\t=\t'],
};
const values = [...pieces.plain, ...pieces.space, ...pieces.quotes, ...pieces.comments, ...pieces.dollars];

function value(random: Random): string {
  const inner = (): string => random.text(values, 6);
  const quote = random.one(['"', "'", '`']);
  const within = (): string => random.text([...values, ...pieces.lines], 8).replaceAll(quote, '');
  const kinds = [
    inner,
    inner,
    () => quote + within() + quote,
    () => `${quote}${within()}${quote} # c`,
    () => quote + inner(),
  ];
  return random.one(kinds)();
}

function someFile(random: Random): string {
  const line = (): string => {
    const entry = (): string =>
      random.one(['', '', '', 'export ', 'export  ', '  ']) +
      random.one(pieces.names) +
      random.one(pieces.assignments) +
      value(random);
    const kinds = [
      entry,
      entry,
      entry,
      entry,
      entry,
      () => random.text(values, 5),
      () => '# c',
      () => '',
      () => random.one(pieces.names),
    ];
    return random.one(kinds)();
  };
  const lines = Array.from({ length: 1 + random.below(5) }, line);
  return random.one(['', '', '\uFEFF']) + lines.map((each) => each + random.one(pieces.lines)).join('');
}

/** What dotenv reads from such an entry: tokens are text to it, and a dollar of ours may be two in the file. */
const asText = ({ parts }: Entry): string =>
  parts.map((part: string | Token) => (typeof part === 'string' ? part : part.text)).join('');

void test('4000 files: the same variables as dotenv, or a problem that dotenv is silent about', () => {
  const random = new Random(20_261);
  const said = new Map<string, number>();
  let same = 0;
  let withTokens = 0;
  for (let round = 0; round < 4_000; round++) {
    const text = someFile(random);
    const { file, problems } = parseEnvironmentFile(text, { file: 'azds-local.env' });
    for (const { message } of problems) {
      assert.ok(Object.hasOwn(silences, message), JSON.stringify({ text, message }));
      said.set(message, (said.get(message) ?? 0) + 1);
    }
    if (problems.length > 0) continue;
    same++;
    if (file.entries.some(({ parts }) => parts.some((part) => typeof part !== 'string'))) withTokens++;
    const theirs = dotenv(text);
    // A name that stands twice: the last one counts with both.
    const ours = Object.fromEntries(file.entries.map((entry) => [entry.name, asText(entry)]));
    assert.deepEqual(
      Object.keys(ours).toSorted(),
      Object.keys(theirs).toSorted(),
      JSON.stringify({ text, ours, theirs }),
    );
    for (const [name, theirValue] of Object.entries(theirs)) {
      // `$$` is a dollar, but for single quotes, where nothing but text is.
      const allowed = [theirValue, theirValue.replaceAll('$$', '$')];
      assert.ok(allowed.includes(ours[name]!), JSON.stringify({ text, name, ours: ours[name], theirs: theirValue }));
    }
  }
  // The generator really makes each kind of file.
  assert.ok(same > 1_000, `${same} files without a problem`);
  assert.ok(withTokens > 100, `${withTokens} files with tokens`);
  assert.deepEqual([...said.keys()].toSorted(), Object.keys(silences).toSorted());
});

void test('what dotenv does with each kind of file that ours refuses', () => {
  const theirs: Array<[text: string, variables: Record<string, string>]> = [
    ['no entry\nA=1', { A: '1' }],
    ['A=\n"x"', { A: 'x' }],
    ['A="open', { A: '"open' }],
    ['A="x" y', { A: '"x" y' }],
    ["A='it's'", { A: "it's" }],
    ['A=${x}', { A: '${x}' }],
    ['A=${x', { A: '${x' }],
  ];
  for (const [text, variables] of theirs) {
    assert.deepEqual({ ...dotenv(text) }, variables, text);
    assert.notEqual(parseEnvironmentFile(text, { file: 'azds-local.env' }).problems.length, 0, text);
  }
  assert.deepEqual({ ...dotenv('A=x\0y') }, { A: 'x\0y' });
  assert.equal(parseEnvironmentFile('A=x\0y', { file: 'azds-local.env' }).problems.length, 1);
});

void test('what Unicode calls a line end ends a comment for dotenv, and nothing for us', () => {
  const text = '# c\u2028A=1';
  assert.deepEqual({ ...dotenv(text) }, { A: '1' });
  assert.deepEqual(parseEnvironmentFile(text, { file: 'azds-local.env' }).file.entries, []);
});
