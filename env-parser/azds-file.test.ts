import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Entry, EnvironmentFile, Problem } from './environment-file.ts';
import { parseEnvironmentFile } from './parse.ts';
import { azdsExample } from './testing/documented-examples.ts';

const parse = (text: string): { file: EnvironmentFile; problems: Problem[] } =>
  parseEnvironmentFile(text, { file: 'azds-local.env' });

function entriesOf(text: string): Entry[] {
  const { file, problems } = parse(text);
  assert.deepEqual(problems, []);
  return file.entries;
}

/** The parts of the one entry, tokens without where they stand. */
function partsOf(text: string): unknown[] {
  const [entry, ...more] = entriesOf(text);
  assert.deepEqual(more, []);
  return entry!.parts.map((part) => {
    if (typeof part === 'string') return part;
    const { text: _, position: __, ...said } = part;
    return said;
  });
}

const complaints = (text: string): string[] =>
  parse(text).problems.map(({ line, column, length, message }) => `${line}:${column}+${length} ${message}`);

void test('the example of the documentation of Dev Spaces', () => {
  const { file, problems } = parse(azdsExample);
  assert.deepEqual([problems, file.warnings], [[], []]);
  assert.deepEqual(
    file.entries.map(
      ({ name, parts }) => `${name}=${parts.map((part) => (typeof part === 'string' ? part : part.text)).join('')}`,
    ),
    azdsExample.split('\n').filter((line) => line !== '' && !line.startsWith('#')),
  );
});

void test('a file as users of Dev Spaces have it', () => {
  const entries = entriesOf(`# The folder of the volume "whitelist", and a file in it.

WHITELIST_PATH=\${volumes.whitelist}/whitelist

# The service account of the pod, where in-cluster clients look for it.
KUBERNETES_IN_CLUSTER_CONFIG_OVERWRITE=\${volumes.default-token-*|/var/run/secrets/kubernetes.io/serviceaccount}

# A service of the same namespace, and one of another: there the namespace comes first.
MYAPP1_SERVICE_HOST=\${services.myapp1}
MYAPP2_SERVICE_HOST=\${services.mynamespace.myapp2}
`);
  const said = entries.map(({ name, parts, position }) => ({ name, parts, line: position.line }));
  assert.deepEqual(said, [
    {
      name: 'WHITELIST_PATH',
      line: 3,
      parts: [
        {
          kind: 'volume',
          text: '${volumes.whitelist}',
          position: { line: 3, column: 16, length: 20 },
          optional: false,
          name: 'whitelist',
        },
        '/whitelist',
      ],
    },
    {
      name: 'KUBERNETES_IN_CLUSTER_CONFIG_OVERWRITE',
      line: 6,
      parts: [
        {
          kind: 'volume',
          text: '${volumes.default-token-*|/var/run/secrets/kubernetes.io/serviceaccount}',
          position: { line: 6, column: 40, length: 72 },
          optional: false,
          name: 'default-token-*',
          localPath: '/var/run/secrets/kubernetes.io/serviceaccount',
        },
      ],
    },
    {
      name: 'MYAPP1_SERVICE_HOST',
      line: 9,
      parts: [
        {
          kind: 'service',
          text: '${services.myapp1}',
          position: { line: 9, column: 21, length: 18 },
          optional: false,
          service: 'myapp1',
        },
      ],
    },
    {
      name: 'MYAPP2_SERVICE_HOST',
      line: 10,
      parts: [
        {
          kind: 'service',
          text: '${services.mynamespace.myapp2}',
          position: { line: 10, column: 21, length: 30 },
          optional: false,
          service: 'myapp2',
          namespace: 'mynamespace',
        },
      ],
    },
  ]);
});

void test('tokens: a path below the volume, a pattern of files, optional ones, several in one value', () => {
  assert.deepEqual(partsOf('A=${volumes.config/app/settings.json}'), [
    { kind: 'volume', optional: false, name: 'config', path: 'app/settings.json' },
  ]);
  assert.deepEqual(partsOf('A=${volumes.config/*.crt|./certs?}'), [
    { kind: 'volume', optional: true, name: 'config', path: '*.crt', localPath: './certs' },
  ]);
  assert.deepEqual(partsOf('A=http://${services.web?}:80/${services.shop.api}'), [
    'http://',
    { kind: 'service', optional: true, service: 'web' },
    ':80/',
    { kind: 'service', optional: false, service: 'api', namespace: 'shop' },
  ]);
});

