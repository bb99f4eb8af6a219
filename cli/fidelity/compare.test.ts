import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf, type Inspection } from '../../agent-image/inspection.ts';
import type { Connection, Environment, PodInspection } from '../../api/schema.ts';
import { compareSides, type FidelityReport, type Sides } from './compare.ts';

const key = 'ab'.repeat(32);
const digests = (values: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, digestOf(key, value)]));
const file = (path: string, content: string, executable = false) => ({
  path,
  digest: digestOf(key, content),
  executable,
  modified: 1_000,
});

const connection = {
  name: 'shop/web',
  namespace: 'shop',
  services: [
    { namespace: 'shop', service: 'db', names: ['db'], address: '127.66.0.1', ports: [{ port: 5432, local: 5432 }] },
    { namespace: 'shop', service: 'low', names: [], address: '127.66.0.2', ports: [{ port: 80, local: 8042 }] },
    { namespace: 'shop', service: 'gone', names: [], ports: [], problem: 'ExternalName is not carried.' },
  ],
  files: {
    folder: '/f',
    backing: 'memory',
    mounts: [
      { volume: 'a', kind: 'secret', mountPath: '/etc/a', local: '/f/a', state: 'ready' },
      { volume: 'b', kind: 'emptyDir', mountPath: '/b', local: '/f/b', state: 'skipped', reason: 'too large' },
    ],
  },
} as unknown as Connection;

const endpoint = (service: string, port: number, connects = true): PodInspection['endpoints'][number] => ({
  service,
  namespace: 'shop',
  external: false,
  names: [service, `${service}.shop`],
  resolved: [service, `${service}.shop`],
  ports: [{ port, connects, why: connects ? '' : 'ECONNREFUSED' }],
});

const pod: PodInspection = {
  pod: 'web-1',
  container: 'main',
  variables: { source: 'process', digests: {}, notes: [] },
  filesFrom: 'original',
  files: [],
  unreadable: [],
  endpoints: [],
};
const machine: Inspection = {
  variables: {},
  files: [],
  unreadable: [],
  endpoints: [],
  identity: undefined,
  timeZone: 'UTC',
  hostName: 'laptop',
  uid: 1500,
};
const environment: Environment = {
  variables: {},
  origins: {},
  rewritten: {},
  notCarried: {},
  source: 'process',
  warnings: [],
  notes: [],
};

const compare = (sides: Partial<Sides>): FidelityReport =>
  compareSides({
    key,
    connection,
    pod,
    machine,
    environment,
    places: new Map([['/etc/a', '/etc/a']]),
    inPlace: true,
    ...sides,
  });
/** Without the row that says that this test gives no variables. */
const told = ({ rows }: FidelityReport): Array<[string, string, string?]> =>
  rows
    .filter(({ name }) => name !== '(all)')
    .map(({ name, state, reason }) => (reason === undefined ? [name, state] : [name, state, reason]));

test('variables: equal, rewritten with the reason, missing, different, and extra ones that are not counted, unless of a Service', () => {
  const report = compare({
    pod: {
      ...pod,
      variables: { ...pod.variables, digests: digests({ A: '1', B: '1', C: '1', D: '1', F: '1', PATH: '/bin' }) },
    },
    environment: {
      ...environment,
      variables: { B: '2', D: '3', E: '5', G_PORT: '1', H_PORT: '1' },
      origins: { E: 'machine', G_PORT: 'service', H_PORT: 'service' },
      rewritten: { B: 'an address', D: 'an address', G_PORT: 'the service came after the container' },
      notCarried: { F: 'port 53 of dns: UDP is not carried, only TCP.' },
    },
    machine: {
      ...machine,
      variables: {
        ...digests({ A: '1', B: '2', D: 'of the shell', E: '5', F: '1', PATH: '/usr/bin', LANG: 'C' }),
        ...digests({ G_PORT: '1', H_PORT: '1' }),
      },
    },
  });
  assert.deepEqual(told(report), [
    ['A', 'equal'],
    ['B', 'rewritten', 'an address'],
    ['C', 'missing', 'the program here does not have it'],
    ['D', 'different', 'another value, for no known reason'],
    ['E', 'extra', 'of the connection'],
    ['F', 'missing', 'not carried: port 53 of dns: UDP is not carried, only TCP.'],
    ['G_PORT', 'rewritten', 'the service came after the container'],
    ['H_PORT', 'different', 'the pod does not have it'],
    ['PATH', 'rewritten', 'says how this machine is'],
  ]);
  assert.deepEqual([report.kept, report.total, report.percent], [4, 8, 50]);
});

