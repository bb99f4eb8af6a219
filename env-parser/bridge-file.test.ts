import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse as parseYaml } from 'yaml';
import * as z from 'zod';
import { bridgeSchema } from './bridge-schema.ts';
import type { Parsed } from './environment-file.ts';
import { parseEnvironmentFile } from './parse.ts';
import { bridgeExample } from './testing/documented-examples.ts';

const parse = (text: string): Parsed => parseEnvironmentFile(text, { file: 'KubernetesLocalProcessConfig.yaml' });
const complaints = (text: string): string[] =>
  parse(text).problems.map(({ line, column, length, message }) => `${line}:${column}+${length} ${message}`);
const warnings = (text: string): string[] =>
  parse(text).file.warnings.map(({ line, column, message }) => `${line}:${column} ${message}`);

/** One variable with this value, as YAML takes it between single quotes. */
const withValue = (value: string): string => `version: 0.1\nenv:\n  - name: A\n    value: '${value}'\n`;

function partsOf(text: string): unknown[] {
  const { file, problems } = parse(text);
  assert.deepEqual(problems, []);
  return file.entries[0]!.parts.map((part) => {
    if (typeof part === 'string') return part;
    const { text: _, position: __, ...said } = part;
    return said;
  });
}

void test('the example of the documentation of Bridge to Kubernetes', () => {
  const { file, problems } = parse(bridgeExample);
  assert.deepEqual([problems, file.warnings], [[], []]);
  assert.deepEqual(
    file.entries.map(({ name, parts }) => [
      name,
      ...parts.map((part) => (typeof part === 'string' ? part : part.text)),
    ]),
    [
      ['KUBERNETES_IN_CLUSTER_CONFIG_OVERRIDE', '$(volumeMounts:default-token-*)'],
      ['ALLOW_LIST_PATH', '$(volumeMounts:allow-list)', '/allow-list'],
      ['MYAPP1_SERVICE_HOST', '$(services:myapp1)', '/api/v1/'],
      ['MYAPP2_SERVICE_HOST', '$(services:myapp2.mynamespace)'],
      ['DEBUG_MODE', 'true'],
    ],
  );
});

void test('a file as users of Bridge to Kubernetes have it', () => {
  const { file, problems } = parse(`version: 0.1
volumeMounts:
  - name: default-token-*
    localPath: /var/run/secrets/kubernetes.io/serviceaccount
env:
  - name: KUBERNETES_IN_CLUSTER_CONFIG_OVERRIDE
    value: $(volumeMounts:default-token-*)
  - name: ALLOW_LIST
    value: $(volumeMounts:allow-list)/allow-list
  - name: SERVICE
    value: http://$(services:myapp1)/api/v1/
  - name: OTHER
    value: $(services:myapp2.mynamespace:80,443)
  - name: DATABASE
    value: $(externalEndpoints:db.example.com:1433)
  - name: CONSTANT
    value: 0.10
  - name: EMPTY
enableFeatures:
  - ManagedIdentity
  - Probes
`);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    file.features.map(({ name, position }) => `${name} ${position.line}:${position.column}+${position.length}`),
    ['ManagedIdentity 20:5+15', 'Probes 21:5+6'],
  );
  assert.deepEqual(
    file.warnings.map(({ line, message }) => `${line} ${message.slice(0, 20)}`),
    ['21 Probes has no effect'],
  );
  assert.deepEqual(
    file.entries.map(({ name, parts }) => [
      name,
      ...parts.map((part) => {
        if (typeof part === 'string') return part;
        const { kind: _, optional: __, position, text, ...said } = part;
        return { ...said, at: `${position.line}:${position.column}+${text.length}` };
      }),
    ]),
    [
      [
        'KUBERNETES_IN_CLUSTER_CONFIG_OVERRIDE',
        { name: 'default-token-*', localPath: '/var/run/secrets/kubernetes.io/serviceaccount', at: '7:12+31' },
      ],
      ['ALLOW_LIST', { name: 'allow-list', at: '9:12+26' }, '/allow-list'],
      ['SERVICE', 'http://', { service: 'myapp1', at: '11:19+18' }, '/api/v1/'],
      ['OTHER', { service: 'myapp2', namespace: 'mynamespace', ports: [80, 443], at: '13:12+37' }],
      ['DATABASE', { host: 'db.example.com', ports: [1433], at: '15:12+40' }],
      ['CONSTANT', '0.10'],
      ['EMPTY'],
    ],
  );
});

void test('tokens: the first word in any case, ports by commas or spaces, optional ones, $$ is a dollar', () => {
  assert.deepEqual(partsOf(withValue('$(SERVICES:a:80 81?)$$5')), [
    { kind: 'service', optional: true, service: 'a', ports: [80, 81] },
    '$5',
  ]);
  assert.deepEqual(partsOf(withValue('$(VolumeMounts:x?)')), [{ kind: 'volume', optional: true, name: 'x' }]);
});

