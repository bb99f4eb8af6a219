/** Access to the API server, against a real cluster: calls, watch, exec, both kinds of pipes, and what goes wrong. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { BowlineError } from '../../api/errors.ts';
import { openCluster } from '../../daemon/cluster/open.ts';
import { createPipeMemory } from '../../daemon/cluster/openpipe.ts';
import { configMaps, namespaces, pods, secrets, services } from '../../daemon/cluster/resources.ts';
import { silentLog } from '../../daemon/log.ts';
import type { Duplex } from 'node:stream';
import { useCluster } from '../cluster/test-cluster.ts';
import type { V1ConfigMap, V1Role, V1RoleBinding, V1ServiceAccount } from '@kubernetes/client-node';
import type { Cluster, WatchEvent } from '../../daemon/cluster/cluster.ts';
import type { OpenClusterOptions } from '../../daemon/cluster/open.ts';
import type { Resource } from '../../daemon/cluster/resources.ts';
import type { Log } from '../../daemon/log.ts';

const { kubeconfig, nodeImage: image } = await useCluster((line) => process.stderr.write(`${line}\n`));
const namespace = `cluster-access-${randomBytes(3).toString('hex')}`;
const port = 8080;

const serviceAccounts: Resource<V1ServiceAccount> = {
  group: '',
  version: 'v1',
  plural: 'serviceaccounts',
  kind: 'ServiceAccount',
  namespaced: true,
};
const roles: Resource<V1Role> = {
  group: 'rbac.authorization.k8s.io',
  version: 'v1',
  plural: 'roles',
  kind: 'Role',
  namespaced: true,
};
const roleBindings: Resource<V1RoleBinding> = {
  group: 'rbac.authorization.k8s.io',
  version: 'v1',
  plural: 'rolebindings',
  kind: 'RoleBinding',
  namespaced: true,
};

/** What an agent does with a pipe, as far as the way to it is concerned: 101 with early bytes, then an echo. */
const program = `
import { createServer } from 'node:http';
const server = createServer((request, response) => response.writeHead(404).end('no such path'));
server.on('upgrade', (request, socket) => {
  if (request.url.endsWith('/refused')) return socket.end('HTTP/1.1 409 Conflict\\r\\ncontent-length: 7\\r\\n\\r\\nrefused');
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nconnection: Upgrade\\r\\nupgrade: ' + request.headers.upgrade + '\\r\\n\\r\\nhello ' + request.url + ' ' + request.headers.upgrade + '\\n');
  socket.pipe(socket);
  socket.on('error', () => {});
});
server.listen(${port});
process.on('SIGTERM', () => process.exit(0));
`;

const pod = { namespace, name: 'echo', port };
const never = new AbortController().signal;

function open(options: Partial<OpenClusterOptions> = {}): Promise<Cluster & AsyncDisposable> {
  return openCluster({ kubeconfig, env: process.env, home: '/nonexistent', log: silentLog, ...options }, never);
}

