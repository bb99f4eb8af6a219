/** What the doctor finds on a real cluster, before anything is connected: each mark and obstacle is put there first. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before as beforeAll, suite, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { V1DaemonSet } from '@kubernetes/client-node';
import type { DoctorCheck } from '../../api/schema.ts';
import { openCluster } from '../../daemon/cluster/open.ts';
import { daemonSets } from '../../daemon/cluster/resources.ts';
import { clusterProbe } from '../../daemon/doctor/cluster.ts';
import type { ConnectionsOptions } from '../../daemon/connections/start.ts';
import { objectLister } from '../../daemon/doctor/objects.ts';
import { claimsOfPlan } from '../../daemon/doctor/quotas.ts';
import { bytesOrCores } from '../../daemon/environment/quantity.ts';
import { silentLog } from '../../daemon/log.ts';
import type { TestNamespace } from '../cluster/namespace.ts';
import { login, rulesOf } from './login.ts';
import {
  assertAsBefore,
  before,
  container,
  deploy,
  podSpec,
  service,
  startDaemon,
  startProgram,
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

const open: ConnectionsOptions['openCluster'] = (choice, signal) =>
  openCluster({ ...choice, env: process.env, home: '/nonexistent', log: silentLog }, signal);

async function examine(
  namespace: TestNamespace,
  more: object = {},
  now: () => number = Date.now,
): Promise<Map<string, DoctorCheck[]>> {
  const { kubeconfig, nodeImage } = daemon.test;
  const probe = clusterProbe({
    openCluster: open,
    manager: daemon.manager,
    env: process.env,
    home: '/nonexistent',
    uid: process.getuid?.(),
    now,
  });
  const request = { kubeconfig, namespace: namespace.name, target: 'deploy/web', agentImage: nodeImage, ...more };
  return Map.groupBy(await probe(request, never), ({ check }) => check);
}

/** To the millionth: quantities are decimal fractions. */
const exact = (amount: number): number => Math.round(amount * 1e6) / 1e6;

/** A DaemonSet of the cluster itself that runs nowhere; one that is there already stays as it is. */
async function nodeAgent(name: string): Promise<{ name: string } & AsyncDisposable> {
  const labels = { app: name };
  const containers = [{ name: 'main', image: daemon.test.nodeImage }];
  const template = { metadata: { labels }, spec: { nodeSelector: { 'bowline.test/nowhere': 'yes' }, containers } };
  const metadata = { name, namespace: 'kube-system' };
  const body: V1DaemonSet = { metadata, spec: { selector: { matchLabels: labels }, template } };
  const found = await daemon.cluster.find(daemonSets, name, 'kube-system');
  if (found === undefined) await daemon.cluster.create(daemonSets, body);
  return {
    name,
    async [Symbol.asyncDispose]() {
      if (found === undefined) await daemon.cluster.delete(daemonSets, name, 'kube-system');
    },
  };
}

const stateOf = (checks: Map<string, DoctorCheck[]>, name: string): string[] =>
  (checks.get(name) ?? []).map(({ state }) => state);
const textOf = (checks: Map<string, DoctorCheck[]>, name: string): string =>
  (checks.get(name) ?? []).map(({ message, hint }) => `${message} ${hint ?? ''}`).join('\n');

