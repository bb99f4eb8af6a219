/** What is refused, on a real cluster: with a code, the cause and a next step, and nothing left behind. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before as beforeAll, suite, test } from 'node:test';
import type { ConnectInput } from '../../api/schema.ts';
import type { TestNamespace } from '../cluster/namespace.ts';
import { login } from './login.ts';
import {
  assertAsBefore,
  assertNoSession,
  before,
  container,
  deploy,
  fails,
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

const deployWeb = (spec: object = podSpec([container(daemon.test)])): Promise<TestNamespace> =>
  deploy(daemon, {
    objects: [workload('Deployment', 'web', spec), service('web', 'web', web)],
    ready: ['deploy/web'],
    urls: [],
  });

void suite('bad input', { concurrency: 4, timeout: 175_000 }, () => {
  void test('what does not exist: nearest names are offered, nothing is touched', async () => {
    await using namespace = await deployWeb();
    const was = await before(namespace);
    const connect = (request: Partial<ConnectInput>): Promise<unknown> =>
      daemon.connect({ namespace: namespace.name, ...request });
    await fails(connect({ context: 'nowhere' }), 'CONTEXT_NOT_FOUND', /nowhere/);
    await fails(connect({ kubeconfig: '/nonexistent/config' }), 'KUBECONFIG_NOT_FOUND', /nonexistent/);
    const near = namespace.name.slice(0, -1);
    await fails(
      connect({ namespace: near }),
      'NAMESPACE_NOT_FOUND',
      new RegExp(near),
      new RegExp(`Did you mean.+${namespace.name}`),
    );
    await fails(
      connect({ target: 'deploy/wep' }),
      'WORKLOAD_NOT_FOUND',
      /Deployment "wep" in namespace/,
      /Did you mean deploy\/web/,
    );
    await fails(connect({ target: 'wep' }), 'WORKLOAD_NOT_FOUND', /"wep"/, /Did you mean web/);
    await fails(connect({ target: 'sts/web' }), 'WORKLOAD_NOT_FOUND', /StatefulSet "web"/, /no workloads|deploy\/web/);
    await fails(connect({ target: 'svc/wep' }), 'WORKLOAD_NOT_FOUND', /Service "wep"/, /Did you mean svc\/web/);
    await fails(connect({ target: 'deployy/web' }), 'BAD_TARGET', /"deployy"/, /Did you mean deploy/);
    await fails(connect({ target: 'a/b/c' }), 'BAD_TARGET', /not a target/, /KIND\/NAME/);
    await fails(
      connect({ target: 'deploy/web', container: 'mein' }),
      'CONTAINER_NOT_FOUND',
      /no container "mein"/,
      /Did you mean main/,
    );
    const port = { local: 3000, remote: 9999 };
    await fails(connect({ target: 'deploy/web', ports: [port] }), 'PORT_NOT_FOUND', /no TCP port 9999/, /8080 = http/);
    const twice = [
      { local: 3000, remote: 8080 },
      { local: 3001, remote: 'http' },
    ];
    await fails(connect({ target: 'deploy/web', ports: twice }), 'BAD_ARGUMENT', /8080.+twice/);
    await fails(connect({ ports: [port] }), 'BAD_ARGUMENT', /need a TARGET/, /bowline connect deploy/);
    await fails(
      connect({ target: 'deploy/web', names: 'hosts' }),
      'HELPER_MISSING',
      /helper/,
      /bowline helper install/,
    );
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('missing rights: all are listed at once, before anything is touched', async () => {
    await using namespace = await deployWeb();
    await using folder = await stateFolder();
    const rules = [
      { apiGroups: [''], resources: ['pods', 'services'], verbs: ['get', 'list', 'watch'] },
      { apiGroups: ['apps'], resources: ['deployments'], verbs: ['get', 'list'] },
    ];
    const kubeconfig = await login(namespace, { user: 'weak', rules, folder: folder.path });
    const token = /"token":"([^"]+)"/.exec(await readFile(kubeconfig, 'utf8'))?.[1] ?? assert.fail('no token');
    const was = await before(namespace);
    const error = await fails(
      daemon.connect({ namespace: namespace.name, target: 'deploy/web', kubeconfig }),
      'RIGHTS_MISSING',
      /create, get, list, watch, patch, delete leases.coordination.k8s.io; create, get, list, patch, delete configmaps/,
      /role "edit"/,
    );
    for (const each of [
      /secrets/,
      /replicasets.apps/,
      /create, delete, patch services/,
      /endpointslices.discovery.k8s.io/,
      /pods\/proxy/,
      /pods\/portforward/,
    ])
      assert.match(error.message, each);
    assert.doesNotMatch(error.message, /deployments/);
    assert.doesNotMatch(error.message, new RegExp(token.slice(-20)));
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
    // The built-in role is enough but for a keeper, and says so by working.
    await namespace.kubectl([
      'create',
      'rolebinding',
      'edit',
      '--clusterrole=edit',
      `--serviceaccount=${namespace.name}:weak`,
    ]);
    await namespace.kubectl(['delete', 'rolebinding', 'weak']);
    const connection = await daemon.connect({
      namespace: namespace.name,
      target: 'deploy/web',
      kubeconfig,
      stopOriginal: true,
      withoutKeeper: true,
    });
    await daemon.disconnect(connection.name);
    await assertNoSession(namespace);
  });

  void test('an image that cannot be pulled, and one that cannot run the agent', async () => {
    await using namespace = await deployWeb();
    const was = await before(namespace);
    const request = { namespace: namespace.name, target: 'deploy/web' };
    const { message } = await fails(
      daemon.connect({ ...request, agentImage: 'bowline.test/none:1' }),
      'AGENT_IMAGE_PULL',
      /bowline\.test\/none:1 cannot be pulled: .*(ErrImagePull|ImagePullBackOff).*/,
      /--agent-image/,
    );
    const causes = message.match(/failed to resolve reference/g) ?? [];
    assert.equal(causes.length, 1, message);
    await assertNoSession(namespace);
    await fails(
      daemon.connect({ ...request, agentImage: 'bowline.test/redis:7' }),
      'AGENT_FAILED',
      /does not start: .*node.*not found/,
      /Node 24/,
    );
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });

  void test('a quota, Pod Security or the scheduler refuses the agent: in its own words', async () => {
    await using namespace = await deployWeb();
    const limitTo = async (hard: Record<string, string>): Promise<void> => {
      await namespace.apply([{ apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'small' }, spec: { hard } }]);
      await namespace.waitFor('the quota to count', async () => {
        const { status } = await namespace.get<{ status?: { used?: Record<string, string> } }>(
          'resourcequota',
          'small',
        );
        return Object.entries(hard).every(([what, most]) => status?.used?.[what] === most);
      });
    };
    await limitTo({ pods: '2' });
    const request = { namespace: namespace.name, target: 'deploy/web' };
    const was = await before(namespace);
    await fails(daemon.connect(request), 'AGENT_REFUSED', /exceeded quota: small/, /administrator/);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
    await namespace.kubectl(['delete', 'resourcequota', 'small']);
    await limitTo({ services: '1' });
    await fails(daemon.connect(request), 'NOT_ADMITTED', /create service.*exceeded quota: small/, /quota/);
    await assertNoSession(namespace);
    await namespace.kubectl(['delete', 'resourcequota', 'small']);

    // Tightened after the workload was admitted: its pods run on, a new one would not.
    await daemon.test.kubectl(['label', 'namespace', namespace.name, 'pod-security.kubernetes.io/enforce=restricted']);
    await fails(daemon.connect(request), 'AGENT_REFUSED', /violates PodSecurity "restricted/, /administrator/);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was, { names: /^ResourceQuota\/small$/ });
    await daemon.test.kubectl(['label', 'namespace', namespace.name, 'pod-security.kubernetes.io/enforce-']);

    // The same with a node that no longer fits.
    await namespace.kubectl([
      'patch',
      'deployment',
      'web',
      '--type=json',
      '-p',
      JSON.stringify([
        { op: 'add', path: '/spec/strategy', value: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0 } } },
        { op: 'add', path: '/spec/template/spec/nodeSelector', value: { disk: 'none-has-it' } },
      ]),
    ]);
    await fails(
      daemon.connect({ ...request, timeoutSeconds: 4 }),
      'AGENT_UNSCHEDULABLE',
      /did not run within 4 s; it waits for a node \(.*node affinity\/selector/,
      /--timeout/,
    );
    await assertNoSession(namespace);
  });

  void test('a workload with zero replicas, unless its place is taken; a Service without pods; one that leads nowhere', async () => {
    await using namespace = await deployWeb();
    await namespace.apply([
      service('nobody', 'nobody', web),
      { apiVersion: 'v1', kind: 'Service', metadata: { name: 'bare' }, spec: { ports: [{ port: 80 }] } },
    ]);
    const connect = (target: string, more: Partial<ConnectInput> = {}) =>
      daemon.connect({ namespace: namespace.name, target, ...more });
    await fails(connect('svc/nobody'), 'WORKLOAD_HAS_NO_PODS', /selects no pod/, /scale it up/);
    await fails(connect('svc/bare'), 'WORKLOAD_UNSUPPORTED', /no selector/, /deploy\/NAME/);
    await namespace.kubectl(['scale', 'deploy/web', '--replicas=0']);
    await namespace.kubectl(['wait', 'pod', '-l', 'app=web', '--for=delete', '--timeout=60s'], { timeout: 65_000 });
    const was = await before(namespace);
    await fails(connect('deploy/web'), 'WORKLOAD_HAS_NO_PODS', /0 replicas/, /kubectl scale deploy\/web --replicas=1/);
    await assertNoSession(namespace);
    const instead = await connect('deploy/web', { stopOriginal: true });
    await daemon.disconnect(instead.name);
    await assertNoSession(namespace);
    await assertAsBefore(namespace, was);
  });
});