async function fails(promise: Promise<unknown>): Promise<BowlineError> {
  const error: unknown = await promise.then(
    () => assert.fail('did not fail'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof BowlineError, String(error));
  return error;
}

/** What a credential plugin prints. */
function credential(token: string): string {
  return JSON.stringify({ apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status: { token } });
}

/** Follows the watch until something is there. */
async function until<T>(events: AsyncIterable<T>, wanted: (event: T) => boolean): Promise<T> {
  for await (const event of events) if (wanted(event)) return event;
  return assert.fail('the watch ended');
}

void suite('access to a real cluster', { timeout: 120_000 }, () => {
  let cluster: Cluster & AsyncDisposable;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bowline-access-'));
    cluster = await open();
    await cluster.create(namespaces, { metadata: { name: namespace } });
    await cluster.create(configMaps, { metadata: { name: 'echo', namespace }, data: { 'echo.mjs': program } });
    await cluster.create(pods, {
      metadata: { name: pod.name, namespace },
      spec: {
        terminationGracePeriodSeconds: 1,
        automountServiceAccountToken: false,
        containers: [
          {
            name: 'main',
            image,
            imagePullPolicy: 'IfNotPresent',
            command: ['node', '/code/echo.mjs'],
            env: [{ name: 'GREETING', value: 'grüezi' }],
            volumeMounts: [{ name: 'code', mountPath: '/code' }],
            readinessProbe: { tcpSocket: { port }, periodSeconds: 1 },
          },
        ],
        volumes: [{ name: 'code', configMap: { name: 'echo' } }],
      },
    });
    const signal = AbortSignal.timeout(60_000);
    await until(cluster.watch(pods, { namespace, fieldSelector: `metadata.name=${pod.name}`, signal }), (event) => {
      const seen = event.type === 'reset' ? event.objects : 'object' in event ? [event.object] : [];
      return seen.some(({ status }) =>
        status?.conditions?.some((each) => each.type === 'Ready' && each.status === 'True'),
      );
    });
  });

  after(async () => {
    await cluster.delete(namespaces, namespace);
    await cluster.close();
    await rm(folder, { recursive: true });
  });

  /** A kubeconfig for a ServiceAccount that has exactly these rules in the namespace. */
  const loginAs = async (name: string, rules: V1Role['rules']): Promise<string> => {
    await cluster.create(serviceAccounts, { metadata: { name, namespace } });
    await cluster.create(roles, { metadata: { name, namespace }, rules: rules ?? [] });
    await cluster.create(roleBindings, {
      metadata: { name, namespace },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
      subjects: [{ kind: 'ServiceAccount', name, namespace }],
    });
    await cluster.create(secrets, {
      metadata: { name, namespace, annotations: { 'kubernetes.io/service-account.name': name } },
      type: 'kubernetes.io/service-account-token',
    });
    const signal = AbortSignal.timeout(20_000);
    let data: Record<string, string> | undefined;
    await until(cluster.watch(secrets, { namespace, fieldSelector: `metadata.name=${name}`, signal }), (event) => {
      const seen = event.type === 'reset' ? event.objects : 'object' in event ? [event.object] : [];
      data = seen.find((secret) => secret.data?.['token'] !== undefined)?.data;
      return data !== undefined;
    });
    return await writeConfig(
      name,
      { token: Buffer.from(data?.['token'] ?? '', 'base64').toString() },
      data?.['ca.crt'],
    );
  };

  const writeConfig = async (
    name: string,
    user: unknown,
    ca: string | undefined,
    server = cluster.server,
  ): Promise<string> => {
    const path = join(folder, name);
    const config = {
      'current-context': name,
      clusters: [{ name, cluster: { server, 'certificate-authority-data': ca } }],
      users: [{ name, user }],
      contexts: [{ name, context: { cluster: name, user: name, namespace } }],
    };
    await writeFile(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  };

  const clusterCa = async (): Promise<string> => {
    const map = await cluster.get(configMaps, 'kube-root-ca.crt', namespace);
    return Buffer.from(map.data?.['ca.crt'] ?? '').toString('base64');
  };

  test('version, and the life of an object', async () => {
    assert.match(await cluster.version(), /^v1\.\d+/);
    assert.equal(await cluster.find(configMaps, 'life', namespace), undefined);
    const object: V1ConfigMap = { metadata: { name: 'life', namespace, labels: { life: 'yes' } }, data: { a: '1' } };
    await cluster.create(configMaps, object, { dryRun: true });
    assert.equal(await cluster.find(configMaps, 'life', namespace), undefined);
    const created = await cluster.create(configMaps, object);
    assert.equal((await cluster.get(configMaps, 'life', namespace)).metadata?.uid, created.metadata?.uid);
    assert.equal((await cluster.list(configMaps, { namespace, labelSelector: 'life=yes' })).length, 1);
    await cluster.patch(configMaps, 'life', namespace, { type: 'merge', body: { data: { b: '2' } } });
    const patched = await cluster.patch(configMaps, 'life', namespace, {
      type: 'json',
      body: [
        { op: 'test', path: '/data/b', value: '2' },
        { op: 'replace', path: '/data/b', value: '3' },
      ],
    });
    assert.deepEqual(patched.data, { a: '1', b: '3' });

    const again = await fails(cluster.create(configMaps, object));
    assert.deepEqual([again.code, again.details?.['reason']], ['CHANGED_MEANWHILE', 'AlreadyExists']);
    const stale = await fails(cluster.replace(configMaps, { metadata: created.metadata!, data: {} }));
    assert.deepEqual([stale.code, stale.details?.['reason']], ['CHANGED_MEANWHILE', 'Conflict']);
    const untrue = await fails(
      cluster.patch(configMaps, 'life', namespace, {
        type: 'json',
        body: [
          { op: 'test', path: '/data/b', value: '2' },
          { op: 'replace', path: '/data/b', value: '4' },
        ],
      }),
    );
    assert.equal(untrue.code, 'CHANGED_MEANWHILE');
    const other = await fails(cluster.delete(configMaps, 'life', namespace, { preconditions: { uid: 'another' } }));
    assert.equal(other.code, 'CHANGED_MEANWHILE');

    assert.equal(await cluster.delete(configMaps, 'life', namespace), true);
    assert.equal(await cluster.delete(configMaps, 'life', namespace), false);
    const gone = await fails(cluster.get(configMaps, 'life', namespace));
    assert.deepEqual([gone.code, gone.details?.['status']], ['API_ERROR', 404]);
    const nowhere = await fails(cluster.create(configMaps, { metadata: { name: 'x', namespace: `${namespace}-not` } }));
    assert.equal(nowhere.code, 'NAMESPACE_NOT_FOUND');
    const invalid = await fails(
      cluster.create(services, { metadata: { name: 'x', namespace }, spec: { ports: [{ port: 99_999 }] } }),
    );
    assert.deepEqual([invalid.code, invalid.details?.['status']], ['API_ERROR', 422]);
  });

  test('a watch shows what is there, then each change, and ends with its signal only', async () => {
    const abort = new AbortController();
    const seen: string[] = [];
    await cluster.create(configMaps, { metadata: { name: 'w0', namespace, labels: { w: 'yes' } } });
    const watching = (async () => {
      const events: AsyncIterable<WatchEvent<V1ConfigMap>> = cluster.watch(configMaps, {
        namespace,
        labelSelector: 'w=yes',
        signal: abort.signal,
      });
      for await (const event of events) {
        if (event.type === 'reset') {
          seen.push(`reset ${event.objects.map(({ metadata }) => metadata?.name).join(' ')}`);
          await cluster.create(configMaps, { metadata: { name: 'w1', namespace, labels: { w: 'yes' } } });
          await cluster.patch(configMaps, 'w1', namespace, { type: 'merge', body: { data: { a: '1' } } });
          await cluster.delete(configMaps, 'w1', namespace);
        } else if ('object' in event) {
          seen.push(`${event.type} ${event.object.metadata?.name}`);
          if (event.type === 'deleted') abort.abort(new Error('enough'));
        }
      }
    })();
    await assert.rejects(watching, /enough/);
    assert.deepEqual(seen, ['reset w0', 'added w1', 'modified w1', 'deleted w1']);
  });

  test('a command in a container: output, exit status, input, bounds', async () => {
    const target = { namespace, name: pod.name, container: 'main' };
    const echo = await cluster.exec(target, ['sh', '-c', 'echo "$GREETING"; echo oops >&2; exit 3']);
    assert.deepEqual([echo.stdout.toString(), echo.stderr, echo.exitCode], ['grüezi\n', 'oops\n', 3]);
    const input = randomBytes(700_000);
    const hash = await cluster.exec(target, ['sha256sum'], { stdin: input });
    assert.equal(hash.exitCode, 0);
    assert.equal(hash.stdout.toString().split(' ')[0], createHash('sha256').update(input).digest('hex'));
    const large = await cluster.exec(target, ['node', '-e', 'process.stdout.write("x".repeat(3_000_000))']);
    assert.equal(large.stdout.length, 3_000_000);
    assert.match(
      (await fails(cluster.exec(target, ['sh', '-c', 'yes'], { maxBytes: 100_000 }))).message,
      /more than 100000 bytes/,
    );
    assert.match((await fails(cluster.exec(target, ['sleep', '60'], { timeout: 500 }))).message, /0\.5 s/);
    assert.match(
      (await fails(cluster.exec(target, ['no-such-program', 's3cr3t']))).message,
      /^(?!.*s3cr3t).*no-such-program/s,
    );
    const nowhere = await fails(cluster.exec({ ...target, name: 'nowhere' }, ['true']));
    assert.deepEqual([nowhere.code, nowhere.details?.['status']], ['API_ERROR', 404]);
  });

  test('a pipe through pods/proxy', async () => {
    const memory = createPipeMemory();
    await using own = await open({ pipes: memory });
    const pipe = await own.openPipe(pod, '/session/outbound');
    assert.equal(pipe.kind, 'pods/proxy');
    await carries(pipe.stream, `/session/outbound bowline`);
    assert.equal(memory.get(`${own.context}@${new URL(own.server).host}`), 'pods/proxy');
  });

  test('without the right to pods/proxy a pipe takes port-forward, and that is remembered', async () => {
    const path = await loginAs('no-proxy', [
      { apiGroups: [''], resources: ['pods'], verbs: ['get'] },
      { apiGroups: [''], resources: ['pods/portforward'], verbs: ['get', 'create'] },
    ]);
    const failures: unknown[] = [];
    const log: Log = {
      ...silentLog,
      debug: (event, facts) => void (event === 'pipe.failed' && failures.push(facts?.['kind'])),
    };
    const pipes = createPipeMemory();
    await using own = await open({ kubeconfig: path, pipes, log });
    const first = await own.openPipe(pod, '/outbound');
    assert.equal(first.kind, 'port-forward');
    await carries(first.stream, '/outbound bowline');
    assert.deepEqual(failures, ['pods/proxy']);
    const second = await own.openPipe(pod, '/outbound');
    second.stream.destroy();
    assert.deepEqual(failures, ['pods/proxy'], 'the second time it is not tried');

    // The memory outlives the access, and the better way is tried again after a while.
    await using later = await open({ kubeconfig: path, pipes, log });
    (await later.openPipe(pod, '/outbound')).stream.destroy();
    assert.deepEqual(failures, ['pods/proxy']);
    await using muchLater = await open({ kubeconfig: path, pipes, log, proxyRetryAfter: 0 });
    (await muchLater.openPipe(pod, '/outbound')).stream.destroy();
    assert.deepEqual(failures, ['pods/proxy', 'pods/proxy']);
  });

  test('where nothing answers, a pipe says why, for both ways', async () => {
    const closed = await fails(cluster.openPipe({ ...pod, port: 9 }, '/outbound'));
    assert.equal(closed.code, 'PIPE_FAILED');
    assert.match(closed.message, /pods\/proxy: .*refused.*port-forward: .*refused/s);
    const refused = await fails(cluster.openPipe(pod, '/refused'));
    assert.equal(refused.code, 'PIPE_FAILED');
    const nowhere = await fails(cluster.openPipe({ ...pod, name: 'nowhere' }, '/outbound'));
    assert.match(nowhere.message, /pods "nowhere" not found/);
    const path = await loginAs('no-pipe', [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }]);
    await using powerless = await open({ kubeconfig: path });
    assert.match((await fails(powerless.openPipe(pod, '/outbound'))).hint ?? '', /pods\/proxy.*pods\/portforward/);
  });

  test('a port-forward is a byte stream', async () => {
    const stream = await cluster.portForward(pod);
    stream.write('GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    let text = '';
    for await (const chunk of stream) text += String(chunk);
    assert.match(text, /^HTTP\/1\.1 404 .*no such path\r\n0\r\n\r\n$/s);
  });

  test('missing rights are found before anything is done, and named when a call meets them', async () => {
    const path = await loginAs('reader', [{ apiGroups: [''], resources: ['services'], verbs: ['get', 'list'] }]);
    await using reader = await open({ kubeconfig: path });
    assert.equal(reader.defaultNamespace, namespace);
    const wanted = [
      { verb: 'get', group: '', resource: 'services', namespace },
      { verb: 'patch', group: '', resource: 'services', namespace },
      { verb: 'get', group: '', resource: 'pods', subresource: 'proxy', namespace },
      { verb: 'list', group: '', resource: 'services' },
    ];
    assert.deepEqual(await reader.missingRights(wanted), wanted.slice(1));
    assert.deepEqual(await cluster.missingRights(wanted), []);
    await reader.list(services, { namespace });
    const error = await fails(reader.list(pods, { namespace }));
    assert.equal(error.code, 'RIGHTS_MISSING');
    assert.deepEqual(error.details?.['missing'], [{ verb: 'list', group: '', resource: 'pods', namespace }]);
    // A watch does not end for it: rights may come.
    const abort = new AbortController();
    const event = await until(
      reader.watch(pods, { namespace, signal: abort.signal }),
      ({ type }) => type === 'trouble',
    );
    assert.match(event.type === 'trouble' ? event.reason : '', /cannot list resource "pods"/);
  });

  test('the configuration of a pod, and a credential plugin', async () => {
    const path = await loginAs('in-pod', [{ apiGroups: [''], resources: ['services'], verbs: ['list'] }]);
    const token = /"token":"([^"]+)"/.exec(await readFile(path, 'utf8'))?.[1] ?? '';
    const ca = await clusterCa();
    await writeFile(join(folder, 'token'), token);
    await writeFile(join(folder, 'namespace'), namespace);
    await writeFile(join(folder, 'ca.crt'), Buffer.from(ca, 'base64'));
    const { hostname, port: serverPort } = new URL(cluster.server);
    const env = { ...process.env, KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: serverPort || '443' };
    await using inPod = await open({ kubeconfig: undefined, env, serviceAccountFolder: folder });
    assert.equal(inPod.context, 'in-cluster');
    await inPod.list(services, { namespace: inPod.defaultNamespace });

    // The first token that it gives is refused; it is asked again.
    const plugin = join(folder, 'plugin.sh');
    const asked = join(folder, 'asked');
    await writeFile(
      plugin,
      `#!/bin/sh\nif test -e '${asked}'; then echo '${credential(token)}'; else touch '${asked}'; echo '${credential('stale')}'; fi\n`,
      { mode: 0o700 },
    );
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: './plugin.sh', interactiveMode: 'Never' };
    await using byPlugin = await open({ kubeconfig: await writeConfig('plugin', { exec }, ca) });
    await byPlugin.list(services, { namespace });
  });

  test('a wrong authority, a refused token, no credentials, a server that is not there', async () => {
    const ca = await clusterCa();
    const { authority } = await import('../../daemon/cluster/testing/apiserver.ts');
    const wrong = Buffer.from(authority.certificate).toString('base64');
    await using distrusting = await open({ kubeconfig: await writeConfig('wrong-ca', { token: 'x' }, wrong) });
    assert.equal((await fails(distrusting.version())).code, 'CERTIFICATE_UNKNOWN');

    const past = `e30.${Buffer.from(JSON.stringify({ exp: 1_600_000_000 })).toString('base64url')}.c2ln`;
    await using expired = await open({ kubeconfig: await writeConfig('expired', { token: past }, ca) });
    for (const error of [await fails(expired.version()), await fails(expired.openPipe(pod, '/outbound'))]) {
      assert.equal(error.code, 'CREDENTIALS_EXPIRED');
      assert.match(error.message, /expired at 2020-09-13/);
    }

    await using anonymous = await open({ kubeconfig: await writeConfig('anonymous', {}, ca) });
    assert.equal((await fails(anonymous.list(pods, { namespace }))).code, 'CREDENTIALS_FAILED');

    const server = `https://${new URL(cluster.server).hostname}:1`;
    await using unreachable = await open({
      kubeconfig: await writeConfig('unreachable', { token: 'x' }, ca, server),
    });
    const error = await fails(unreachable.version());
    assert.equal(error.code, 'API_UNREACHABLE');
    assert.match(error.message, /:1 .*ECONNREFUSED/);
  });
});

/** The greeting that came with the 101 is there, then 8 MiB go round and come back whole. */
async function carries(stream: Duplex, greeting: string): Promise<void> {
  const wanted = Buffer.from(`hello ${greeting}\n`);
  const data = randomBytes(8 * 1024 * 1024);
  let started = Buffer.alloc(0);
  while (started.length < wanted.length) {
    await once(stream, 'readable');
    const chunk: unknown = stream.read();
    if (Buffer.isBuffer(chunk)) started = Buffer.concat([started, chunk]);
  }
  assert.match(started.toString(), new RegExp(`${greeting}\n$`));
  const hash = createHash('sha256');
  let received = 0;
  stream.write(data);
  for await (const chunk of stream) {
    hash.update(chunk as Buffer);
    received += (chunk as Buffer).length;
    if (received >= data.length) break;
  }
  assert.equal(received, data.length);
  assert.equal(hash.digest('hex'), createHash('sha256').update(data).digest('hex'));
}
