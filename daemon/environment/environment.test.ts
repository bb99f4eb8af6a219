import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { V1Container, V1Pod } from '@kubernetes/client-node';
import type { NamedService } from '../../api/schema.ts';
import { apiServerPlace } from './api-server.ts';
import { environmentOf, type EnvironmentInput } from './environment.ts';
import { expand } from './expansion.ts';
import { withOriginalFields } from './field-references.ts';
import { localPath } from './local-paths.ts';
import { bytesOrCores } from './quantity.ts';
import { serviceVariables } from './service-variables.ts';
import { isSameZone, zoneOf } from './time-zone.ts';

const address = '127.66.0.5';
const stats: NamedService = {
  namespace: 'shop',
  service: 'stats-api',
  names: [],
  address,
  clusterIp: '10.96.0.9',
  ports: [
    { port: 80, local: 10_080, name: 'http' },
    { port: 81, local: 81, name: 'admin-x' },
    { port: 53, name: 'dns', protocol: 'UDP', problem: 'UDP is not carried, only TCP.' },
  ],
};
const kubernetes: NamedService = {
  namespace: 'default',
  service: 'kubernetes',
  names: [],
  address: '127.66.0.9',
  ports: [{ port: 443, local: 10_443, name: 'https' }],
};

void suite('variables of services', () => {
  void test('as kubelet names them, with ports that answer on this machine', () => {
    assert.deepEqual(serviceVariables([stats], 'shop').variables, {
      STATS_API_SERVICE_HOST: address,
      STATS_API_SERVICE_PORT: '10080',
      STATS_API_SERVICE_PORT_HTTP: '10080',
      STATS_API_SERVICE_PORT_ADMIN_X: '81',
      STATS_API_PORT: `tcp://${address}:10080`,
      STATS_API_PORT_80_TCP: `tcp://${address}:10080`,
      STATS_API_PORT_80_TCP_PROTO: 'tcp',
      STATS_API_PORT_80_TCP_PORT: '10080',
      STATS_API_PORT_80_TCP_ADDR: address,
      STATS_API_PORT_81_TCP: `tcp://${address}:81`,
      STATS_API_PORT_81_TCP_PROTO: 'tcp',
      STATS_API_PORT_81_TCP_PORT: '81',
      STATS_API_PORT_81_TCP_ADDR: address,
    });
  });

  void test('of the own namespace and the API server; none of what is not carried', () => {
    const named = (namespace: string, service: string): NamedService => ({ ...stats, namespace, service });
    const apiServer = { host: '::1', port: 6443 };
    const hosts = (services: NamedService[]): string[] =>
      Object.keys(serviceVariables(services, 'shop', { apiServer }).variables).filter((name) => name.endsWith('_HOST'));
    assert.deepEqual(hosts([named('other', 'x'), kubernetes, named('default', 'y')]), ['KUBERNETES_SERVICE_HOST']);
    const { address: _address, ...unreachable } = stats;
    const nothing = serviceVariables([unreachable], 'shop');
    assert.deepEqual([nothing.variables, nothing.notCarried], [{}, {}]);
    const { variables } = serviceVariables([], 'shop', { apiServer });
    assert.equal(variables['KUBERNETES_PORT'], 'tcp://[::1]:6443');
  });

  void test('of a port that is not carried there are none, and no other port takes its place', () => {
    const [http, , dns] = stats.ports;
    const why = 'port 53 of stats-api: UDP is not carried, only TCP.';
    const names = ['SERVICE_PORT_DNS', 'PORT_53_UDP', 'PORT_53_UDP_PROTO', 'PORT_53_UDP_PORT', 'PORT_53_UDP_ADDR'];
    const first = ['SERVICE_PORT', 'PORT'];
    const reasons = (of: string[]): Record<string, string> =>
      Object.fromEntries(of.map((name) => [`STATS_API_${name}`, why]));
    assert.deepEqual(serviceVariables([stats], 'shop').notCarried, reasons(names));
    const dnsFirst = serviceVariables([{ ...stats, ports: [dns!, http!] }], 'shop');
    assert.deepEqual(dnsFirst.notCarried, reasons([...first, ...names]));
    assert.equal(dnsFirst.variables['STATS_API_SERVICE_HOST'], address);
    assert.deepEqual(
      [dnsFirst.variables['STATS_API_SERVICE_PORT'], dnsFirst.variables['STATS_API_PORT']],
      [undefined, undefined],
    );
    const dnsOnly = serviceVariables([{ ...stats, ports: [dns!] }], 'shop');
    assert.deepEqual(dnsOnly.variables, {});
    assert.deepEqual(dnsOnly.notCarried, reasons(['SERVICE_HOST', ...first, ...names]));
  });

  void test('as kubelet gives them, of each Service that has an address of its own', () => {
    const { inCluster } = serviceVariables([stats, { ...kubernetes, clusterIp: 'fd00::1' }], 'shop');
    const values = Object.fromEntries(Object.entries(inCluster).map(([name, { value }]) => [name, value]));
    assert.equal(Object.keys(values).length, 26);
    for (const [name, value] of [
      ['STATS_API_SERVICE_HOST', '10.96.0.9'],
      ['STATS_API_SERVICE_PORT', '80'],
      ['STATS_API_SERVICE_PORT_ADMIN_X', '81'],
      ['STATS_API_PORT_53_UDP', 'udp://10.96.0.9:53'],
      ['KUBERNETES_PORT_443_TCP', 'tcp://[fd00::1]:443'],
    ] as const)
      assert.equal(values[name], value, name);
  });

  void test('of a headless Service and its pods there are none, as in the pod, unless they are the only way', () => {
    const { clusterIp: _clusterIp, ...headless } = stats;
    const services = [
      { ...headless, service: 'redis' },
      { ...headless, service: 'redis-0.redis' },
    ];
    const none = serviceVariables(services, 'shop');
    assert.deepEqual(none, { variables: {}, notCarried: {}, inCluster: {} });
    const { variables, inCluster } = serviceVariables(services, 'shop', { headless: true });
    assert.equal(variables['REDIS_0_REDIS_SERVICE_HOST'], address);
    assert.deepEqual(inCluster, {});
  });
});

