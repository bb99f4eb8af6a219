import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { NamedService } from '../../api/schema.ts';
import { placementsOf, readEnvironmentFile } from './environment-file.ts';
import { resolveEnvironmentFile, type Surroundings } from './resolve-file.ts';

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
    parts: [
      { volume: 'whitelist', path: 'a/b', local: '/run/files/part-1', state: 'ready', files: 1 },
      { volume: 'whitelist', path: '*.txt', local: '/run/files/part-2', state: 'ready', files: 2 },
      { volume: 'whitelist', path: '*.none', local: '/run/files/part-3', state: 'ready', files: 0 },
    ],
  },
  placed: [],
  inPlace: false,
};

void suite('what a file resolves to', () => {
  void test("the ServiceAccount's volume by the name that it had once, and no other", () => {
    const file = azds('A=${volumes.bot-token-*?}', 'B=${volumes.vault-token-data?}');
    const of = (serviceAccount?: string) => resolveEnvironmentFile(file, { ...around, serviceAccount }).variables;
    assert.deepEqual([of('bot'), of()], [{ A: '/run/files/kube-api-access-x7f2q' }, {}]);
  });

  const resolved = (file: ReturnType<typeof azds>, more: Partial<Surroundings> = {}) =>
    resolveEnvironmentFile(file, { ...around, ...more });

  void test('local addresses and paths', () => {
    const { variables, warnings, notes } = resolved(
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
      FILE: '/run/files/part-1/a/b',
      SOME: '/run/files/part-2',
      WHOLE: '/run/files/parts',
      TOKEN: '/run/files/kube-api-access-x7f2q',
    });
    assert.deepEqual([warnings, notes], [[], []]);
  });

  void test('a place of its own: where the files were put there, or stand there anyway; else the copy, and that is said', () => {
    const path = '/var/run/secrets/kubernetes.io/serviceaccount';
    const file = azds(`TOKEN=\${volumes.default-token-*|${path}}`);
    const fallback = resolved(file);
    assert.equal(fallback.variables['TOKEN'], '/run/files/kube-api-access-x7f2q');
    assert.match(fallback.notes.join(), /is not at \/var\/run\/secrets/);
    for (const more of [{ inPlace: true }, { placed: placementsOf(file) }])
      assert.deepEqual(resolved(file, more), { variables: { TOKEN: path }, warnings: [], notes: [] });
    const kept = resolved(file, { inPlace: true, kept: [path] });
    assert.equal(kept.variables['TOKEN'], '/run/files/kube-api-access-x7f2q', "the machine's own stays there");
  });

  void test('a host of outside: its name where that leads through the cluster', () => {
    const file = bridge('env:\n  - name: DB\n    value: $(externalEndpoints:db.example.com:80)');
    const { variables, warnings } = resolved(file);
    assert.equal(variables['DB'], '127.66.0.3');
    assert.match(warnings.join(), /db\.example\.com answers through the cluster at 127\.66\.0\.3:80 only/);
    const inPlace = { variables: { DB: 'db.example.com' }, warnings: [], notes: [] };
    assert.deepEqual(resolved(file, { inPlace: true }), inPlace);
    const ports = [{ port: 80, local: 10_080 }];
    const services = [{ ...service('', 'db.example.com', '127.66.0.3'), external: true, ports }];
    const moved = resolved(file, { services, inPlace: true });
    assert.equal(moved.variables['DB'], 'db.example.com');
    assert.match(moved.warnings.join(), /db\.example\.com answers through the cluster at 127\.66\.0\.3:10080 only/);
  });

  void test('an address of outside: never itself, which no hosts file can lead anywhere', () => {
    const file = bridge('env:\n  - name: DB\n    value: $(externalEndpoints:10.9.8.7:80)');
    const services = [{ ...service('', '10.9.8.7', '127.66.0.4'), external: true, names: [] }];
    for (const inPlace of [true, false]) {
      const { variables, warnings } = resolved(file, { services, inPlace });
      assert.deepEqual([variables, warnings], [{ DB: '127.66.0.4' }, []]);
    }
  });

  void test('a Service that answers at another port: said for each variable, with the port', () => {
    const ports = [
      { port: 80, local: 10_080 },
      { port: 8080, local: 8080 },
      { port: 53, protocol: 'UDP' as const, problem: 'UDP is not carried, only TCP.' },
    ];
    const services = [{ ...service('shop', 'myapp1', '127.66.0.1'), ports }];
    const file = azds(
      'A=${services.myapp1}',
      'A=${services.myapp1}/again',
      'B=1',
      'C=${services.gone?}${services.myapp1}',
    );
    assert.deepEqual(resolved(file, { services }).warnings, [
      'A is the address of myapp1, where port 80 answers at 10080. One below 1024 needs the helper (`bowline helper install`).',
      'A is the address of myapp1, where port 53 is not carried: UDP is not carried, only TCP.',
    ]);
  });

  void test('ManagedIdentity: the metadata service where it answers, unless the file says where itself', () => {
    const metadata = (local: number): NamedService => ({
      ...service('', '169.254.169.254', '127.66.0.9'),
      external: true,
      names: [],
      ports: [{ port: 80, local }],
    });
    const name = 'AZURE_POD_IDENTITY_AUTHORITY_HOST';
    const file = bridge('enableFeatures: [ManagedIdentity]');
    const at = (local: number): unknown => resolved(file, { services: [metadata(local)] });
    assert.deepEqual(at(80), { variables: { [name]: 'http://127.66.0.9' }, warnings: [], notes: [] });
    assert.deepEqual(at(10_080), { variables: { [name]: 'http://127.66.0.9:10080' }, warnings: [], notes: [] });
    const absent = resolved(file, { services: [] });
    assert.deepEqual(absent.variables, {});
    assert.match(absent.warnings.join(), /ManagedIdentity has no effect: 169\.254\.169\.254 is not carried/);
    const own = bridge(`env: [{ name: ${name}, value: "http://mine" }]\nenableFeatures: [ManagedIdentity]`);
    assert.deepEqual(resolved(own, { services: [metadata(80)] }).variables, { [name]: 'http://mine' });
    assert.deepEqual(resolved(bridge(''), { services: [metadata(80)] }).variables, {});
  });

  void test('a volume that did not come: its entry is left out, with the reason', () => {
    const absent = {
      ...mount('whitelist', '/etc/whitelist'),
      state: 'skipped',
      reason: 'It is larger than the limit.',
    };
    const files = { folder: '/run/files', mounts: [absent] };
    const { variables, warnings } = resolved(azds('A=${volumes.whitelist}/x', 'B=${volumes.whitelist?}', 'C=1'), {
      files,
    });
    assert.deepEqual(variables, { C: '1' });
    assert.match(warnings.join('\n'), /whitelist is not on this machine \(skipped\): It is larger than the limit/);
  });

  void test('a part that the volume does not have: its entry is left out, and that is said', () => {
    const { variables, warnings } = resolved(azds('A=${volumes.whitelist/*.none}', 'B=1'));
    assert.deepEqual(variables, { B: '1' });
    assert.match(warnings.join('\n'), /The volume whitelist has no \*\.none\./);
  });

  void test('what went away meanwhile is left out and noted with its place', () => {
    const { variables, warnings } = resolved(azds('A=1', 'B=${services.myapp1}'), { services: [] });
    assert.deepEqual(variables, { A: '1' });
    assert.match(warnings.join(), /^\/project\/azds-local\.env:2:\d+: .*myapp1.*left out/);
  });
});
