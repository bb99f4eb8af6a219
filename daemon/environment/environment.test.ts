import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { NamedService } from '../../api/schema.ts';
import { environmentOf, type EnvironmentInput } from './environment.ts';
import { serviceVariables } from './service-variables.ts';

const address = '127.66.0.5';
const stats: NamedService = {
  namespace: 'shop',
  service: 'stats-api',
  names: [],
  address,
  ports: [
    { port: 80, local: 10_080, name: 'http' },
    { port: 81, local: 81, name: 'admin-x' },
    { port: 53, name: 'dns', problem: 'UDP is not carried.' },
  ],
};

void suite('variables of services', () => {
  void test('as kubelet names them, with ports that answer on this machine', () => {
    assert.deepEqual(serviceVariables([stats], 'shop'), {
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

  void test('of the own namespace and kubernetes of default; none of what is not carried', () => {
    const named = (namespace: string, service: string): NamedService => ({ ...stats, namespace, service });
    const hosts = Object.keys(
      serviceVariables([named('other', 'x'), named('default', 'kubernetes'), named('default', 'y')], 'shop'),
    );
    assert.deepEqual(
      hosts.filter((name) => name.endsWith('_HOST')),
      ['KUBERNETES_SERVICE_HOST'],
    );
    const { address: _address, ...unreachable } = stats;
    assert.deepEqual(serviceVariables([unreachable], 'shop'), {});
  });
});

void suite('the environment of a program', () => {
  const input: EnvironmentInput = {
    redirected: true,
    facts: { uid: 0, gid: 0, source: 'process', variables: { A: '1', STATS_API_SERVICE_HOST: '10.96.0.9' } },
    fromAgent: async () => undefined,
    services: [stats],
    namespace: 'shop',
    mode: 'hosts',
  };

  void test("generated service variables win over the container's own, and that is said", async () => {
    const { variables, source, notes } = await environmentOf(input);
    assert.deepEqual([variables['A'], variables['STATS_API_SERVICE_HOST'], source], ['1', address, 'process']);
    assert.match(notes.join(), /1 service variables point at addresses of this machine/);
  });

  void test("without a process that can be read, what kubelet gave the agent: under the right names, without the agent's own", async () => {
    const agents = {
      A: '1',
      NODE_OPTIONS: '',
      BOWLINE_ORIGINAL_NODE_OPTIONS: '--inspect',
      NODE_PATH: '',
      HOSTNAME: 'bowline-x',
    };
    const { variables, source, notes } = await environmentOf({
      ...input,
      facts: undefined,
      services: [],
      fromAgent: async () => agents,
    });
    assert.deepEqual([variables, source], [{ A: '1', NODE_OPTIONS: '--inspect' }, 'spec']);
    assert.match(notes.join(), /image or by its entrypoint are missing/);
  });

  void test('names only: those of the services alone', async () => {
    const { variables, source } = await environmentOf({ ...input, redirected: false, facts: undefined });
    assert.deepEqual([variables['A'], variables['STATS_API_SERVICE_HOST'], source], [undefined, address, 'none']);
  });
});