void suite('the API server', () => {
  const server = 'https://api.example.com:6443';

  void test('is at the name of its Service where names resolve, because its certificate says that', () => {
    const byName = { host: 'kubernetes.default.svc', port: 10_443 };
    assert.deepEqual(apiServerPlace([kubernetes], { server, inPlace: true }), byName);
    const named = { ...kubernetes, names: ['kubernetes.default', 'kubernetes.default.svc'] };
    assert.deepEqual(apiServerPlace([named], { server, inPlace: false }), byName);
  });

  void test('else at its own address, and that is said', () => {
    const place = (url: string) => apiServerPlace([kubernetes], { server: url, inPlace: false });
    const { note, ...direct } = place(server)!;
    assert.deepEqual(direct, { host: 'api.example.com', port: 6443 });
    assert.match(note!, /certificate/);
    assert.deepEqual(place('https://[fd00::1]')?.host, 'fd00::1');
    assert.equal(place('https://rancher.example.com/k8s/clusters/c-1')?.host, '127.66.0.9', 'a path cannot be said');
    assert.equal(apiServerPlace([], { server: 'http://localhost:8001', inPlace: false }), undefined);
  });
});

void suite('the environment of a program', () => {
  const input: EnvironmentInput = {
    redirected: true,
    facts: { uid: 0, gid: 0, source: 'process', variables: { A: '1', STATS_API_SERVICE_HOST: '10.96.0.9' } },
    fromAgent: async () => undefined,
    fromImage: async () => undefined,
    original: async () => undefined,
    services: [stats],
    namespace: 'shop',
    mode: 'hosts',
    server: 'http://localhost:8001',
    inPlace: false,
    files: undefined,
    file: { variables: {}, warnings: [], notes: [] },
    timeZone: 'Europe/Berlin',
  };
  const withVariables = (variables: Record<string, string>, timeZone?: string): EnvironmentInput['facts'] => ({
    uid: 0,
    gid: 0,
    source: 'process',
    variables,
    ...(timeZone && { timeZone }),
  });

  void test('the environment file wins over generated service variables, and these over the container', async () => {
    const file = {
      variables: { STATS_API_SERVICE_PORT: '8080', NEW: 'x' },
      warnings: ['a warning of the file'],
      notes: ['a note of the file'],
    };
    const { variables, origins, rewritten, source, warnings, notes } = await environmentOf({ ...input, file });
    assert.deepEqual(
      ['A', 'STATS_API_SERVICE_HOST', 'STATS_API_SERVICE_PORT', 'NEW'].map((name) => [variables[name], origins[name]]),
      [
        ['1', 'container'],
        [address, 'service'],
        ['8080', 'file'],
        ['x', 'file'],
      ],
    );
    assert.equal(source, 'process');
    assert.equal(rewritten['STATS_API_SERVICE_HOST'], 'where the service answers on this machine');
    assert.equal(rewritten['STATS_API_PORT'], 'the service came after the container');
    assert.equal(rewritten['STATS_API_SERVICE_PORT'], undefined, 'the file says so');
    assert.match(notes.join('\n'), /^a note of the file\n1 service variables say where/);
    assert.deepEqual(warnings, ['a warning of the file']);
  });

  void test('what the workload sets itself under the name of a service variable wins, as in the pod', async () => {
    const own = {
      STATS_API_SERVICE_HOST: '192.168.4.5',
      STATS_API_SERVICE_PORT: '80',
      STATS_API_PORT: '8080',
      STATS_API_SERVICE_PORT_ADMIN_X: '8081',
    };
    const facts = withVariables({ ...own, STATS_API_PORT_80_TCP_ADDR: '10.96.0.9', STATS_API_PORT_80_TCP_PORT: '80' });
    const { variables, origins, rewritten } = await environmentOf({ ...input, facts });
    for (const [name, value] of Object.entries(own))
      assert.deepEqual([variables[name], origins[name], rewritten[name]], [value, 'container', undefined], name);
    assert.equal(variables['STATS_API_PORT_80_TCP_ADDR'], address);
    assert.equal(variables['STATS_API_PORT_80_TCP_PORT'], '10080', 'beside the address of kubelet');
    assert.equal(variables['STATS_API_PORT_80_TCP'], `tcp://${address}:10080`, 'it has them, so it gets the others');
  });

  void test('a container without service variables (enableServiceLinks: false) has none here where names do', async () => {
    const services = [stats, kubernetes];
    const facts = withVariables({ A: '1', STATS_API_PORT: '8080', KUBERNETES_SERVICE_HOST: '10.96.0.1' });
    const named = await environmentOf({ ...input, services, facts });
    assert.deepEqual(
      Object.keys(named.variables).filter((name) => name.startsWith('STATS_')),
      ['STATS_API_PORT'],
    );
    assert.equal(named.origins['KUBERNETES_SERVICE_HOST'], 'service');
    const unnamed = await environmentOf({ ...input, services, facts, mode: 'env' });
    assert.deepEqual(
      [unnamed.variables['STATS_API_SERVICE_HOST'], unnamed.variables['STATS_API_PORT']],
      [address, '8080'],
    );
    assert.match(unnamed.rewritten['STATS_API_SERVICE_HOST'] ?? '', /names do not resolve/);
  });

  void test('the port on which the workload listens stays beside the address of its Service; so does another API server', async () => {
    const facts = withVariables({
      STATS_API_SERVICE_HOST: '10.96.0.9',
      STATS_API_SERVICE_PORT: '8080',
      KUBERNETES_SERVICE_HOST: '192.168.4.5',
      KUBERNETES_SERVICE_PORT: '443',
    });
    const services = [stats, { ...kubernetes, clusterIp: '10.96.0.1' }];
    const { variables } = await environmentOf({ ...input, services, facts });
    assert.deepEqual(
      ['STATS_API_SERVICE_HOST', 'STATS_API_SERVICE_PORT', 'KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT'].map(
        (name) => variables[name],
      ),
      [address, '8080', '192.168.4.5', '443'],
    );
  });

  void test("without a process that can be read, what kubelet gave the agent: under the right names, without the agent's own", async () => {
    const agents = {
      A: '1',
      NODE_OPTIONS: '',
      BOWLINE_ORIGINAL_NODE_OPTIONS: '--inspect',
      NODE_PATH: '',
      HOSTNAME: 'bowline-x',
      PATH: '/usr/local/bin',
      HOME: '/home/of-spec',
      BOWLINE_X9_ORIGINALS_SERVICE_HOST: '10.96.0.77',
    };
    const { variables, source, warnings } = await environmentOf({
      ...input,
      facts: undefined,
      services: [],
      fromAgent: async () => agents,
    });
    assert.deepEqual([variables, source], [{ A: '1', NODE_OPTIONS: '--inspect' }, 'spec']);
    assert.match(warnings.join(), /only its image or its entrypoint sets are missing/);

    const pod: V1Pod = { metadata: { name: 'web-1' }, spec: { containers: [] } };
    const withImage = await environmentOf({
      ...input,
      facts: undefined,
      services: [],
      fromAgent: async () => agents,
      fromImage: async () => ({ PATH: '/app', SSL: 'yes', A: 'of the image', HOSTNAME: 'bowline-x' }),
      original: async () => ({ pod, container: { name: 'main', env: [{ name: 'HOME', value: '/home/of-spec' }] } }),
    });
    const { A, NODE_OPTIONS, ...rest } = withImage.variables;
    assert.deepEqual([A, NODE_OPTIONS], ['1', '--inspect']);
    assert.deepEqual(rest, { HOME: '/home/of-spec', HOSTNAME: 'web-1', PATH: '/app', SSL: 'yes', TZ: 'UTC' });
  });

  void test('what kubelet says of a port that is not carried stays as it is, and is said; what the workload says is its own', async () => {
    const ofKubelet = { STATS_API_PORT_53_UDP: 'udp://10.96.0.9:53', STATS_API_SERVICE_PORT_DNS: '53' };
    const around = { STATS_API_SERVICE_HOST: '10.96.0.9', STATS_API_PORT_53_UDP_ADDR: 'dns.example.com' };
    const facts = withVariables({ ...ofKubelet, ...around });
    const { variables, rewritten, notCarried, warnings } = await environmentOf({ ...input, facts });
    assert.deepEqual(Object.keys(notCarried), Object.keys(ofKubelet).toReversed());
    for (const [name, value] of Object.entries(ofKubelet)) {
      assert.equal(variables[name], value);
      assert.equal(rewritten[name], undefined);
    }
    assert.deepEqual(warnings, [
      'STATS_API_SERVICE_PORT_DNS and 1 more are as in the pod, where nothing answers from here: port 53 of stats-api: UDP is not carried, only TCP.',
    ]);
    const file = { variables: { STATS_API_PORT_53_UDP: 'mine' }, warnings: [], notes: [] };
    assert.deepEqual(Object.keys((await environmentOf({ ...input, facts, file })).notCarried), [
      'STATS_API_SERVICE_PORT_DNS',
    ]);
  });

  void test('names only: those of the services alone', async () => {
    const { variables, source } = await environmentOf({ ...input, redirected: false, facts: undefined });
    assert.deepEqual([variables['A'], variables['STATS_API_SERVICE_HOST'], source], [undefined, address, 'none']);
  });

  void test('paths of the pod lead to the copies here, unless the program has the files in place', async () => {
    const mount = (mountPath: string, local: string, state = 'ready') => ({ volume: 'v', mountPath, local, state });
    const files = {
      folder: '/run/x',
      mounts: [mount('/etc/config', '/run/x/volumes/config'), mount('/data', '/run/x/volumes/data', 'skipped')],
    };
    const facts = withVariables({ CONFIG: '/etc/config/app.yaml', DATA: '/data/db', TEXT: 'see /etc/config' });
    const moved = await environmentOf({ ...input, services: [], facts, files });
    assert.deepEqual(moved.variables, {
      CONFIG: '/run/x/volumes/config/app.yaml',
      DATA: '/data/db',
      TEXT: 'see /etc/config',
      BOWLINE_ROOT: '/run/x/root',
    });
    assert.deepEqual(Object.keys(moved.rewritten), ['CONFIG']);
    assert.match(moved.notes.join(), /CONFIG: a path of the pod/);
    const inPlace = await environmentOf({ ...input, services: [], facts, files, inPlace: true });
    assert.equal(inPlace.variables['CONFIG'], '/etc/config/app.yaml');
    assert.deepEqual(inPlace.rewritten, {});
    const late = await environmentOf({
      ...input,
      services: [],
      facts,
      files: { ...files, mounts: [mount('/etc/config', '/run/x/volumes/config', 'downloading')] },
      inPlace: true,
      kept: ['/etc/config'],
    });
    assert.equal(late.variables['CONFIG'], '/run/x/volumes/config/app.yaml', 'it comes after the program has begun');
    const inner = mount('/etc/config/inner', '/run/x/volumes/inner');
    const refused = await environmentOf({
      ...input,
      services: [],
      facts: withVariables({ CONFIG: '/etc/config/app.yaml', INNER: '/etc/config/inner/x' }),
      files: { ...files, mounts: [...files.mounts, inner] },
      inPlace: true,
      kept: ['/etc/config'],
    });
    assert.equal(refused.variables['CONFIG'], '/run/x/volumes/config/app.yaml', "the machine's own stays there");
    assert.equal(refused.variables['INNER'], '/etc/config/inner/x');
    assert.deepEqual(Object.keys(refused.rewritten), ['CONFIG']);
  });

  void test("the pod's time zone where it is another than the machine's", async () => {
    const zone = async (facts: EnvironmentInput['facts']) =>
      (await environmentOf({ ...input, services: [], facts })).variables['TZ'];
    assert.equal(await zone(withVariables({}, 'UTC')), 'UTC');
    assert.equal(await zone(withVariables({}, 'Europe/Berlin')), undefined);
    assert.equal(await zone(withVariables({ TZ: 'Asia/Tokyo' }, 'UTC')), 'Asia/Tokyo', 'its own variable');
    assert.equal(await zone(withVariables({})), undefined, 'not known');
  });
});

