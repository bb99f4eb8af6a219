import assert from 'node:assert/strict';
import { test } from 'node:test';
import { convertEnvironmentFile } from './convert.ts';
import type { Dialect, EnvironmentFile, Problem } from './environment-file.ts';
import { formatProblem } from './format-problem.ts';
import { parseEnvironmentFile } from './parse.ts';
import { checkReferences, matchVolumes, namespacesOf, perhapsNamespaces, type Known } from './references.ts';
import { resolveEntries } from './resolve.ts';

const known: Known = {
  volumes: ['whitelist', 'kube-api-access-x7k2p', 'data-a', 'data-b'],
  services: [
    { namespace: 'shop', name: 'stats-api' },
    { namespace: 'shop', name: 'catalog' },
    { namespace: 'billing', name: 'invoices' },
  ],
  namespace: 'shop',
  namespaces: ['shop', 'billing'],
};

function read(text: string, dialect: Dialect = 'azds'): EnvironmentFile {
  const { file, problems } = parseEnvironmentFile(text, { file: dialect === 'azds' ? 'a.env' : 'a.yaml' });
  assert.deepEqual(problems, []);
  return file;
}

const placed = (problems: Problem[]): string[] =>
  problems.map(({ line, column, message }) => `${line}:${column} ${message}`);
const said = (problems: Problem[]): unknown[] => problems.map(({ message, nearest }) => [message, ...(nearest ?? [])]);
const check = (text: string): unknown[] => said(checkReferences(read(text), known));

void test('what is there is fine, and what is optional may be missing', () => {
  const text =
    'A=${volumes.whitelist}${volumes.default-token-*}${volumes.data-*}${services.catalog}\nB=${services.billing.invoices}';
  assert.deepEqual(check(text), []);
  assert.deepEqual(check('A=${volumes.no?}${services.no?}'), []);
});

void test('what is missing is named with what is near', () => {
  assert.deepEqual(check('A=${volumes.whitelst}\nB=${services.stats-apo}\nC=${services.billing.invoice}'), [
    ['The container has no volume whitelst', 'whitelist'],
    ['There is no Service stats-apo in the namespace shop', 'stats-api'],
    ['There is no Service invoice in the namespace billing', 'billing.invoices'],
  ]);
  assert.deepEqual(check('A=${volumes.log-*}'), [['The container has no volume with a name like log-*']]);
  assert.deepEqual(check('A=${volumes.white-token-data}'), [['The container has no volume white-token-data']]);
});

void test('namespace and name in the order of the other dialect, or the namespace forgotten', () => {
  assert.deepEqual(check('A=${services.invoices.billing}'), [
    ['There is no Service billing in the namespace invoices', 'billing.invoices'],
  ]);
  const yaml = read('version: 0.1\nenv: [{ name: A, value: $(services:billing.invoices) }]\n', 'bridge');
  assert.deepEqual(said(checkReferences(yaml, known)), [
    ['There is no Service billing in the namespace invoices', 'invoices.billing'],
  ]);
  assert.deepEqual(check('A=${services.invoices}'), [
    ['There is no Service invoices in the namespace shop', 'billing.invoices'],
  ]);
});

void test('a namespace that is not there: said, or taken for a Service in the order of the other dialect', () => {
  const absent = { ...known, namespaces: ['shop'], absent: ['elsewhere', 'invoices'] };
  const file = read(
    'A=${services.elsewhere.x}\nB=${services.elsewhere.catalog}\nC=${services.invoices.billing}\nD=${services.elsewhere.x?}',
  );
  assert.deepEqual(
    [namespacesOf(file), perhapsNamespaces(file, ['invoices'])],
    [['elsewhere', 'invoices'], ['billing']],
  );
  assert.deepEqual(said(checkReferences(file, absent)), [
    ['There is no namespace elsewhere'],
    ['There is no namespace elsewhere', 'catalog'],
    ['There is no Service billing in the namespace invoices', 'billing.invoices'],
  ]);
});

void test('what is not known is not judged', () => {
  const file = read('A=${volumes.x}${services.elsewhere.y}');
  const { volumes: _, ...servicesOnly } = known;
  assert.deepEqual(checkReferences(file, servicesOnly), []);
});

void test('volumes: exact before pattern, in any case, and the old name of the token', () => {
  assert.deepEqual(matchVolumes('DATA-A', ['data-a', 'data-ab']), ['data-a']);
  assert.deepEqual(matchVolumes('d*a*', ['data-a', 'xdata', 'da']), ['data-a', 'da']);
  assert.deepEqual(matchVolumes('*', ['a', 'b']), ['a', 'b']);
  const now = ['config', 'kube-api-access-x7k2p'];
  assert.deepEqual(matchVolumes('default-token-*', now), ['kube-api-access-x7k2p']);
  assert.deepEqual(matchVolumes('default-token-ab12c', now), ['kube-api-access-x7k2p']);
  assert.deepEqual(matchVolumes('default-token-*', [...now, 'default-token-1']), ['default-token-1']);
  assert.deepEqual(matchVolumes('config-*', now), []);
  assert.deepEqual(matchVolumes('*-token-*', now), ['kube-api-access-x7k2p']);
  assert.deepEqual(matchVolumes('build-bot-token-*', now, 'build.bot'), ['kube-api-access-x7k2p']);
  // A bare `${volumes.vault-token-data}` must never be the ServiceAccount's.
  for (const other of ['vault-token-data', 'vault-token-*', 'build-bot-token-*', 'x*-token-*'])
    assert.deepEqual(matchVolumes(other, now), [], other);
});