test('files: content, the right to execute, what kubelet writes for each pod, volumes that did not come', () => {
  const files = [
    file('/etc/a/same', 'x'),
    file('/etc/a/changed', 'x'),
    file('/etc/a/run', 'x', true),
    { ...file('/etc/a/token', 'x'), perPod: { what: 'a token of its own', digest: digestOf(key, 'of the agent') } },
    { ...file('/etc/a/forged', 'x'), perPod: { what: 'a token of its own', digest: digestOf(key, 'of the agent') } },
    file('/b/data', 'x'),
  ];
  const here = [
    file('/etc/a/same', 'x'),
    file('/etc/a/changed', 'y'),
    file('/etc/a/run', 'x'),
    file('/etc/a/token', 'of the agent'),
    file('/etc/a/forged', 'of nobody'),
    file('/etc/a/more', 'x'),
  ];
  assert.deepEqual(told(compare({ pod: { ...pod, files }, machine: { ...machine, files: here } })), [
    ['/b/data', 'missing', 'too large'],
    ['/etc/a/changed', 'different', 'another content'],
    ['/etc/a/forged', 'different', 'another content'],
    ['/etc/a/more', 'different', 'not in the pod'],
    ['/etc/a/run', 'different', 'executable in the pod only'],
    ['/etc/a/same', 'equal'],
    ['/etc/a/token', 'rewritten', 'a token of its own'],
  ]);
  const moved = compare({
    pod: { ...pod, files: [file('/etc/a/same', 'x')] },
    machine: { ...machine, files: [file('/etc/a/same', 'x')] },
    places: new Map([['/etc/a', '/f/a']]),
  });
  assert.deepEqual(told(moved), [['/etc/a/same', 'rewritten', 'it lies below /f/a']]);
});

test('names: as in the pod, also where it is refused there; at another port or address; not carried; dead here', () => {
  const endpoints = [endpoint('db', 5432, false), endpoint('low', 80), endpoint('gone', 80), endpoint('db', 5432)];
  const seen = (resolved: string[], port: number, connects: boolean): Inspection['endpoints'][number] => ({
    resolved,
    ports: [{ port, connects, why: connects ? '' : 'ECONNREFUSED' }],
  });
  const report = compare({
    pod: { ...pod, endpoints },
    machine: {
      ...machine,
      endpoints: [
        seen(['db', 'db.shop'], 5432, false),
        seen([], 80, true),
        seen([], 80, false),
        seen(['db'], 5432, false),
      ],
    },
  });
  assert.deepEqual(told(report), [
    ['db:5432', 'equal'],
    [
      'low:80',
      'rewritten',
      'at 127.66.0.2 of the variables: its names need the helper or private files; at port 8042: one below 1024 needs the helper',
    ],
    ['gone:80', 'missing', 'ExternalName is not carried.'],
    ['db:5432', 'different', 'it connects in the pod, here not: ECONNREFUSED'],
  ]);
  const half = compare({
    pod: { ...pod, endpoints: [endpoint('db', 5432)] },
    machine: { ...machine, endpoints: [seen(['db.shop'], 5432, true)] },
  });
  assert.deepEqual(told(half), [['db:5432', 'missing', 'db does not lead there here']]);
});