void suite('paths', () => {
  const mounts = [
    { mountPath: '/etc/config', local: '/l/config' },
    { mountPath: '/etc/config/sub/', local: '/l/sub' },
  ];
  for (const [value, expected] of [
    ['/etc/config', '/l/config'],
    ['/etc/config/', '/l/config/'],
    ['/etc/config/a b', '/l/config/a b'],
    ['/etc/config/sub/x', '/l/sub/x'],
    ['/etc/config/subway', '/l/config/subway'],
    ['/etc/configs', undefined],
    ['/etc', undefined],
    ['etc/config', undefined],
    ['/etc/config/../passwd', undefined],
    ['/etc/config:/etc/other', undefined],
    ['/etc/config/a\nb', undefined],
  ] as const) {
    void test(`${JSON.stringify(value)} -> ${expected ?? 'as it is'}`, () => {
      assert.equal(localPath(value, mounts), expected);
    });
  }
});

void suite('as kubelet resolves the spec', () => {
  void test('$(VAR)', () => {
    const values: Record<string, string> = { A: '1', B: '$(A)' };
    for (const [text, expected] of [
      ['$(A)/$(B)', '1/$(A)'],
      ['$(NOBODY)', '$(NOBODY)'],
      ['$$(A) $$$(A) $$$$', '$(A) $1 $$'],
      ['$A $( $(A $', '$A $( $(A $'],
      ['', ''],
    ] as const)
      assert.equal(
        expand(text, (name) => values[name]),
        expected,
        text,
      );
  });

  void test("fields and limits are the original's, and so is what refers to them", () => {
    const pod: V1Pod = {
      metadata: { name: 'web-7f-x', uid: 'u1', namespace: 'shop', labels: { tier: 'front' } },
      spec: { containers: [], nodeName: 'n1', serviceAccountName: 'web' },
      status: { podIP: '10.0.0.5', podIPs: [{ ip: '10.0.0.5' }, { ip: 'fd00::5' }], hostIP: '192.0.2.1' },
    };
    const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
    const limit = (name: string, resource: string, divisor?: string) => ({
      name,
      valueFrom: { resourceFieldRef: { resource, ...(divisor === undefined ? {} : { divisor }) } },
    });
    const container: V1Container = {
      name: 'main',
      resources: { limits: { cpu: '1500m', memory: '64Mi' }, requests: { cpu: '300m' } },
      env: [
        field('POD', 'metadata.name'),
        field('IPS', 'status.podIPs'),
        field('TIER', "metadata.labels['tier']"),
        field('NONE', "metadata.annotations['none']"),
        { name: 'URL', value: 'http://$(POD)/$(PLAIN)' },
        { name: 'AGAIN', value: '$(URL)!' },
        { name: 'PLAIN_TEXT', value: '$(OTHER)' },
        limit('CPUS', 'limits.cpu'),
        limit('MILLICORES', 'requests.cpu', '1m'),
        limit('MIB', 'limits.memory', '1Mi'),
        limit('REQUESTED', 'requests.memory', '1'),
        limit('DISK', 'limits.ephemeral-storage'),
      ],
    };
    const resolved = { POD: 'bowline-x', PLAIN: 'p', PLAIN_TEXT: 'kept', DISK: '9', CPUS: '9' };
    const { variables, unknown } = withOriginalFields(resolved, container, pod);
    assert.deepEqual(variables, {
      HOSTNAME: 'web-7f-x',
      POD: 'web-7f-x',
      IPS: '10.0.0.5,fd00::5',
      TIER: 'front',
      NONE: '',
      URL: 'http://web-7f-x/p',
      AGAIN: 'http://web-7f-x/p!',
      PLAIN: 'p',
      PLAIN_TEXT: 'kept',
      CPUS: '2',
      MILLICORES: '300',
      MIB: '64',
      REQUESTED: '67108864',
    });
    assert.deepEqual(unknown, ['DISK']);
  });

  void test('$(NAME) as kubelet has it: in the order of the spec, the last entry of a name wins', () => {
    const pod: V1Pod = { metadata: { name: 'web-7f-x' } };
    const literal = (name: string, value: string) => ({ name, value });
    const field = { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } };
    const ofNode = { name: 'DISK', valueFrom: { resourceFieldRef: { resource: 'limits.ephemeral-storage' } } };
    const of = (env: V1Container['env'] & {}, resolved: Record<string, string> = {}) =>
      withOriginalFields(resolved, { name: 'main', env }, pod);
    assert.deepEqual(
      of(
        [
          literal('EARLY', '$(POD)'),
          field,
          literal('A', '$(POD)-$(LATE)-$(PATH)-$(HOSTNAME)-$(FROM)'),
          literal('LATE', 'x'),
          literal('B', '$(POD)-$(LATE)'),
        ],
        { EARLY: '$(POD)', POD: 'bowline-x', LATE: 'x', FROM: 'envFrom', HOSTNAME: 'bowline-x' },
      ).variables,
      {
        HOSTNAME: 'web-7f-x',
        EARLY: '$(POD)',
        POD: 'web-7f-x',
        A: 'web-7f-x-$(LATE)-$(PATH)-$(HOSTNAME)-envFrom',
        LATE: 'x',
        B: 'web-7f-x-x',
        FROM: 'envFrom',
      },
    );
    assert.deepEqual(
      of([field, literal('A', '$(POD)'), literal('POD', 'mine'), literal('B', '$(POD)'), literal('HOSTNAME', 'set')], {
        POD: 'mine',
        A: 'bowline-x',
        B: 'mine',
        HOSTNAME: 'set',
      }).variables,
      { HOSTNAME: 'set', POD: 'mine', A: 'web-7f-x', B: 'mine' },
    );
    const { variables, unknown } = of([ofNode, literal('A', '$(DISK)'), literal('DISK', '1')], { DISK: '1', A: '9' });
    assert.deepEqual([variables, unknown], [{ HOSTNAME: 'web-7f-x', DISK: '1' }, ['A']]);
    // The agent has it under another name, and could not resolve what refers to it.
    assert.deepEqual(
      of([literal('NODE_OPTIONS', '-x'), literal('A', '$(NODE_OPTIONS)')], { NODE_OPTIONS: '-x', A: '$(NODE_OPTIONS)' })
        .variables,
      { HOSTNAME: 'web-7f-x', NODE_OPTIONS: '-x', A: '-x' },
    );
  });

  void test('quantities', () => {
    for (const [text, number] of [
      ['250m', 0.25],
      ['64Mi', 2 ** 26],
      ['1e3', 1000],
      ['1.5G', 1.5e9],
      ['2', 2],
      ['.5k', 500],
    ] as const)
      assert.equal(bytesOrCores(text), number, text);
    assert.ok(Number.isNaN(bytesOrCores('a lot')));
    assert.ok(Number.isNaN(bytesOrCores('5i')));
  });
});