void test('entries become variables; a missing optional token leaves its entry out', () => {
  const file = read('A=${volumes.x}/y\nB=early\nB=${services.a}:${services.b?}\nC=${services.c}\nD=1\nD=2\nE=');
  const address = new Map([['a', '127.66.0.1']]);
  const resolved = resolveEntries(file, {
    volume: () => '/tmp/x',
    service: ({ service }) => address.get(service),
    external: () => undefined,
  });
  assert.deepEqual(resolved.variables, { A: '/tmp/x/y', D: '2', E: '' });
  assert.deepEqual(resolved.leftOut, ['B', 'C']);
  assert.deepEqual(
    resolved.missing.map(({ line, column, message }) => [line, column, message]),
    [[4, 3, "There is no Service c in the workload's namespace"]],
  );
});

void test('a problem as people read it', () => {
  const [problem] = checkReferences(read('# x\nSTATS=http://${services.stats-apo}/'), known);
  assert.equal(
    formatProblem(problem!),
    [
      'a.env:2:14: There is no Service stats-apo in the namespace shop',
      '  2 | STATS=http://${services.stats-apo}/',
      '    |              ^^^^^^^^^^^^^^^^^^^^^',
      '  expected: one of catalog, stats-api',
      '  did you mean stats-api?',
    ].join('\n'),
  );
  const long = parseEnvironmentFile(`A="\t${'x'.repeat(500)}\u001B\${y}${'z'.repeat(500)}"`, { file: 'a.env' });
  const [head, line, caret] = formatProblem(long.problems[0]!).split('\n');
  assert.equal(head, 'a.env:1:506: This is no token');
  assert.ok(line!.length < 150 && !line!.includes('\u001B'));
  assert.equal(line!.slice(caret!.indexOf('^'), caret!.lastIndexOf('^') + 1), '${y}');
});

void test('each dialect as the other says the same again', () => {
  const azds =
    'A=${volumes.default-token-*|/var/run/secrets}/x\nB="a # b\'$$"\nC=${services.shop.api}\nD=${services.web?}\nE="one\ntwo"\nF=\n';
  const bridge = convertEnvironmentFile(read(azds), 'bridge');
  assert.deepEqual(bridge.warnings, []);
  assert.equal(
    bridge.text,
    `version: 0.1
volumeMounts:
  - name: default-token-*
    localPath: /var/run/secrets
env:
  - name: A
    value: $(volumeMounts:default-token-*)/x
  - name: B
    value: "a # b'$$"
  - name: C
    value: $(services:api.shop)
  - name: D
    value: $(services:web?)
  - name: E
    value: |-
      one
      two
  - name: F
    value: ""
`,
  );
  const back = convertEnvironmentFile(read(bridge.text, 'bridge'), 'azds');
  assert.deepEqual(back, { text: azds, warnings: [] });
});

void test('what the other dialect cannot say is named', () => {
  const bridge = read(
    `version: 0.1
env:
  - { name: A, value: '$(externalEndpoints:db.example.com:5432)' }
  - { name: B, value: '$(services:web:80)' }
  - { name: 'C d', value: x }
  - { name: D, value: "\\"'\`\\\\n" }
enableFeatures: [Probes, ManagedIdentity]
`,
    'bridge',
  );
  const azds = convertEnvironmentFile(bridge, 'azds');
  assert.equal(azds.text, 'B=${services.web}\n');
  assert.deepEqual(placed(azds.warnings), [
    '3:24 azds-local.env has no hosts outside of the cluster, so A is left out',
    '4:24 azds-local.env has no ports; they had no effect',
    '5:13 azds-local.env cannot hold C d as it is, so it is left out',
    '6:13 azds-local.env cannot hold D as it is, so it is left out',
    '7:18 azds-local.env has no features, so Probes is left out',
    '7:26 azds-local.env has no features, so ManagedIdentity is left out',
  ]);
  const back = convertEnvironmentFile(
    read('A=${volumes.x/a.json|./one}\nB=${volumes.x/*.crt|./two}\nC=${volumes.y}'),
    'bridge',
  );
  assert.match(back.text, /value: \$\(volumeMounts:x\)\/a\.json\n.*B\n.*value: \$\(volumeMounts:x\)\n/);
  assert.deepEqual(placed(back.warnings), [
    '1:3 The whole volume is downloaded in this dialect, not this path alone',
    '2:3 A volume has one local path in this dialect: x goes to ./one',
    '2:3 The whole volume is downloaded in this dialect, not what fits the pattern',
  ]);
});