test('identity, time zone and user', () => {
  const me = { user: 'system:serviceaccount:shop:web', uid: '1', groups: ['a'] };
  const look = (identity: Inspection['identity'], timeZone: string, uid: number) =>
    told(
      compare({
        pod: { ...pod, account: '/run/account', identity: me, timeZone: 'Etc/UTC', uid: 1000 },
        machine: { ...machine, identity, timeZone, uid },
      }),
    ).map(([, state]) => state);
  assert.deepEqual(look(me, 'UTC', 1000), ['equal', 'equal', 'equal']);
  assert.deepEqual(look({ ...me, user: 'somebody' }, 'Asia/Tokyo', 1), ['different', 'different', 'rewritten']);
  assert.deepEqual(look({ problem: 'ENOENT' }, 'UTC', 1000), ['missing', 'equal', 'equal']);
  const asked = (identityFrom: 'original' | 'agent'): Array<string | undefined> => {
    const sides = { pod: { ...pod, account: '/a', identity: me, identityFrom }, machine: { ...machine, identity: me } };
    const row = compare(sides).rows.find(({ kind }) => kind === 'identity');
    return [row?.source, row?.state, row?.reason];
  };
  assert.deepEqual(asked('original'), ['original', 'equal', undefined]);
  assert.deepEqual(asked('agent'), ['agent', 'equal', "asked with the agent's token: the pod's cannot be read"]);
});

test('variables of the pod that could not be read are not equal', () => {
  const [row] = compare({ pod: { ...pod, variables: { ...pod.variables, source: 'none' } } }).rows;
  assert.deepEqual([row?.name, row?.state], ['(all)', 'missing']);
});

test('all but one of many is not 100 %', () => {
  const names = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`V${index}`, 'x']));
  const { V0: _, ...rest } = names;
  const report = compare({
    pod: { ...pod, variables: { ...pod.variables, digests: digests(names) } },
    machine: { ...machine, variables: digests(rest) },
  });
  assert.equal(report.percent, 99);
});

test('the host name is that of the pod where the command has a place of its own', () => {
  const row = (hostName: string, inPlace: boolean) => {
    const sides = { pod: { ...pod, hostName: 'web-1' }, machine: { ...machine, hostName }, inPlace };
    const [found] = compare(sides).rows.filter(({ kind }) => kind === 'host name');
    return [found?.state, found?.reason];
  };
  assert.deepEqual(row('web-1', true), ['equal', undefined]);
  assert.deepEqual(row('laptop', true), ['different', "programs here have the machine's, laptop"]);
  assert.deepEqual(row('laptop', false), [
    'rewritten',
    "programs here have the machine's, laptop: another one needs private files",
  ]);
});

test('files that the pod writes while it runs are told and not counted; what was never the same is', () => {
  const at = (path: string, content: string, modified: number) => ({ ...file(path, content), modified });
  const mount = {
    volume: 'd',
    kind: 'emptyDir',
    mountPath: '/data',
    readOnly: false,
    local: '/f/d',
    state: 'ready' as const,
  };
  const files = { ...connection.files!, mounts: [{ ...mount, updated: new Date(5_000_000).toISOString() }] };
  const { rows, total, percent } = compare({
    connection: { ...connection, files },
    pod: {
      ...pod,
      files: [
        at('/data/same', 'x', 4_000),
        at('/data/wal', 'new', 6_000),
        at('/data/made', 'x', 6_000),
        at('/data/lost', 'x', 4_000),
        at('/data/broken', 'x', 4_000),
      ],
    },
    machine: {
      ...machine,
      files: [
        at('/data/same', 'x', 4_000),
        at('/data/wal', 'old', 4_500),
        at('/data/broken', 'y', 4_000),
        at('/data/mine', 'x', 7_000),
      ],
    },
    places: new Map([['/data', '/data']]),
  });
  assert.deepEqual(
    rows.filter(({ kind }) => kind === 'file').map(({ name, state }) => [name, state]),
    [
      ['/data/broken', 'different'],
      ['/data/lost', 'missing'],
      ['/data/made', 'newer'],
      ['/data/mine', 'extra'],
      ['/data/same', 'equal'],
      ['/data/wal', 'newer'],
    ],
  );
  assert.deepEqual([total - rows.filter(({ kind }) => kind === 'variable').length, percent < 100], [3, true]);
});