void suite('the time zone of a container', () => {
  const file = (footer: string): Buffer => Buffer.from(`TZif2${'\0'.repeat(39)}body\n${footer}\n`);

  void test('by the link, else by the rule at the end of the file, else UTC', () => {
    assert.equal(zoneOf('/usr/share/zoneinfo/Europe/Berlin\n', undefined), 'Europe/Berlin');
    assert.equal(zoneOf('/usr/share/zoneinfo/Etc/GMT+5\n', undefined), 'Etc/GMT+5');
    assert.equal(zoneOf('/etc/localtime\n', file('CET-1CEST,M3.5.0,M10.5.0/3')), 'CET-1CEST,M3.5.0,M10.5.0/3');
    assert.equal(zoneOf('/etc/localtime\n', file('UTC0')), 'UTC');
    assert.equal(zoneOf(undefined, undefined), 'UTC');
    assert.equal(zoneOf(undefined, Buffer.from('not a zone\n')), 'UTC');
  });

  void test('one zone under two names', () => {
    assert.ok(isSameZone('Etc/UTC', 'UTC'));
    assert.ok(!isSameZone('UTC', 'Europe/Berlin'));
    assert.ok(!isSameZone('CET-1CEST,M3.5.0,M10.5.0/3', 'UTC'));
  });
});