void test('hosts with underscores, and with the final dot of a whole name', () => {
  const host = (name: string): unknown => partsOf(withValue(`$(externalEndpoints:${name}:80)`));
  const part = (name: string): unknown => [{ kind: 'external', optional: false, host: name, ports: [80] }];
  assert.deepEqual(host('sql_server.Example_1.com'), part('sql_server.Example_1.com'));
  assert.deepEqual(host('db.example.com.'), part('db.example.com'));
  for (const wrong of ['-a.com', 'a..b', '.', 'a.com..', 'a b'])
    assert.match(complaints(withValue(`$(externalEndpoints:${wrong}:80)`)).join(), /A host is|The host is/, wrong);
});

void test('all problems at once, each at its place', () => {
  const value = (text: string): string => `  - name: A\n    value: ${text}`;
  const lines = [
    'version: 0.2',
    'env:',
    value('pa$word'),
    value('$(volumes:x)'),
    value('$(services:a.b.c) $(services:a:0) $(externalEndpoints:x)'),
    value('$(services:x'),
    value('"\\t$(services:A)"'),
    value('[1]'),
    '  - value: x',
    '  - x',
    'volumeMounts: {}',
  ];
  assert.deepEqual(complaints(lines.join('\n')), [
    '1:10+3 This version is not known',
    '4:14+1 A dollar sign that begins no token',
    '6:12+12 This is no token',
    '8:12+17 The name of a Service has no dots, and one dot parts the namespace from it',
    '8:30+15 Ports are numbers from 1 to 65535, parted by commas or spaces',
    '8:46+22 The ports of the host are missing',
    '10:12+12 A token without its closing )',
    '12:12+17 The name of a Service has at most 63 small letters, digits and -, none of them - at the ends',
    '14:12+3 The value is not text',
    '15:5+8 An item of env without a name',
    '16:5+1 An item of env is a name with its value',
    '17:15+2 The key volumeMounts is a list',
  ]);
});

void test('what is not YAML, or has no version', () => {
  assert.match(complaints('version: 0.1\nenv: [a\n')[0]!, /^\d+:\d+\+\d+ This is not YAML: /);
  assert.deepEqual(complaints(''), ['1:1+0 There is no version']);
  assert.deepEqual(complaints('env: []\n'), ['1:1+7 There is no version']);
  assert.deepEqual(complaints('version: one\n'), ['1:10+3 This is no version']);
});

void test('warnings: unknown keys and features, a volume that nobody names, repeats', () => {
  const text = `version: 0.1
enviroment: []
env:
  - name: A
    values: x
  - name: A
volumeMounts:
  - name: x
    localPath: /x
enableFeatures: [probes, Teleport, Probes, LifecycleHooks, ManagedIdentity, Probes]
`;
  assert.deepEqual(warnings(text), [
    '2:1 This key of the file is not known and has no effect',
    '5:5 This key of the item of env is not known and has no effect',
    '6:11 The name A stands in line 4 too; the last one counts',
    '8:11 No variable of env names the volume x, so it is not downloaded',
    '10:18 This feature is not known and has no effect',
    '10:26 This feature is not known and has no effect',
    '10:36 Probes has no effect: the original pods run on with their probes, and your program gets none',
    '10:44 LifecycleHooks has no effect: the original pods keep their hooks, and your program runs without',
  ]);
  assert.deepEqual(parse(text).file.warnings[4]!.nearest, ['Probes']);
});

void test('the schema for editors takes what the parser takes, and refuses what it refuses or warns of', () => {
  const schema = z.fromJSONSchema(bridgeSchema as never);
  const file = (body: string): string => `version: 0.1\n${body}`;
  const good = [
    file(''),
    'version: "0.1"\n',
    file('env:\n'),
    file('env:\n  - name: A\n    value: $(services:x)\n  - { name: B }\n  - { name: C, value: 1 }\n'),
    file('volumeMounts:\n  - name: x\n    localPath: /y\nenv: [{ name: A, value: $(volumeMounts:x) }]\n'),
    file('enableFeatures: [Probes, LifecycleHooks, ManagedIdentity]\n'),
  ];
  const bad = [
    '[]',
    'env: []\n',
    'version: 0.2\n',
    file('other: 1\n'),
    file('env: {}\n'),
    file('env: [{ value: x }]\n'),
    file('env: [{ name: "" }]\n'),
    file('env: [{ name: A, value: [] }]\n'),
    file('env: [{ name: A, vale: x }]\n'),
    file(`env: [{ name: ${'a'.repeat(256)} }]\n`),
    file('volumeMounts: [{ localPath: x }]\n'),
    file('enableFeatures: [probes]\n'),
    file('enableFeatures: Probes\n'),
  ];
  for (const text of good) {
    const { problems, file: read } = parse(text);
    const unsaid = read.warnings.filter(({ message }) => !/^(Probes|LifecycleHooks) has no effect/.test(message));
    assert.deepEqual([problems, unsaid], [[], []], text);
    assert.equal(schema.safeParse(parseYaml(text)).success, true, text);
  }
  for (const text of bad) {
    const { problems, file: read } = parse(text);
    assert.notEqual(problems.length + read.warnings.length, 0, text);
    assert.equal(schema.safeParse(parseYaml(text)).success, false, text);
  }
});
