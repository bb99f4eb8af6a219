/** What a keeper's own pod gives away and may do, and what Leases that lie to it come to, on the real cluster. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { V1Pod } from '@kubernetes/client-node';
import { leaseObject } from '../../daemon/redirect/lease.ts';
import { keeperLabel, keeperName } from '../../daemon/redirect/objects.ts';
import type { TestNamespace } from '../cluster/namespace.ts';
import {
  container,
  deploy,
  podSpec,
  service,
  startDaemon,
  testCluster,
  workload,
  type TestDaemon,
} from '../e2e/redirect-testbed.ts';

const never = new AbortController().signal;

void suite('a keeper, attacked', { timeout: 240_000 }, () => {
  let daemon: TestDaemon;
  let namespace: TestNamespace;
  let pod: V1Pod;

  before(async () => {
    daemon = await startDaemon(await testCluster());
    namespace = await deploy(daemon, {
      objects: [
        workload('Deployment', 'web', podSpec([container(daemon.test)])),
        service('web', 'web', [{ port: 80, targetPort: 'http' }]),
      ],
      ready: ['deploy/web'],
      urls: ['web'],
    });
    await daemon.connect({ namespace: namespace.name, target: 'deploy/web' });
    const seen = async (): Promise<V1Pod | undefined> => {
      if (daemon.manager.list()[0]?.keeper === undefined) return undefined;
      return (await namespace.get<{ items: V1Pod[] }>('pods', '-l', keeperLabel)).items[0];
    };
    pod = await namespace.waitFor('a keeper that watches', seen, { timeout: 60_000 });
  });
  after(async () => {
    await daemon?.[Symbol.asyncDispose]();
    await namespace?.[Symbol.asyncDispose]();
  });

  /** What a script prints in the keeper's container, as JSON. */
  async function inPod<T>(script: string): Promise<T> {
    const name = { namespace: namespace.name, name: pod.metadata?.name ?? '', container: 'keeper' };
    const { exitCode, stdout, stderr } = await daemon.cluster.exec(name, ['node', '-e', script]);
    assert.equal(exitCode, 0, stderr);
    return JSON.parse(stdout.toString()) as T;
  }

  void test('it listens on nothing: no pod of the cluster has anything to speak to', async () => {
    const sockets = await inPod<Record<string, string[]>>(`
      const { readFileSync } = require('fs');
      const rows = (name) => readFileSync('/proc/net/' + name, 'utf8').trim().split('\\n').slice(1).map((row) => row.trim().split(/\\s+/));
      const listening = (name) => rows(name).filter((row) => row[3] === '0A').map((row) => row[1]);
      const all = (name) => rows(name).map((row) => row[1]);
      console.log(JSON.stringify({ tcp: listening('tcp'), tcp6: listening('tcp6'), udp: all('udp'), udp6: all('udp6'), raw: all('raw') }));
    `);
    assert.deepEqual(sockets, { tcp: [], tcp6: [], udp: [], udp6: [], raw: [] });
    const { containers = [] } = pod.spec ?? {};
    assert.deepEqual([containers.length, containers[0]?.ports], [1, undefined]);
  });

  void test('its environment has its scope and its namespace, and else only what the kubelet and the image give', async () => {
    const environment = await inPod<Record<string, string>>('console.log(JSON.stringify(process.env))');
    const given = /^(KUBERNETES_(SERVICE|PORT)|NODE_VERSION$|YARN_VERSION$|HOSTNAME$|HOME$|PATH$)/;
    const own = Object.entries(environment).filter(([name]) => !given.test(name));
    assert.deepEqual(Object.fromEntries(own), {
      BOWLINE_KEEPER_SCOPE: 'namespace',
      BOWLINE_KEEPER_NAMESPACE: namespace.name,
    });
  });

  void test('it is an ordinary user with limits, without a capability, and can write to no file of its pod', async () => {
    const { limits = {} } = pod.spec?.containers[0]?.resources ?? {};
    assert.ok(limits['cpu'] !== undefined && limits['memory'] !== undefined);
    const { hostNetwork, hostPID, hostIPC, volumes = [] } = pod.spec ?? {};
    assert.deepEqual([hostNetwork, hostPID, hostIPC], [undefined, undefined, undefined]);
    assert.ok(volumes.every(({ configMap, projected }) => configMap !== undefined || projected !== undefined));
    assert.equal(volumes.length, 2, 'its code, and its own token');
    const is = await inPod<{ uid: number; status: string; refused: string[] }>(`
      const { readFileSync, writeFileSync } = require('fs');
      const refusal = (path) => { try { writeFileSync(path, 'x'); return 'written'; } catch (error) { return error.code; } };
      const refused = ['/x', '/tmp/x', '/bowline/keeper/keeper.mjs', '/var/run/secrets/kubernetes.io/serviceaccount/token'].map(refusal);
      console.log(JSON.stringify({ uid: process.getuid(), status: readFileSync('/proc/1/status', 'utf8'), refused }));
    `);
    assert.notEqual(is.uid, 0);
    assert.match(is.status, /^CapEff:\s+0+$/m);
    assert.match(is.status, /^CapBnd:\s+0+$/m);
    assert.match(is.status, /^NoNewPrivs:\s+1$/m);
    assert.match(is.status, /^Seccomp:\s+2$/m);
    assert.deepEqual(is.refused, ['EROFS', 'EROFS', 'EROFS', 'EROFS']);
  });

  void test('whoever has its token reads no Secret, runs nothing in a pod, gives no rights, and sees no other namespace', async () => {
    const tries: Array<[method: string, path: string]> = [
      ['GET', `/api/v1/namespaces/${namespace.name}/secrets`],
      ['GET', `/api/v1/namespaces/${namespace.name}/secrets/x`],
      ['POST', `/api/v1/namespaces/${namespace.name}/pods/${pod.metadata?.name}/exec?command=sh`],
      ['GET', `/api/v1/namespaces/${namespace.name}/pods/${pod.metadata?.name}/proxy/`],
      ['POST', `/api/v1/namespaces/${namespace.name}/serviceaccounts/default/token`],
      ['POST', `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace.name}/rolebindings`],
      ['POST', `/apis/apps/v1/namespaces/${namespace.name}/deployments`],
      ['DELETE', `/api/v1/namespaces/${namespace.name}/pods/${pod.metadata?.name}`],
      ['DELETE', `/api/v1/namespaces/${namespace.name}/services/web`],
      ['GET', '/api/v1/namespaces/default/configmaps'],
      ['GET', '/apis/coordination.k8s.io/v1/leases'],
      ['GET', '/api/v1/nodes'],
    ];
    const answers = await inPod<number[]>(`
      const { readFileSync } = require('fs');
      const folder = '/var/run/secrets/kubernetes.io/serviceaccount/';
      const [token, ca] = ['token', 'ca.crt'].map((name) => readFileSync(folder + name, 'utf8'));
      const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env;
      const ask = ([method, path]) => new Promise((resolve, reject) => {
        const headers = { authorization: 'Bearer ' + token, 'content-type': 'application/json' };
        const request = require('https').request({ host, port, ca, method, path, headers }, (response) => {
          response.resume();
          resolve(response.statusCode);
        });
        request.on('error', reject);
        request.end(method === 'POST' ? '{}' : undefined);
      });
      (async () => {
        const allowed = await ask(['GET', '/apis/coordination.k8s.io/v1/namespaces/${namespace.name}/leases']);
        console.log(JSON.stringify([allowed, ...(await Promise.all(${JSON.stringify(tries)}.map(ask)))]));
      })();
    `);
    assert.deepEqual(answers, [200, ...tries.map(() => 403)]);
  });

  void test('Leases that lie, of sessions that never were, change nothing, and it goes on watching', async () => {
    const selector = async (): Promise<string> => namespace.kubectl(['get', 'service/web', '-o', 'jsonpath={.spec}']);
    const redirected = await selector();
    const record = { session: 'liar', user: 'x', host: 'y', version: '0', since: new Date(0).toISOString() };
    const lease = leaseObject(namespace.name, 'liar', record, 1);
    const lies: Array<[name: string, record: string]> = [
      ['no-json', '{{{'],
      ['another-shape', '[1, 2]'],
      ['deep', '['.repeat(50_000)],
      [
        'no-such-workload',
        JSON.stringify({ ...record, workload: { kind: 'Deployment', name: 'none' }, stopped: { replicas: 9 } }),
      ],
      [
        'a-path',
        JSON.stringify({
          ...record,
          workload: { kind: 'Deployment', name: '../../secrets' },
          stopped: { replicas: 9 },
        }),
      ],
      [
        'no-such-kind',
        JSON.stringify({ ...record, workload: { kind: '../secrets', name: '../x' }, stopped: { replicas: 9 } }),
      ],
      [
        'runs-already',
        JSON.stringify({ ...record, workload: { kind: 'Deployment', name: 'web' }, stopped: { replicas: 9 } }),
      ],
    ];
    await namespace.apply(
      lies.map(([name, text]) => ({
        ...lease,
        metadata: {
          name,
          labels: { ...lease.metadata?.labels, 'bowline.dev/session': name },
          annotations: { 'bowline.dev/record': text },
        },
        spec: { ...lease.spec, holderIdentity: keeperName },
      })),
    );
    const left = async (): Promise<string[]> => {
      const names = lies.map(([name]) => name);
      const found = await namespace.kubectl(['get', 'leases', ...names, '--ignore-not-found', '-o', 'name']);
      return found.split('\n').filter(Boolean).sort();
    };
    // What it does not understand may be of a later Bowline: it says so again and again, and forgets nothing.
    const kept = ['lease.coordination.k8s.io/a-path', 'lease.coordination.k8s.io/no-such-kind'];
    await namespace.waitFor('the end of the others', async () => isDeepStrictEqual(await left(), kept), {
      timeout: 60_000,
    });
    assert.equal(await selector(), redirected);
    assert.equal(await namespace.kubectl(['get', 'deploy/web', '-o', 'jsonpath={.spec.replicas}']), '1');
    const { kubeconfig } = daemon.test;
    const status = await daemon.manager.keeperStatus({ kubeconfig, namespace: namespace.name }, never);
    assert.equal(status.keeper, 'namespace');
    const now = await namespace.get<V1Pod>(`pod/${pod.metadata?.name}`);
    assert.equal(now.status?.containerStatuses?.[0]?.restartCount, 0);
  });
});