void suite('the doctor', { concurrency: 3, timeout: 300_000 }, () => {
  void test('a workload that can be redirected: every check is well, nothing is touched', async () => {
    await using namespace = await deployWeb();
    const was = await before(namespace);
    const checks = await examine(namespace);
    for (const check of ['api-server', 'route', 'credentials', 'clock', 'rights', 'rights-stop', 'pod-security'])
      assert.deepEqual(stateOf(checks, check), ['ok'], textOf(checks, check));
    for (const check of ['quota', 'mesh', 'target', 'admission', 'image', 'owner', 'autoscaler', 'local-port'])
      assert.deepEqual(stateOf(checks, check), ['ok'], `${check}: ${textOf(checks, check)}`);
    assert.match(textOf(checks, 'credentials'), /certificate that is valid until \d{4}-/);
    assert.match(textOf(checks, 'target'), /deploy\/web can be redirected: services\/web/);
    assert.match(textOf(checks, 'local-port'), /localhost:8080/);
    await assertAsBefore(namespace, was);

    const names = await examine(namespace, { target: undefined });
    assert.deepEqual(stateOf(names, 'quota'), ['ok'], textOf(names, 'quota'));

    // A clock that is wrong, and what it does to this machine's credentials.
    const ahead = await examine(namespace, { target: undefined }, () => Date.now() + 3_600_000);
    assert.deepEqual(stateOf(ahead, 'clock'), ['warning']);
    assert.match(textOf(ahead, 'clock'), /\d+ s ahead of the API server's\. .*NTP/);
    const century = 100 * 365 * 24 * 3_600_000;
    const behind = await examine(namespace, { target: undefined }, () => Date.now() - century);
    assert.match(textOf(behind, 'clock'), /\d+ s behind the API server's/);
    const late = await examine(namespace, { target: undefined }, () => Date.now() + century);
    assert.deepEqual(stateOf(late, 'credentials'), ['failure']);
    assert.match(textOf(late, 'credentials'), /a client certificate that expired at/);
  });

  void test('Argo CD, Helm and an autoscaler are told, and what carries Services', async () => {
    const tracking = { 'argocd.argoproj.io/tracking-id': 'shop:apps/Deployment:shop/web' };
    await using namespace = await deployWeb({ metadata: { name: 'web', annotations: tracking } });
    await namespace.kubectl(['annotate', 'service', 'web', 'meta.helm.sh/release-name=web']);
    const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' };
    const scaler = { metadata: { name: 'more' }, spec: { minReplicas: 1, maxReplicas: 2, scaleTargetRef } };
    await namespace.apply([{ apiVersion: 'autoscaling/v2', kind: 'HorizontalPodAutoscaler', ...scaler }]);
    await using carrier = await nodeAgent('antrea-agent');
    const checks = await examine(namespace);
    assert.deepEqual(stateOf(checks, 'owner'), ['warning', 'ok'], textOf(checks, 'owner'));
    assert.match(textOf(checks, 'owner'), /managed by Argo CD \(.*Pause its sync/);
    assert.match(textOf(checks, 'owner'), /installed by Helm \(annotation meta\.helm\.sh\/release-name: web\)/);
    assert.deepEqual(stateOf(checks, 'autoscaler'), ['warning']);
    assert.match(textOf(checks, 'autoscaler'), /HorizontalPodAutoscaler more, which counts the agent's pod too/);
    assert.ok(![...checks.keys()].includes('target-autoscaler'), 'it is told once');
    assert.deepEqual(stateOf(checks, 'services'), ['ok']);
    assert.match(textOf(checks, 'services'), new RegExp(`^Services are carried by .*${carrier.name}`));
  });

  void test('what the quota is compared with is what a connect makes', async () => {
    await using namespace = await deployWeb();
    const rbac = 'rbac.authorization.k8s.io';
    const groups = ['leases.coordination.k8s.io', 'replicasets.apps', 'deployments.apps', `roles.${rbac}`];
    const objects = [
      'pods',
      'secrets',
      ...[...groups, `rolebindings.${rbac}`, 'serviceaccounts'].map((each) => `count/${each}`),
    ];
    const compute = ['requests.cpu', 'requests.memory', 'limits.memory'];
    const hard = {
      ...Object.fromEntries([...objects, 'services', 'configmaps'].map((each) => [each, '100'])),
      ...Object.fromEntries(compute.map((each) => [each, '100Gi'])),
    };
    await namespace.apply([{ apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'wide' }, spec: { hard } }]);
    const used = async (): Promise<Record<string, number>> => {
      const { status } = await namespace.get<{ status?: { used?: Record<string, string> } }>('resourcequota', 'wide');
      const entries = Object.entries(status?.used ?? {});
      return Object.fromEntries(entries.map(([resource, amount]) => [resource, exact(bytesOrCores(amount))]));
    };
    const counted = async (): Promise<boolean> => Object.keys(await used()).length === Object.keys(hard).length;
    await namespace.waitFor('the quota to be counted', counted);
    const was = await used();
    await using program = await startProgram();
    const request = { namespace: namespace.name, target: 'deploy/web', ports: [{ local: program.port, remote: 8080 }] };
    const plan = await daemon.plan(request);
    const claims = await claimsOfPlan(daemon.cluster, namespace.name, plan, {});
    const expected = Object.fromEntries(
      Object.keys(hard).map((resource) => [
        resource,
        exact(claims.reduce((sum, { takes }) => sum + (takes[resource] ?? 0), was[resource] ?? 0)),
      ]),
    );
    const checks = await examine(namespace);
    assert.deepEqual(stateOf(checks, 'quota'), ['ok'], textOf(checks, 'quota'));
    const { name } = await daemon.connect(request);
    try {
      let seen: Record<string, number> = {};
      await namespace
        .waitFor('all to be made', async () => isDeepStrictEqual((seen = await used()), expected))
        .catch(() => assert.deepEqual(seen, expected));
      const connected = await examine(namespace);
      assert.match(textOf(connected, 'quota'), /\(wide\) have admitted what .*web made/);
      const local = new RegExp(
        `^localhost:${program.port}, which answers for the pod's port 8080, has a program of yours`,
      );
      assert.match(textOf(connected, 'local-port'), local);
    } finally {
      await daemon.disconnect(name);
    }
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
    const services = { metadata: { name: 'few' }, spec: { hard: { services: '1', 'count/deployments.apps': '1' } } };
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
    const refused = new Map((checks.get('quota') ?? []).map(({ state, message }) => [state, message]));
    assert.match(
      refused.get('failure') ?? '',
      /few .* has 1 of 1 services in use.* 1 more: services\/bowline-\w+-originals/,
    );
    assert.match(refused.get('warning') ?? '', /few .* has 1 of 1 count\/deployments\.apps .*none for a keeper/);
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

  void test('a user who may redirect and no more: what he may not see is said not to be known, and fails nothing', async () => {
    await using namespace = await deployWeb();
    await using folder = await stateFolder();
    const rules = await rulesOf('redirect.yaml');
    const kubeconfig = await login(namespace, { user: 'user', rules, folder: folder.path });
    const request = { namespace: namespace.name, target: 'deploy/web', kubeconfig };
    await namespace.waitFor('the rights to be in force', () =>
      daemon.plan(request).then(
        () => true,
        () => false,
      ),
    );
    const checks = await examine(namespace, { kubeconfig });
    for (const check of ['rights', 'target', 'owner', 'services'])
      assert.deepEqual(stateOf(checks, check), ['ok'], `${check}: ${textOf(checks, check)}`);
    for (const check of ['pod-security', 'quota', 'admission', 'image', 'autoscaler']) {
      assert.deepEqual(stateOf(checks, check), ['warning'], `${check}: ${textOf(checks, check)}`);
      assert.match(textOf(checks, check), /^You may not (look at|create)/);
    }
    assert.match(textOf(checks, 'services'), /^You may not look into namespace kube-system/);
    const failed = [...checks.values()].flat().filter(({ state }) => state === 'failure');
    assert.deepEqual(
      failed.map(({ check }) => check),
      ['rights-stop'],
    );

    const list = objectLister({ openCluster: open, manager: daemon.manager });
    const { unreadable } = await list({ kubeconfig, namespace: namespace.name }, never);
    assert.deepEqual(unreadable.map(({ kind }) => kind).sort(), [
      'Deployment',
      'Role',
      'RoleBinding',
      'Secret',
      'ServiceAccount',
    ]);
    assert.ok(unreadable.every(({ why }) => why.length > 0));
  });
});
