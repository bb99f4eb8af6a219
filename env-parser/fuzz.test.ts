/** No input makes the parser throw, hang or point outside of the file. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { convertEnvironmentFile } from './convert.ts';
import type { Dialect, Entry, EnvironmentFile, Problem, Span } from './environment-file.ts';
import { formatProblem } from './format-problem.ts';
import { parseEnvironmentFile } from './parse.ts';
import { checkReferences, tokensOf } from './references.ts';
import { resolveEntries } from './resolve.ts';
import { countProblems } from './source.ts';
import { Random } from './testing/random.ts';

const good: Record<Dialect, string> = {
  azds: `# comment
A=\${volumes.whitelist}/x
export B="two
lines \${services.shop.web?}" # c
C='$$ \${x}'
D=\${volumes.default-token-*|/var/run}\${volumes.a/b/*.crt?}
E: \`"'\`
`,
  bridge: `version: 0.1
volumeMounts:
  - name: default-token-*
    localPath: /var/run/secrets # c
env:
  - name: A
    value: $(volumeMounts:default-token-*)/token
  - name: B
    value: "x\\n$(services:web.shop:80,443?)"
  - &c
    name: C
    value: >-
      folded $(externalEndpoints:db.example.com:5432)
      text
  - { name: D, value: 8080 }
  - *c
enableFeatures: [Probes, 'ManagedIdentity']
`,
};

const scraps = [
  ...'\0\n\r\t "\'`\\$#{}()[]:=-,.|?*&!%@<>~/0aZ_é漢\uFEFF\u2028\uD800',
  '${',
  '$(',
  '$$',
  '\r\n',
  '${volumes.',
  '${services.',
  '$(services:',
  '$(volumeMounts:',
  '$(externalEndpoints:',
  '- name: ',
  '&a',
  '*a',
  '<<: ',
  '!!binary ',
  '? ',
  '---\n',
  '...\n',
  '|\n',
  '>+2\n',
  '%YAML 9.9\n',
  'env:\n',
  'export ',
];

function mutate(text: string, random: Random): string {
  let result = text;
  for (let count = 1 + random.below(6); count > 0; count--) {
    const from = random.below(result.length + 1);
    const to = Math.min(result.length, from + random.below(12));
    const put = [random.text(scraps, 3), '', result.slice(random.below(result.length + 1)).slice(0, 30)];
    result = result.slice(0, from) + random.one(put) + result.slice(random.below(2) === 0 ? from : to);
  }
  return result;
}

function check(text: string, dialect: Dialect): { file: EnvironmentFile; problems: Problem[] } {
  const parsed = parseEnvironmentFile(text, { file: 'x', dialect });
  const { file, problems } = parsed;
  const missing = resolveEntries(file, { volume: () => undefined, service: () => '127.66.0.1', external: () => 'h' });
  const unknown = checkReferences(file, {
    volumes: ['whitelist'],
    services: [],
    namespace: 'shop',
    namespaces: ['shop'],
  });
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n?|\n/);
  const all = [...problems, ...file.warnings, ...missing.missing, ...unknown];
  for (const problem of all) {
    const line = lines[problem.line - 1];
    const start = problem.sourceColumn - 1;
    assert.equal(problem.sourceLine, line!.slice(start, start + 240), 'the line is one of the file');
    assert.ok(start === 0 || problem.sourceLine.length === 240);
    assert.ok(problem.column >= 1 && problem.length >= 0);
    assert.ok(problem.column - 1 >= start && problem.column - 1 <= start + 240, 'the place is in what is kept');
    assert.match(problem.expected, /\S/);
    assert.ok(problem.column - 1 + problem.length <= line!.length, 'the place is in the line');
    assert.match(formatProblem(problem), /^x:\d+:\d+: [A-Z]/);
  }
  for (const token of tokensOf(file)) {
    const line = lines[token.position.line - 1]!;
    assert.ok(token.position.column - 1 + token.position.length <= line.length);
  }
  if (problems.length === 0) {
    for (const to of ['azds', 'bridge'] as const) {
      const converted = convertEnvironmentFile(file, to);
      const again = parseEnvironmentFile(converted.text, { file: 'y', dialect: to });
      assert.deepEqual(again.problems, [], 'what was converted is read again');
      const left = again.file.entries.map(meaning);
      for (const entry of withoutWarning(file, converted.warnings)) {
        const at = left.indexOf(meaning(entry));
        assert.ok(at >= 0, `${entry.name} says the same, in the same order`);
        left.splice(0, at + 1);
      }
      if (to === 'bridge')
        assert.deepEqual(
          again.file.features.map(({ name }) => name),
          file.features.map(({ name }) => name),
        );
    }
  }
  return parsed;
}

/** What an entry says, without how and where it is written. */
function meaning({ name, parts }: Entry): string {
  const said: unknown[] = [name, ''];
  for (const part of parts) {
    if (typeof part === 'string') said.push(`${String(said.pop())}${part}`);
    else {
      const { text: _text, position: _position, ...token } = part;
      said.push(token, '');
    }
  }
  return JSON.stringify(said);
}

/** The entries that none of the warnings is about. */
function withoutWarning({ entries }: EnvironmentFile, warnings: Problem[]): Entry[] {
  const place = ({ line, column }: Span): string => `${line}:${column}`;
  const warned = new Set(warnings.map(place));
  return entries.filter(({ position, parts }) =>
    [position, ...parts.flatMap((part) => (typeof part === 'string' ? [] : [part.position]))].every(
      (each) => !warned.has(place(each)),
    ),
  );
}

