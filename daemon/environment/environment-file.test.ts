import assert from 'node:assert/strict';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import type { BowlineError } from '../../api/errors.ts';
import type { NamedService } from '../../api/schema.ts';
import {
  checkEnvironmentFile,
  externalsOf,
  featureWarnings,
  namespacesOf,
  placementsOf,
  readEnvironmentFile,
  resolveEnvironmentFile,
  type Surroundings,
} from './environment-file.ts';

const azds = (...lines: string[]) => readEnvironmentFile({ path: '/project/azds-local.env', text: lines.join('\n') })!;
const bridge = (text: string) =>
  readEnvironmentFile({ path: '/project/KubernetesLocalProcessConfig.yaml', text: `version: 0.1\n${text}` })!;

const service = (namespace: string, name: string, address: string): NamedService => ({
  namespace,
  service: name,
  names: [name],
  address,
  ports: [{ port: 80, local: 80 }],
});
const mount = (volume: string, mountPath: string, subPath?: string) => ({
  volume,
  mountPath,
  local: `/run/files/${volume}${subPath ?? ''}`,
  state: 'ready',
  ...(subPath && { subPath }),
});
const around: Surroundings = {
  services: [
    service('shop', 'myapp1', '127.66.0.1'),
    service('mynamespace', 'myapp2', '127.66.0.2'),
    { ...service('', 'db.example.com', '127.66.0.3'), external: true, names: [] },
  ],
  namespace: 'shop',
  files: {
    folder: '/run/files',
    mounts: [
      mount('whitelist', '/etc/whitelist'),
      mount('kube-api-access-x7f2q', '/var/run/secrets/kubernetes.io/serviceaccount'),
      mount('parts', '/etc/a', 'one'),
      mount('parts', '/etc/all'),
    ],
  },
  placed: [],
  inPlace: false,
};

void suite('what a file asks for', () => {
  void test('an invalid one is refused with every place, and without its lines', () => {
    assert.throws(
      () => azds('A=${nothing.x}', 'PASSWORD="s3cret', 'B=${volumes.}'),
      (error: BowlineError) => {
        assert.equal(error.code, 'ENVIRONMENT_FILE_INVALID');
        assert.match(error.message, /^\/project\/azds-local\.env cannot be used: 1:\d+: .*; 3:\d+: /s);
        assert.doesNotMatch(JSON.stringify(error.toShape()), /s3cret/);
        return true;
      },
    );
  });

  void test('other namespaces, hosts of outside each once, places of its own', () => {
    const file = azds(
      'A=${services.mynamespace.myapp2}${services.myapp1}',
      'B=${services.mynamespace.other}',
      'C=${volumes.token-*|./token}',
      'D=${volumes.whitelist|/srv/w}/x',
      'E=${volumes.token-*|token}',
      'F=${volumes.token-*|~/token}',
      'G=${volumes.token-*|~token}',
    );
    assert.deepEqual(namespacesOf(file), ['mynamespace']);
    assert.deepEqual(
      placementsOf(file).map(({ to }) => to),
      ['/project/token', '/srv/w', join(homedir(), 'token'), '/project/~token'],
    );
    const yaml = bridge(`env:
  - name: X
    value: $(externalEndpoints:db.example.com:5432)
  - name: Y
    value: $(externalEndpoints:db.example.com:5432,80)
enableFeatures: [Probes, ManagedIdentity]`);
    assert.deepEqual(externalsOf(yaml), [{ host: 'db.example.com', ports: [5432, 80] }]);
    assert.deepEqual(
      featureWarnings(yaml).map(({ message }) => /(\w+) has no effect/.exec(message)?.[1]),
      ['Probes', 'ManagedIdentity'],
    );
  });

  void test('what is not there is refused unless it is optional', () => {
    const known = { namespace: 'shop', namespaces: ['shop'], volumes: ['whitelist'], services: [] };
    checkEnvironmentFile(azds('A=${volumes.whitelist}', 'B=${services.gone?}', 'C=${volumes.gone?}'), known);
    assert.throws(
      () => checkEnvironmentFile(azds('A=${volumes.whitelst}', 'B=${services.gone}'), known),
      (error: BowlineError) => /1:\d+: .*whitelst \(did you mean whitelist\?\); 2:\d+: .*gone/.test(error.message),
    );
  });
});

void suite('what a file resolves to', () => {
  const resolved = (file: ReturnType<typeof azds>, more: Partial<Surroundings> = {}) =>
    resolveEnvironmentFile(file, { ...around, ...more });

  void test('local addresses and paths', () => {
    const { variables, notes } = resolved(
      azds(
        'ONE=http://${services.myapp1}/api',
        'TWO=${services.mynamespace.myapp2}',
        'LIST=${volumes.whitelist}/whitelist',
        'FILE=${volumes.whitelist/a/b}',
        'SOME=${volumes.whitelist/*.txt}',
        'WHOLE=${volumes.parts}',
        'TOKEN=${volumes.default-token-*}',
        'NONE=${services.gone?}',
      ),
    );
    assert.deepEqual(variables, {
      ONE: 'http://127.66.0.1/api',
      TWO: '127.66.0.2',
      LIST: '/run/files/whitelist/whitelist',
      FILE: '/run/files/whitelist/a/b',
      SOME: '/run/files/whitelist',
      WHOLE: '/run/files/parts',
      TOKEN: '/run/files/kube-api-access-x7f2q',
    });
    assert.deepEqual(notes, []);
  });

  void test('a place of its own: where the files were put there, or stand there anyway; else the copy, and that is said', () => {
    const path = '/var/run/secrets/kubernetes.io/serviceaccount';
    const file = azds(`TOKEN=\${volumes.default-token-*|${path}}`);
    const fallback = resolved(file);
    assert.equal(fallback.variables['TOKEN'], '/run/files/kube-api-access-x7f2q');
    assert.match(fallback.notes.join(), /is not at \/var\/run\/secrets/);
    for (const more of [{ inPlace: true }, { placed: placementsOf(file) }])
      assert.deepEqual(resolved(file, more), { variables: { TOKEN: path }, notes: [] });
  });

  void test('a host of outside: its name where that leads through the cluster', () => {
    const file = bridge('env:\n  - name: DB\n    value: $(externalEndpoints:db.example.com:80)');
    const { variables, notes } = resolved(file);
    assert.equal(variables['DB'], '127.66.0.3');
    assert.match(notes.join(), /db\.example\.com answers through the cluster at 127\.66\.0\.3:80 only/);
    assert.deepEqual(resolved(file, { inPlace: true }), { variables: { DB: 'db.example.com' }, notes: [] });
  });

  void test('a volume that did not come: its entry is left out, with the reason', () => {
    const absent = {
      ...mount('whitelist', '/etc/whitelist'),
      state: 'skipped',
      reason: 'It is larger than the limit.',
    };
    const files = { folder: '/run/files', mounts: [absent] };
    const { variables, notes } = resolved(azds('A=${volumes.whitelist}/x', 'B=${volumes.whitelist?}', 'C=1'), {
      files,
    });
    assert.deepEqual(variables, { C: '1' });
    assert.match(notes.join('\n'), /whitelist is not on this machine \(skipped\): It is larger than the limit/);
  });

  void test('what went away meanwhile is left out and noted with its place', () => {
    const { variables, notes } = resolved(azds('A=1', 'B=${services.myapp1}'), { services: [] });
    assert.deepEqual(variables, { A: '1' });
    assert.match(notes.join(), /^\/project\/azds-local\.env:2:\d+: .*myapp1.*left out/);
  });
});
