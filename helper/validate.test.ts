import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressProblem, nameProblem, parseRequest, RequestError, screen, type NamePolicy } from './validate.ts';

const policy: NamePolicy = {
  foreignNames: new Set(['localhost', 'vm', 'db.office.example']),
  hostname: 'Laptop',
  allowedSuffixes: ['dev', 'svc.k8s.example.com'],
  foreignAddresses: new Set(['127.66.9.9']),
  anyPort: false,
};

const allowed = [
  'redis',
  'redis.shop',
  'redis.prod',
  'redis.default',
  'redis.shop.svc',
  'redis.com.svc',
  'redis.shop.svc.cluster.local',
  'redis.svc.cluster.local',
  'kafka-0.kafka',
  'kafka-0.kafka.shop',
  'kafka-0.kafka.shop.svc',
  'kafka-0.kafka.shop.svc.cluster.local',
  'x.shop.svc.cluster.example-internal',
  'go.dev', // allowed by this administrator
  'redis.shop.svc.k8s.example.com', // the same
  'kubernetes.default',
  '3scale.shop',
  'a'.repeat(63),
];

const refused: Array<[name: string, reason: RegExp]> = [
  ['localhost', /reserved/],
  ['wpad', /reserved/],
  ['vm', /hosts file/],
  ['db.office.example', /hosts file/],
  ['laptop', /own name/],
  ['github.com', /\.com is a public top-level domain.*use github\.com\.svc/],
  ['registry.npmjs.org', /public/],
  ['deb.debian.org', /public/],
  ['web.app', /public/],
  ['redis.qa', /public/],
  ['redis.shop.svc.example.com', /public/],
  ['www.svc.github.com', /public/],
  ['printer.local', /reserved/],
  ['x.cluster.local', /reserved/],
  ['vault.corp', /reserved/],
  ['x.localhost', /reserved/],
  ['hidden.onion', /reserved/],
  ['1', /number/],
  ['x.0x7f', /number/],
  ['127.0.0.1', /number/],
  ['a.b.c.d', /shaped/],
  ['a.b.c.d.svc.cluster.example-internal', /shaped/],
  ['', /host name/],
  ['Redis', /host name/],
  ['redis.', /host name/],
  ['.redis', /host name/],
  ['a..b', /host name/],
  ['-a', /host name/],
  ['a-', /host name/],
  ['a_b', /host name/],
  ['a b', /host name/],
  ['a\n10.0.0.1 github.com', /host name/],
  ['a\n', /host name/],
  ['a\r', /host name/],
  ['a\0', /host name/],
  ['a#', /host name/],
  ['ａ', /host name/],
  ['a'.repeat(64), /host name/],
  [`${'a'.repeat(60)}.`.repeat(5) + 'shop', /at most 253/],
];

void test('names that may be claimed', () => {
  for (const name of allowed) assert.equal(nameProblem(name, policy), undefined, name);
});

void test('names that may not, with the reason', () => {
  for (const [name, reason] of refused)
    assert.match(nameProblem(name, policy) ?? 'allowed', reason, JSON.stringify(name));
});

void test('addresses', () => {
  for (const good of ['127.66.0.1', '127.66.255.254', '127.66.10.0'])
    assert.equal(addressProblem(good), undefined, good);
  for (const bad of [
    '127.66.0.0',
    '127.66.255.255',
    '127.0.0.1',
    '127.67.0.1',
    '127.66.1',
    '127.66.01.1',
    '127.66.0.256',
    '127.66.0.1 ',
    '127.66.0.1\n',
    '::1',
    '0.0.0.0',
    '',
    '127.66.0x1.1',
  ])
    assert.match(addressProblem(bad) ?? 'allowed', /outside/, JSON.stringify(bad));
});

void test('each entry is screened by itself', () => {
  const { accepted, refused } = screen(
    {
      hosts: [
        { address: '127.66.0.1', names: ['a', 'github.com'] },
        { address: '127.66.0.2', names: ['a', 'b'] },
        { address: '8.8.8.8', names: ['c'] },
        { address: '127.66.9.9', names: ['d'] },
      ],
      lowPorts: [
        { address: '127.66.0.1', port: 80, targetPort: 10_080 },
        { address: '127.66.0.1', port: 80, targetPort: 10_081 },
        { address: '127.66.0.1', port: 1024, targetPort: 10_080 },
        { address: '127.66.0.1', port: 0, targetPort: 10_080 },
        { address: '127.66.0.1', port: 81, targetPort: 22 },
        { address: '0.0.0.0', port: 82, targetPort: 10_080 },
      ],
    },
    policy,
  );
  assert.deepEqual(accepted, {
    hosts: [
      { address: '127.66.0.1', names: ['a'] },
      { address: '127.66.0.2', names: ['b'] },
    ],
    lowPorts: [{ address: '127.66.0.1', port: 80, targetPort: 10_080 }],
  });
  assert.deepEqual(
    refused.map(({ what }) => what),
    ['github.com', 'a', 'c', 'd', '127.66.0.1:80', '127.66.0.1:1024', '127.66.0.1:0', '127.66.0.1:81', '0.0.0.0:82'],
  );
});

void test('whatever arrives is a request or a RequestError', () => {
  const values = [
    '',
    'null',
    '[]',
    '{}',
    '{"id":-1,"op":"hello","protocol":1}',
    '{"id":1,"op":"__proto__"}',
    '{"id":1,"op":"apply","desired":{"__proto__":{},"hosts":[],"lowPorts":[]}}',
    '{"id":1,"op":"apply","desired":{"hosts":{},"lowPorts":[]}}',
    '{"id":1,"op":"apply","desired":{"hosts":[{"address":"127.66.0.1","names":["a"],"x":1}],"lowPorts":[]}}',
    '{"id":1,"op":"apply","desired":{"hosts":[],"lowPorts":[{"address":"127.66.0.1","port":80.5,"targetPort":1}]}}',
    '{"id":1,"op":"release","x":1}',
  ];
  for (const value of values) assert.throws(() => parseRequest(value), RequestError, value);
  assert.deepEqual(parseRequest('{"id":3,"op":"release"}'), { id: 3, op: 'release' });
});