for (const dialect of ['azds', 'bridge'] as const) {
  void test(`${dialect}: the file that is mutated is good`, () => {
    assert.deepEqual(check(good[dialect], dialect).problems, []);
  });

  void test(`${dialect}: mutated files`, () => {
    const random = new Random(7);
    let refused = 0;
    for (let round = 0; round < 3_000; round++) {
      const text = mutate(good[dialect], random);
      try {
        if (check(text, dialect).problems.length > 0) refused++;
      } catch (error) {
        throw new Error(`with ${JSON.stringify(text)}`, { cause: error });
      }
    }
    assert.ok(refused > 500 && refused < 3_000, `${refused} refused`);
  });

  void test(`${dialect}: scraps`, () => {
    const random = new Random(11);
    for (let round = 0; round < 3_000; round++) {
      const text = random.text(scraps, 40);
      try {
        check(text, dialect);
      } catch (error) {
        throw new Error(`with ${JSON.stringify(text)}`, { cause: error });
      }
    }
  });

  // Were one of these read in more than linear time, it would take hours and the runner's limit would end it.
  void test(`${dialect}: long files of one thing`, () => {
    const things = [
      '"',
      "'",
      '\\"',
      '$',
      '${',
      '$(',
      '${volumes.',
      ' ',
      'A',
      'A=',
      '#',
      '\n',
      'A="\\\n',
      'A=\\"\n',
      '${volumes.a}',
      '*',
    ];
    for (const thing of things) {
      const long = thing.repeat(Math.ceil(500_000 / thing.length));
      const text =
        dialect === 'azds'
          ? `A="${long}`
          : `version: 0.1\nenv:\n  - name: A\n    value: '${long.replaceAll("'", "''")}'\n`;
      const { problems, file } = parseEnvironmentFile(text, { file: 'x', dialect });
      assert.ok(JSON.stringify([problems, file.warnings]).length < 300_000, `what is said of ${thing}`);
      if (dialect === 'azds') parseEnvironmentFile(long, { file: 'x', dialect });
    }
  });
}

void test('YAML that nests without end, and aliases that grow', () => {
  for (const text of ['['.repeat(20_000), '{a: '.repeat(20_000), '- '.repeat(20_000), '? '.repeat(20_000)]) {
    const { problems } = parseEnvironmentFile(text, { file: 'x.yaml' });
    assert.ok(problems.some(({ message }) => message === 'This is not YAML: it is nested too deep'));
  }
  const layers = Array.from({ length: 40 }, (_, n) => `a${n + 1}: &a${n + 1} [*a${n},*a${n},*a${n},*a${n}]`);
  const bomb = ['version: 0.1', 'a0: &a0 [x,x]', ...layers, 'env: *a40'].join('\n');
  assert.equal(parseEnvironmentFile(bomb, { file: 'x.yaml' }).problems.length, 4);
});

// Each was quadratic, or worse.
void test('YAML with many aliases, anchors, keys and escapes', () => {
  const lines = (count: number, line: (n: number) => string): string =>
    Array.from({ length: count }, (_, n) => line(n)).join('\n');
  const file = (env: string): string => `version: 0.1\nenv:\n${env}\n`;
  const entry = '  - &a { name: A, value: x }\n';
  const parsed = (text: string) => parseEnvironmentFile(text, { file: 'x.yaml' });

  const many = parsed(file(entry + lines(30_000, () => '  - *a')));
  assert.deepEqual([many.problems, many.file.entries.length], [[], 30_001]);
  const anchors = parsed(file(lines(10_000, (n) => `  - &a${n} { name: A${n}, value: x }\n  - *a${n}`)));
  assert.deepEqual([anchors.problems, anchors.file.entries.length], [[], 20_000]);
  const again = parsed(file(`${entry}  - &a { name: B, value: y }\n  - *a`));
  assert.deepEqual(
    again.file.entries.map(({ name }) => name),
    ['A', 'B', 'B'],
    'the last one before it',
  );

  const large = parsed(
    file(`  - &a { name: A, value: '${'$(services:a)'.repeat(40_000)}' }\n${lines(30_000, () => '  - *a')}`),
  );
  assert.deepEqual(
    large.problems.map(({ message }) => message),
    ['The aliases stand for more than 4194304 characters'],
  );
  const wide = `  - &a { ${lines(10_000, (n) => `k${n}: 1,`).replaceAll('\n', ' ')} name: A }\n${lines(30_000, () => '  - *a')}`;
  assert.match(parsed(file(wide)).problems.at(-1)!.message, /more than/);

  assert.deepEqual(parsed(`version: 0.1\n${lines(50_000, (n) => `k${n}: x`)}`).problems, []);
  assert.deepEqual(
    parsed('version: 0.1\nenv: []\nenv: []').problems.map(({ line, message }) => [line, message]),
    [[3, 'The key env stands twice in the file']],
  );
  const escapes = `${'\\u0062'.repeat(20_000)}${'a'.repeat(100_000)}`;
  assert.deepEqual(parsed(file(`  - { name: A, value: "${escapes}" }`)).problems, []);
});

void test('of very many problems the first are shown, and how many there are', () => {
  const text = 'A=${x}\n'.repeat(5000);
  const { problems, file } = parseEnvironmentFile(text, { file: 'x' });
  assert.equal(problems.length, 201);
  assert.equal(countProblems(problems), 5000);
  assert.equal(countProblems(file.warnings), 4999);
  assert.deepEqual(
    problems.slice(0, -1).map(({ line }) => line),
    Array.from({ length: 200 }, (_, n) => n + 1),
  );
  const { line, message } = problems.at(-1)!;
  assert.deepEqual([line, message], [201, 'There are 4800 more that are not shown']);
});

void test('a file that is far too large is refused unread', () => {
  const { problems } = parseEnvironmentFile('A=1\n'.repeat(2_000_000), { file: 'x' });
  assert.equal(problems.length, 1);
});
