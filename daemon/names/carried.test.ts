import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { V1EndpointSlice, V1Service } from '@kubernetes/client-node';
import { carriedServices, hostNames, isOurs } from './carried.ts';

const service = (spec: V1Service['spec'], labels = {}): V1Service => ({
  metadata: { name: 'db', namespace: 'shop', labels },
  ...(spec === undefined ? {} : { spec }),
});

const slice = (addressType: string, suffix: string): V1EndpointSlice => ({
  addressType,
  ports: [{ name: 'sql', port: 5433 }],
  endpoints: [
    { addresses: [`a${suffix}`], hostname: 'db-0', conditions: { ready: true }, targetRef: { uid: '0' } },
    { addresses: [`b${suffix}`], hostname: 'db-1', conditions: { ready: false }, targetRef: { uid: '1' } },
    { addresses: [`c${suffix}`], conditions: {}, targetRef: { uid: '2' } },
  ],
});

void test('a Service goes to its address in the cluster, port by port', () => {
  const [carried] = carriedServices(
    service({
      clusterIP: '10.96.0.7',
      ports: [
        { port: 80, name: 'http', targetPort: 8080 },
        { port: 53, protocol: 'UDP' },
        { port: 9, protocol: 'SCTP' },
      ],
    }),
    [],
  );
  assert.deepEqual(carried?.ports, [
    { port: 80, name: 'http', targets: [{ host: '10.96.0.7', port: 80 }] },
    { port: 53, protocol: 'UDP', targets: [], problem: 'UDP is not carried, only TCP.' },
    { port: 9, protocol: 'SCTP', targets: [], problem: 'SCTP is not carried, only TCP.' },
  ]);
  assert.equal(carried?.clusterIp, '10.96.0.7');
});

void test('an ExternalName is not carried, with the reason', () => {
  const [carried] = carriedServices(service({ type: 'ExternalName', externalName: 'db.example.com' }), []);
  assert.match(carried?.problem ?? '', /db\.example\.com/);
});

void test('a headless Service goes to ready pods, and each named pod has a name of its own', () => {
  const carried = carriedServices(
    service({
      clusterIP: 'None',
      ports: [
        { port: 5432, name: 'sql' },
        { port: 1, name: 'none' },
      ],
    }),
    [slice('IPv6', '6'), slice('IPv4', '4')],
  );
  assert.ok(carried.every(({ clusterIp }) => clusterIp === undefined));
  assert.deepEqual(
    carried.map(({ service, ports }) => [service, ports.map(({ targets }) => targets)]),
    [
      [
        'db',
        [
          [
            { host: 'a4', port: 5433 },
            { host: 'c4', port: 5433 },
          ],
          [],
        ],
      ],
      ['db-0.db', [[{ host: 'a4', port: 5433 }], []]],
    ],
  );
  assert.equal(carried[0]?.ports[1]?.problem, 'No pod of it is ready.');
});

void test('names', () => {
  const x = { namespace: 'shop', service: 'db', pod: false, ports: [] };
  const shop = { namespace: 'shop', clusterDomain: 'cluster.local' };
  const own = ['db', 'db.shop', 'db.shop.svc', 'db.shop.svc.cluster.local'];
  assert.deepEqual(hostNames(x, shop), own);
  assert.deepEqual(hostNames(x, { ...shop, withoutNamespace: ['db'] }), [...own, 'db.svc.cluster.local']);
  const elsewhere = { namespace: 'dev', clusterDomain: 'k8s.example', withoutNamespace: ['db'] };
  assert.deepEqual(hostNames(x, elsewhere), ['db.shop', 'db.shop.svc', 'db.shop.svc.k8s.example']);
  assert.deepEqual(hostNames({ ...x, service: 'db-0.db', pod: true }, { ...shop, withoutNamespace: ['db-0.db'] }), [
    'db-0.db',
    'db-0.db.shop',
    'db-0.db.shop.svc',
    'db-0.db.shop.svc.cluster.local',
  ]);
});

void test('what Bowline made is not shown', () => {
  assert.equal(isOurs(service({}, { 'app.kubernetes.io/managed-by': 'bowline' })), true);
  assert.equal(isOurs(service({}, { 'app.kubernetes.io/managed-by': 'Helm' })), false);
});
