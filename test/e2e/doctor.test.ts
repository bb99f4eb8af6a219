/** What the doctor finds on a real cluster, before anything is connected: each mark and obstacle is put there first. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before as beforeAll, suite, test } from 'node:test';
import type { DoctorCheck } from '../../api/schema.ts';
import { openCluster } from '../../daemon/cluster/open.ts';
import { clusterProbe } from '../../daemon/doctor/cluster.ts';
import { silentLog } from '../../daemon/log.ts';
import type { TestNamespace } from '../cluster/namespace.ts';
import {
  assertAsBefore,
  before,
  container,
  deploy,
  podSpec,
  service,
  startDaemon,
  stateFolder,
  testCluster,
  workload,
  type TestDaemon,
} from './redirect-testbed.ts';

let daemon: TestDaemon;

beforeAll(async () => {
  daemon = await startDaemon(await testCluster());
});
after(() => daemon[Symbol.asyncDispose]());

const web = [{ name: 'http', port: 80, targetPort: 'http' }];
const never = new AbortController().signal;

const deployWeb = (more: object = {}, containers: object[] = [container(daemon.test)]): Promise<TestNamespace> =>
  deploy(daemon, {
    objects: [{ ...workload('Deployment', 'web', podSpec(containers)), ...more }, service('web', 'web', web)],
    ready: ['deploy/web'],
    urls: [],
  });

async function examine(namespace: TestNamespace, more: object = {}): Promise<Map<string, DoctorCheck[]>> {
  const { kubeconfig, nodeImage } = daemon.test;
  const probe = clusterProbe({
    openCluster: (choice, signal) =>
      openCluster({ ...choice, env: process.env, home: '/nonexistent', log: silentLog }, signal),
    manager: daemon.manager,
    env: process.env,
    home: '/nonexistent',
    uid: process.getuid?.(),
  });
  const request = { kubeconfig, namespace: namespace.name, target: 'deploy/web', agentImage: nodeImage, ...more };
  return Map.groupBy(await probe(request, never), ({ check }) => check);
}

const stateOf = (checks: Map<string, DoctorCheck[]>, name: string): string[] =>
  (checks.get(name) ?? []).map(({ state }) => state);
const textOf = (checks: Map<string, DoctorCheck[]>, name: string): string =>
  (checks.get(name) ?? []).map(({ message, hint }) => `${message} ${hint ?? ''}`).join('\n');

void suite('the doctor', { concurrency: 3, timeout: 175_000 }, () => {
  void test('a workload that can be redirected: every check is well, nothing is touched', async () => {
    await using namespace = await deployWeb();
    const was = await before(namespace);
    const checks = await examine(namespace);
    for (const check of ['api-server', 'route', 'credentials', 'clock', 'rights', 'rights-stop', 'pod-security'])
      assert.deepEqual(stateOf(checks, check), ['ok'], textOf(checks, check));
    for (const check of ['quota', 'mesh', 'target', 'admission', 'image', 'owner', 'local-port'])
      assert.deepEqual(stateOf(checks, check), ['ok'], `${check}: ${textOf(checks, check)}`);
    assert.match(textOf(checks, 'credentials'), /certificate that is valid until \d{4}-/);
    assert.match(textOf(checks, 'target'), /deploy\/web can be redirected: services\/web/);
    assert.match(textOf(checks, 'local-port'), /localhost:8080/);
    await assertAsBefore(namespace, was);
  });

  void test('what is in the way is told, each with its next step', async () => {
    const marked = {
      metadata: {
        name: 'web',
        labels: { 'kustomize.toolkit.fluxcd.io/name': 'apps' },
        annotations: { 'meta.helm.sh/release-name': 'web' },
      },
    };
    const sidecar = { name: 'istio-proxy', image: daemon.test.nodeImage, command: ['sleep', '100000'] };
    await using namespace = await deployWeb(marked, [container(daemon.test), sidecar]);
    const policy = { metadata: { name: 'closed' }, spec: { podSelector: {}, policyTypes: ['Ingress'], ingress: [{}] } };
    const services = { metadata: { name: 'few' }, spec: { hard: { services: '1' } } };
    await namespace.apply([
      { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', ...policy },
      { apiVersion: 'v1', kind: 'ResourceQuota', ...services },
    ]);
    await namespace.waitFor('the quota to be counted', async () => {
      const { status } = await namespace.get<{ status?: { used?: Record<string, string> } }>('resourcequota', 'few');
      return status?.used?.['services'] === '1';
    });
    // The workload's own pods stay; a new one is not admitted any more.
    const level = 'pod-security.kubernetes.io/enforce=restricted';
    await namespace.cluster.kubectl(['label', 'namespace', namespace.name, level]);
    const checks = await examine(namespace, { agentImage: 'registry.invalid/node:24' });
    assert.match(textOf(checks, 'pod-security'), /enforces Pod Security restricted/);
    assert.deepEqual(stateOf(checks, 'quota'), ['failure']);
    assert.match(textOf(checks, 'quota'), /few has no services left \(1 of 1\)/);
    assert.deepEqual(stateOf(checks, 'mesh'), ['warning']);
    assert.match(textOf(checks, 'mesh'), /Istio/);
    assert.match(textOf(checks, 'network-policy'), /closed/);
    assert.deepEqual(stateOf(checks, 'admission'), ['failure']);
    assert.match(textOf(checks, 'admission'), /allowPrivilegeEscalation/);
    assert.deepEqual(stateOf(checks, 'image'), ['warning']);
    assert.match(textOf(checks, 'image'), /No node reports registry\.invalid\/node:24/);
    assert.deepEqual(stateOf(checks, 'owner'), ['warning'], textOf(checks, 'owner'));
    assert.match(textOf(checks, 'owner'), /Flux/);
  });

  void test('mistakes, and a user who may do little', async () => {
    await using namespace = await deployWeb();
    assert.match(textOf(await examine(namespace, { target: 'deploy/wep' }), 'target'), /Did you mean deploy\/web/);
    const gone = await examine(namespace, { namespace: `${namespace.name}-x`, target: undefined });
    assert.deepEqual(stateOf(gone, 'namespace'), ['failure']);

    await namespace.kubectl(['create', 'serviceaccount', 'powerless']);
    const token = (await namespace.kubectl(['create', 'token', 'powerless', '--duration', '10m'])).trim();
    await using folder = await stateFolder();
    const kubeconfig = join(folder.path, 'powerless');
    const config = JSON.parse(await readFile(daemon.test.kubeconfig, 'utf8')) as { users: Array<{ user: object }> };
    config.users[0]!.user = { token };
    await writeFile(kubeconfig, JSON.stringify(config), { mode: 0o600 });
    const checks = await examine(namespace, { kubeconfig });
    assert.deepEqual(stateOf(checks, 'credentials'), ['warning'], textOf(checks, 'credentials'));
    assert.match(textOf(checks, 'credentials'), /a token that expires soon/);
    assert.deepEqual([...stateOf(checks, 'rights'), ...stateOf(checks, 'rights-stop')], ['failure', 'failure']);
    assert.match(textOf(checks, 'rights'), /leases/);
    assert.ok(![...checks.values()].flat().some(({ message }) => message.includes(token)));
  });
});
