import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { V1Service } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';
import { originalAnnotation, sessionLabel } from './objects.ts';
import { originalsSelector, routesOf, type RouteRequest } from './routes.ts';
import { serviceOf, workloadOf, type WorkloadOptions } from './testbed.ts';

const routes = (services: V1Service[], request: Partial<RouteRequest> = {}, workload: WorkloadOptions = {}) =>
  routesOf(workloadOf(workload), services, {
    ports: [],
    redirect: true,
    ifDown: 'refuse',
    stopOriginal: false,
    ...request,
  });

const names = (services: Array<{ service: V1Service }>): Array<string | undefined> =>
  services.map(({ service }) => service.metadata?.name);
const two = [
  { name: 'http', containerPort: 8080 },
  { name: 'admin', containerPort: 9090 },
];
const multi: WorkloadOptions = { containers: [{ name: 'main', ports: two }] };

void suite('routes', () => {
  void test('without --port every TCP port that a Service leads to, under its container number', () => {
    const { ports, services } = routes([serviceOf('web', [{ port: 80, targetPort: 'http' }])], {}, multi);
    assert.deepEqual(ports, [{ local: 8080, remote: 8080, services: ['web:80'] }]);
    assert.deepEqual(names(services), ['web']);
  });

  void test('REMOTE is a container port before it is a Service port, then a name of either', () => {
    const web = serviceOf('web', [{ name: 'front', port: 9090, targetPort: 'http' }]);
    const remoteOf = (remote: number | string | undefined, local = 3000): number | undefined =>
      routes([web], { ports: [remote === undefined ? { local } : { local, remote }] }, multi).ports[0]?.remote;
    assert.equal(remoteOf(8080), 8080);
    assert.equal(remoteOf(9090), 9090, 'the container has one itself');
    assert.equal(remoteOf('front'), 8080);
    assert.equal(remoteOf('admin'), 9090);
    assert.equal(remoteOf(undefined, 9090), 9090);
    const single = routes([serviceOf('web', [{ port: 80, targetPort: 'http' }])], {
      ports: [{ local: 3000, remote: 80 }],
    });
    assert.equal(single.ports[0]?.remote, 8080, 'a Service port');
    assert.equal(routes([], { ports: [{ local: 3000 }] }).ports[0]?.remote, 8080, 'the only one');
    assert.throws(
      () => remoteOf(undefined, 3000),
      (error: BowlineError) => error.code === 'PORT_NOT_FOUND',
    );
  });

  void test('without a redirect every port goes on to the originals, also where somebody else has the Service', () => {
    const original = JSON.stringify({ session: 'other', selector: { app: 'web' } });
    const taken = serviceOf('web', [{ port: 80, targetPort: 'http' }], { selector: { [sessionLabel]: 'other' } });
    taken.metadata = { ...taken.metadata, annotations: { [originalAnnotation]: original } };
    const { agentPorts, services, ports, passedOn, warnings } = routes([taken], { redirect: false }, multi);
    assert.deepEqual(
      agentPorts.map(({ port, to }) => [port, to]),
      [
        [8080, 'originals'],
        [9090, 'originals'],
      ],
    );
    assert.deepEqual([services, ports, passedOn, warnings], [[], [], [], []]);
  });

  void test('ports that were not asked for go on to the originals; UDP always; SCTP cannot', () => {
    const web = serviceOf('web', [
      { name: 'http', port: 80, targetPort: 'http' },
      { name: 'admin', port: 81, targetPort: 'admin' },
      { name: 'dns', port: 53, protocol: 'UDP' },
      { name: 'sig', port: 36412, protocol: 'SCTP' },
    ]);
    const { agentPorts, passedOn, warnings } = routes(
      [web],
      { ports: [{ local: 3000, remote: 8080 }], ifDown: 'original' },
      multi,
    );
    assert.deepEqual(agentPorts, [
      { port: 8080, protocol: 'TCP', to: 'machine', ifDown: 'original' },
      { port: 9090, protocol: 'TCP', to: 'originals', ifDown: 'original' },
      { port: 53, protocol: 'UDP', to: 'originals', ifDown: 'original' },
    ]);
    assert.deepEqual(
      passedOn.map(({ remote }) => remote),
      [9090, 53],
    );
    assert.deepEqual(
      warnings.map(({ code }) => code),
      ['SCTP_NOT_CARRIED'],
    );
  });

  void test('only Services of which something comes here are redirected', () => {
    const all = [
      serviceOf('web', [{ port: 80, targetPort: 'http' }]),
      serviceOf('admin', [{ port: 81, targetPort: 'admin' }]),
      serviceOf('other', [{ port: 80 }], { selector: { app: 'other' } }),
      serviceOf('outside', [{ port: 80 }], { type: 'ExternalName' }),
      serviceOf('none', [{ port: 80 }], { selector: {} }),
    ];
    assert.deepEqual(names(routes(all, { ports: [{ local: 3000, remote: 8080 }] }, multi).services), ['web']);
    assert.deepEqual(
      routes([], {}).warnings.map(({ code }) => code),
      ['NO_SERVICE'],
    );
    const both = [8080, 9090].map((remote) => ({ local: remote, remote }));
    assert.deepEqual(
      routes(all.slice(0, 1), { ports: both }, multi).warnings.map(({ code, message }) => [code, message.slice(0, 34)]),
      [['NO_SERVICE', 'No Service leads to port 9090 of d']],
    );
  });

  void test('another session: refused, also where its redirect hides the selector; the way to its originals is no Service of the workload', () => {
    const original = JSON.stringify({ session: 'other', selector: { app: 'web' } });
    const taken: V1Service = {
      metadata: { name: 'web', namespace: 'shop', annotations: { [originalAnnotation]: original } },
      spec: { selector: { [sessionLabel]: 'other' }, ports: [{ port: 80 }] },
    };
    assert.throws(
      () => routes([taken]),
      (error: BowlineError) => error.code === 'ALREADY_REDIRECTED',
    );
    const theirs = serviceOf('bowline-other-originals', [{ port: 8080 }]);
    theirs.metadata!.labels = { [sessionLabel]: 'other' };
    assert.deepEqual(routes([theirs]).services, []);
  });

  void test('the governing Service of several pods stays, beside another one; alone it is taken, with a warning; stopped peers need none', () => {
    const set: WorkloadOptions = { kind: 'StatefulSet', replicas: 2, serviceName: 'pods' };
    const governing = serviceOf('pods', [{ port: 8080 }], { clusterIP: 'None' });
    const normal = serviceOf('web', [{ port: 80, targetPort: 'http' }]);
    const kept = routes([governing, normal], {}, set);
    assert.deepEqual([names(kept.services), kept.warnings[0]?.code], [['web'], 'GOVERNING_SERVICE_KEPT']);
    const alone = routes([governing], {}, set);
    assert.deepEqual([names(alone.services), alone.warnings[0]?.code], [['pods'], 'GOVERNING_SERVICE_REDIRECTED']);
    assert.deepEqual(names(routes([governing, normal], { stopOriginal: true }, set).services), ['pods', 'web']);
    assert.deepEqual(names(routes([governing, normal], {}, { ...set, replicas: 1 }).services), ['pods', 'web']);
  });

  void test('the container: by name, by the port asked for, by the Services, by annotation; else the first, and said', () => {
    const containers = [
      { name: 'proxy', ports: [{ containerPort: 80 }] },
      { name: 'app', ports: [{ name: 'app', containerPort: 9000 }] },
      { name: 'extra' },
    ];
    const toProxy = serviceOf('web', [{ port: 80 }]);
    const both = serviceOf('web', [
      { name: 'a', port: 80 },
      { name: 'b', port: 81, targetPort: 'app' },
    ]);
    const chosen = (
      services: V1Service[],
      request: Partial<RouteRequest> = {},
      annotations: Record<string, string> = {},
    ) => {
      const { container, warnings } = routes(services, request, { containers, annotations });
      return [container.name, warnings.some(({ code }) => code === 'CONTAINER_CHOSEN')];
    };
    assert.deepEqual(chosen([both], { container: 'app' }), ['app', false]);
    assert.deepEqual(chosen([both], { ports: [{ local: 3000, remote: 9000 }] }), ['app', false]);
    assert.deepEqual(chosen([both], { ports: [{ local: 3000, remote: 'app' }] }), ['app', false]);
    assert.deepEqual(chosen([toProxy]), ['proxy', false]);
    assert.deepEqual(chosen([both], {}, { 'kubectl.kubernetes.io/default-container': 'app' }), ['app', true]);
    assert.deepEqual(chosen([both]), ['proxy', true]);
    assert.throws(
      () => chosen([both], { container: 'ap' }),
      (error: BowlineError) => /Did you mean app/.test(error.hint ?? ''),
    );
  });

  void test("the way to the originals: the selector that all redirected Services share, else the workload's own", () => {
    const narrow = serviceOf('narrow', [{ port: 80 }], { selector: { app: 'web', track: 'stable' } });
    const wide = serviceOf('wide', [{ port: 80 }]);
    const routed = (services: V1Service[]) => services.map((service) => ({ service, ports: [] }));
    assert.deepEqual(originalsSelector(workloadOf(), routed([narrow])), { app: 'web', track: 'stable' });
    assert.deepEqual(originalsSelector(workloadOf(), routed([narrow, wide])), { app: 'web' });
    assert.deepEqual(originalsSelector(workloadOf(), []), { app: 'web' });
  });
});