void test('dollars: $$ is one, a lone one is itself, single quotes hold everything as it is', () => {
  assert.deepEqual(partsOf('A=pa$$word'), ['pa$word']);
  assert.deepEqual(partsOf('A=$${volumes.x} costs $5 and $'), ['${volumes.x} costs $5 and $']);
  assert.deepEqual(partsOf("A='pa$$word $x ${y}'"), ['pa$$word $x ${y}']);
  assert.deepEqual(partsOf('A="$$${services.x}"'), ['$', { kind: 'service', optional: false, service: 'x' }]);
});

void test('a token between single quotes is text, and that is said', () => {
  const { file, problems } = parse("A='${volumes.x}'");
  assert.deepEqual([problems, file.entries[0]!.parts], [[], ['${volumes.x}']]);
  assert.deepEqual(
    file.warnings.map(({ column, message }) => [column, message]),
    [[4, 'Between single quotes this is text, not a token']],
  );
});

void test('a token as the other dialect writes it: with round brackets it is text, which is said; with a colon it is none', () => {
  const { file, problems } = parse('A=x$(services:catalog)\nB=$$(services.b) $(date)\nC="$(volumeMounts:c)"\n');
  assert.deepEqual(problems, []);
  assert.deepEqual(
    file.warnings.map(({ line, column, message }) => [line, column, message]),
    [
      [1, 4, 'This is text here, not a token: round brackets belong to KubernetesLocalProcessConfig.yaml'],
      [3, 4, 'This is text here, not a token: round brackets belong to KubernetesLocalProcessConfig.yaml'],
    ],
  );
  const { problems: colons } = parse('A=${services:redis}\nB=${volumeMounts:default-token-*}\nC=${servces.x}\n');
  assert.deepEqual(
    colons.map(({ nearest }) => nearest),
    [['${services.redis}'], ['${volumes.default-token-*}'], ['services']],
  );
});

void test('the last of two entries counts, and that is said', () => {
  const { file } = parse('A=1\nB=2\nA=3\n');
  assert.deepEqual(
    file.warnings.map(({ line, message }) => [line, message]),
    [[3, 'The name A stands in line 1 too; the last one counts']],
  );
});

void test('all problems at once, each at its place', () => {
  assert.deepEqual(
    complaints(
      [
        'A=${volume.x}',
        'GOOD=1',
        'no entry',
        'B=${volumes.a.b}',
        'C=x${services.a.b.c}y',
        'D="open',
        "E='x' y",
        'F=${volumes.x',
        'G=${services.My_App} ${volumes.x/../y} ${volumes.x|} ${volumes.}',
        '=x',
      ].join('\n'),
    ),
    [
      '1:3+11 This is no token',
      '3:1+8 This line is no entry',
      '4:3+14 The name of a volume has no dots',
      '5:4+17 The name of a Service has no dots, and one dot parts the namespace from it',
      '6:3+1 The closing " is missing',
      '7:6+2 There is text behind the closing quote',
      '8:3+11 A token without its closing }',
      '9:3+18 The name of a Service has at most 63 small letters, digits and -, none of them - at the ends',
      '9:22+17 A path below a volume has no empty parts, no . and no ..',
      '9:40+13 The local path behind | is missing',
      '9:54+11 The name of the volume is missing',
      '10:1+2 This line is no entry',
    ],
  );
});

void test('places count lines and columns as editors do, whatever ends the lines', () => {
  assert.deepEqual(complaints('\uFEFFA=1\r\nB= ${y}\r\n'), ['2:4+4 This is no token']);
  assert.deepEqual(complaints('A=1\rB="é${y}"\r'), ['2:5+4 This is no token']);
  assert.deepEqual(complaints('A="one\ntwo ${y}"\n'), ['2:5+4 This is no token']);
});
