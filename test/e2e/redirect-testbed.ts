/**
 * Connections as the daemon makes them, in this process: the real manager, cluster access, names and state files, on the
 * real cluster. Callers are programs of a pod, which go through the Service; the machine's program is a small server here.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { hostname, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { connect as connectTcp, createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { bundleAgent } from '../../agent-image/bundle.ts';
import { bundleKeeper } from '../../keeper/bundle.ts';
import { BowlineError, type ErrorCode } from '../../api/errors.ts';
import { ConnectRequest, type Connection, type ConnectInput, type Plan } from '../../api/schema.ts';
import type { Cluster } from '../../daemon/cluster/cluster.ts';
import { openCluster } from '../../daemon/cluster/open.ts';
import type { ConnectionManager, OnProgress } from '../../daemon/connections/manager.ts';
import { Session } from '../../daemon/connections/session.ts';
import { startConnections } from '../../daemon/connections/start.ts';
import { silentLog } from '../../daemon/log.ts';
import { startNames } from '../../daemon/names/manager.ts';
import { openJsonFile, openJsonFolder } from '../../daemon/state/json-files.ts';
import { VolumeRegistry, type Made } from '../../daemon/volumes/registry.ts';
import { createNamespace, type TestNamespace } from '../cluster/namespace.ts';
import { diffSnapshots, snapshot, type Snapshot } from '../cluster/snapshot.ts';
import { useCluster, type TestCluster } from '../cluster/test-cluster.ts';

const never = new AbortController().signal;

export interface TestDaemon extends AsyncDisposable {
  test: TestCluster;
  manager: ConnectionManager;
  cluster: Cluster;
  /** Connects, with `names: env` and a short drain unless the request says otherwise. */
  connect(request: Partial<ConnectInput>, signal?: AbortSignal, onStep?: (step: string) => void): Promise<Connection>;
  plan(request: Partial<ConnectInput>): Promise<Plan>;
  disconnect(name: string, onStep?: (step: string) => void): Promise<Connection>;
  /** Ends as after a kill: tunnels are cut, nothing is released, the state files stay. */
  crash(): Promise<void>;
}

export interface TestDaemonOptions {
  kubeconfig?: string;
  context?: string;
  /** State of an earlier one. */
  stateFolder?: string;
  /** False: it makes no keeper, as if it could not. */
  keeper?: boolean;
  /** Whose it is; default this process's user on this host. */
  identity?: { user: string; host: string };
}

export const testCluster = (): Promise<TestCluster> => useCluster(() => undefined);

/** State folders of this test's daemons. */
export async function stateFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'bowline-state-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Steps and warnings by their names. */
function tell(onStep: (name: string) => void): OnProgress {
  return (progress) => {
    if (progress.type !== 'volume') onStep(progress.type === 'step' ? progress.step : progress.code);
  };
}

export async function startDaemon(test: TestCluster, options: TestDaemonOptions = {}): Promise<TestDaemon> {
  await using undo = new AsyncDisposableStack();
  const folder = options.stateFolder ?? undo.use(await stateFolder()).path;
  const { kubeconfig = test.kubeconfig } = options;
  const code = await bundleAgent();
  const names = await startNames(
    {
      connectHelper: () => Promise.reject(new BowlineError('HELPER_MISSING', 'There is no helper in this test.')),
      allocationStore: { load: async () => ({}), save: async () => undefined },
      log: silentLog,
      platform: process.platform,
      uid: process.pid, // other tests run at the same time on the same loopback network
    },
    never,
  );
  undo.use(names);
  const store = await openJsonFolder(join(folder, 'sessions'), {
    version: 1,
    parse: (value) => Session.parse(value),
    log: silentLog,
  });
  const volumes = await VolumeRegistry.open(
    { folder: join(folder, 'files'), backing: 'disk' },
    await openJsonFile<Made>(join(folder, 'files.json'), { version: 1, log: silentLog }),
    silentLog,
  );
  const open = (choice: {
    kubeconfig?: string | undefined;
    context?: string | undefined;
  }): ReturnType<typeof openCluster> =>
    openCluster({ ...choice, env: process.env, home: '/nonexistent', log: silentLog }, never);
  const cluster = undo.use(await open({ kubeconfig, context: options.context }));
  // A crash cuts every socket to the API server at once, as the kernel does for a killed process.
  const opened: Array<Cluster> = [];
  const lifetime = new AbortController();
  const manager = await startConnections(
    {
      openCluster: async (choice) => {
        const made = await open(choice);
        opened.push(made);
        return made;
      },
      store,
      names,
      volumes,
      code: async () => code,
      keeperCode: () =>
        options.keeper === false ? Promise.reject(new Error('This test makes no keeper.')) : bundleKeeper(),
      defaultImage: test.nodeImage,
      identity: options.identity ?? { user: userInfo().username, host: hostname() },
      log: silentLog,
    },
    lifetime.signal,
  );
  const kept = undo.move();
  let ended: Promise<void> | undefined;
  const end = (release: boolean): Promise<void> =>
    (ended ??= (async () => {
      if (release) await manager[Symbol.asyncDispose]();
      lifetime.abort();
      await Promise.all(opened.map((each) => each.close()));
      await kept[Symbol.asyncDispose]();
    })());
  const whole = (request: Partial<ConnectInput>): ConnectRequest =>
    ConnectRequest.parse({ kubeconfig, context: options.context, names: 'env', drainSeconds: 5, ...request });
  return {
    test,
    manager,
    cluster,
    connect: (request, signal = never, onStep = () => undefined) =>
      manager.connect(whole(request), tell(onStep), signal),
    plan: (request) => manager.plan(whole(request), never),
    disconnect: (name, onStep = () => undefined) => manager.disconnect(name, tell(onStep), never),
    crash: () => end(false),
    [Symbol.asyncDispose]: () => end(true),
  };
}

export interface MachineProgram extends AsyncDisposable {
  port: number;
  /** Paths that were asked for. */
  requests: string[];
  /** Answers what was asked for under /held. */
  letGo(): void;
}

/** The developer's program: says that it is the machine; /held it answers only when it is told to. */
export async function startProgram(port = 0, { host = '127.0.0.1', name = 'machine' } = {}): Promise<MachineProgram> {
  const requests: string[] = [];
  const held = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    requests.push(request.url ?? '');
    const by = JSON.stringify({ by: name, path: request.url });
    const answer = (): unknown => response.writeHead(200, { connection: 'close' }).end(by);
    if (request.url === '/held') void held.promise.then(answer);
    else answer();
  });
  server.listen(port, host);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    letGo: held.resolve,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/**
 * Programs of the workloads: TCP on each port of PORTS, UDP on each of UDP_PORTS; all say which pod and port they are. They
 * serve on for LINGER milliseconds after SIGTERM.
 */
const workloadProgram = `
import http from 'node:http';
import dgram from 'node:dgram';
import os from 'node:os';
const servers = (process.env.PORTS ?? '8080').split(',').map((port) => http.createServer((request, response) => {
  response.end(JSON.stringify({ by: os.hostname(), port: Number(port), container: process.env.CONTAINER, path: request.url }));
}).listen(Number(port)));
for (const port of (process.env.UDP_PORTS ?? '').split(',').filter(Boolean)) {
  const socket = dgram.createSocket('udp4', (message, from) => socket.send(os.hostname() + ' ' + port, from.port, from.address)).bind(Number(port));
}
process.once('SIGTERM', () => setTimeout(() => process.exit(0), Number(process.env.LINGER ?? 500)));
`;

export const programMap = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'program' },
  data: { 'program.mjs': workloadProgram },
};

export interface ContainerOptions {
  name?: string;
  ports?: Array<{ name?: string; containerPort: number; protocol?: 'TCP' | 'UDP' }>;
  env?: object[];
  securityContext?: object;
  /** Default the Node image. */
  image?: string;
}

/** A container that runs the workload's program on its ports. */
export function container(test: TestCluster, options: ContainerOptions = {}): object {
  const { name = 'main', ports = [{ name: 'http', containerPort: 8080 }], env = [], securityContext } = options;
  const numbers = (protocol: string): string =>
    ports
      .filter((port) => (port.protocol ?? 'TCP') === protocol)
      .map((port) => port.containerPort)
      .join(',');
  return {
    name,
    image: options.image ?? test.nodeImage,
    imagePullPolicy: 'IfNotPresent',
    command: ['node', '/program/program.mjs'],
    env: [
      { name: 'PORTS', value: numbers('TCP') },
      { name: 'UDP_PORTS', value: numbers('UDP') },
      { name: 'CONTAINER', value: name },
      ...env,
    ],
    ports,
    readinessProbe: {
      tcpSocket: { port: ports.find((port) => port.protocol !== 'UDP')!.containerPort },
      periodSeconds: 1,
    },
    volumeMounts: [{ name: 'program', mountPath: '/program' }],
    ...(securityContext === undefined ? {} : { securityContext }),
  };
}

export const podSpec = (containers: object[], more: object = {}): object => ({
  containers,
  volumes: [{ name: 'program', configMap: { name: 'program' } }],
  terminationGracePeriodSeconds: 5,
  ...more,
});

export function workload(
  kind: 'Deployment' | 'StatefulSet' | 'DaemonSet' | 'ReplicaSet',
  name: string,
  spec: object,
  more: object = {},
): object {
  const labels = { app: name };
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name, labels: { 'app.kubernetes.io/instance': 'from-gitops' } },
    spec: {
      ...(kind === 'DaemonSet' ? {} : { replicas: 1 }),
      selector: { matchLabels: labels },
      template: { metadata: { labels: { ...labels, tier: 'test' } }, spec },
      ...more,
    },
  };
}

export const service = (name: string, app: string, ports: object[], more: object = {}): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name },
  spec: { selector: { app }, ports, ...more },
});

/** A pod from which to call; it stays for the whole test. */
export const callerPod = (test: TestCluster): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'caller' },
  spec: {
    terminationGracePeriodSeconds: 0,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 1000,
      runAsGroup: 1000,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    containers: [
      {
        name: 'caller',
        image: test.nodeImage,
        imagePullPolicy: 'IfNotPresent',
        command: ['sleep', '100000'],
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
      },
    ],
  },
});

export interface Answer {
  by: string;
  port?: number;
  container?: string;
  path?: string;
}

/** One request from the caller's pod, on a connection of its own. Throws with what wget says. */
export async function ask(daemon: { cluster: Cluster }, namespace: TestNamespace, url: string): Promise<Answer> {
  const pod = { namespace: namespace.name, name: 'caller', container: 'caller' };
  const result = await daemon.cluster.exec(pod, ['wget', '-q', '-O', '-', `http://${url}`]);
  if (result.exitCode !== 0) throw new Error(`wget ${url}: ${result.stderr}`);
  return JSON.parse(result.stdout.toString()) as Answer;
}

/** One datagram from the caller's pod and its answer. */
export async function askUdp(
  daemon: { cluster: Cluster },
  namespace: TestNamespace,
  host: string,
  port: number,
): Promise<string> {
  const pod = { namespace: namespace.name, name: 'caller', container: 'caller' };
  const script = `const s=require('dgram').createSocket('udp4');s.on('message',(m)=>{console.log(String(m));process.exit(0)});setInterval(()=>s.send('hello',${port},'${host}'),200);setTimeout(()=>process.exit(1),5000)`;
  const result = await daemon.cluster.exec(pod, ['node', '-e', script]);
  if (result.exitCode !== 0) throw new Error(`no datagram came back: ${result.stderr}`);
  return result.stdout.toString().trim();
}

export interface Before {
  objects: Snapshot;
  owners: Map<string, string>;
}

/** Everything of the namespace, and who owns which field of the objects that a redirect may change. */
export async function before(namespace: TestNamespace): Promise<Before> {
  await settled(namespace);
  return { objects: await snapshot(namespace.cluster, namespace.name), owners: await fieldOwners(namespace) };
}

/** As it was, byte for byte; what the cluster's own controllers still have to remove is waited for. `except` says what --stop-original makes anew. */
export async function assertAsBefore(namespace: TestNamespace, was: Before, except: Except = {}): Promise<void> {
  let difference = '';
  await namespace
    .waitFor(
      'the namespace to be as before',
      async () => {
        const now = await snapshot(namespace.cluster, namespace.name);
        difference = diffSnapshots(filtered(was.objects, except), filtered(now, except));
        return difference === '';
      },
      { timeout: 15_000, interval: 500 },
    )
    .catch(() => assert.fail(`namespace ${namespace.name} is not as before:\n${difference}`));
  assert.deepEqual(await fieldOwners(namespace), was.owners, 'owners of fields');
}

export interface Except {
  /** Objects that have other names now. */
  names?: RegExp;
  /** Objects that were made again: all but their uid is compared. */
  anew?: RegExp;
}

const filtered = (objects: Snapshot, { names, anew }: Except): Snapshot =>
  new Map(
    [...objects]
      .filter(([name]) => names?.test(name) !== true)
      .map(([name, text]) => [name, anew?.test(name) === true ? text.replace(/^  uid: .*\n/m, '') : text]),
  );

/** A controller may not have said yet what it has seen; only a namespace at rest can be compared. */
async function settled(namespace: TestNamespace): Promise<void> {
  let last = '';
  await namespace.waitFor(
    'the namespace to come to rest',
    async () => {
      const { items } = await namespace.get<{ items: Owned[] }>(
        'pods,endpointslices,deployments,replicasets,statefulsets,daemonsets',
      );
      const now = items.map(({ metadata }) => metadata.resourceVersion).join();
      const same = now === last;
      last = now;
      return same;
    },
    { interval: 700 },
  );
}

interface Owned {
  kind: string;
  metadata: {
    name: string;
    resourceVersion: string;
    managedFields?: Array<{ manager: string; operation: string; subresource?: string; fieldsV1: object }>;
  };
}

async function fieldOwners(namespace: TestNamespace): Promise<Map<string, string>> {
  const { items } = await namespace.get<{ items: Owned[] }>('services,deployments,statefulsets,daemonsets,replicasets');
  return new Map(
    items.map(({ kind, metadata }) => {
      const entries = (metadata.managedFields ?? []).filter(({ subresource }) => subresource !== 'status');
      const owners = entries.map(
        ({ manager, operation, fieldsV1 }) => `${manager} ${operation} ${JSON.stringify(sorted(fieldsV1))}`,
      );
      return [`${kind}/${metadata.name}`, owners.sort().join('\n')] as const;
    }),
  );
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}

export interface Relay extends AsyncDisposable {
  /** The administrator's kubeconfig, with this relay for a server. */
  kubeconfig: string;
  /** Nothing passes any more, and nothing is closed: as a network that swallows packets. */
  freeze(frozen: boolean): void;
  /** Every connection is closed at once and none is taken: as an API server that restarts. */
  cut(now: boolean): void;
}

/** A slow network between the machine and the API server: every packet takes `delay` milliseconds each way. */
export async function startRelay(test: TestCluster, folder: string, delay: number): Promise<Relay> {
  const config = JSON.parse(await test.kubectl(['config', 'view', '--raw', '--minify', '--flatten', '-o', 'json'])) as {
    clusters: Array<{ cluster: Record<string, string> }>;
  };
  const [{ cluster }] = config.clusters as [{ cluster: Record<string, string> }];
  const { hostname, port } = new URL(cluster['server']!);
  let frozen = false;
  let isCut = false;
  const held: Array<() => void> = [];
  const sockets = new Set<Socket>();
  const forward = (from: Socket, to: Socket): void => {
    const later = (act: () => void): void => {
      setTimeout(() => (frozen ? held.push(act) : act()), delay);
    };
    from.on('data', (chunk) => later(() => to.write(chunk)));
    from.on('end', () => later(() => to.end()));
    from.on('error', () => undefined);
    from.on('close', () => later(() => to.destroy()));
    sockets.add(from);
  };
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    if (isCut) {
      socket.on('error', () => undefined).destroy();
      return;
    }
    const upstream = connectTcp({ host: hostname, port: Number(port || 443), allowHalfOpen: true });
    forward(socket, upstream);
    forward(upstream, socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cluster['server'] = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  cluster['tls-server-name'] ??= hostname;
  const kubeconfig = join(folder, 'relayed');
  await writeFile(kubeconfig, JSON.stringify(config), { mode: 0o600 });
  return {
    kubeconfig,
    freeze(now) {
      frozen = now;
      if (!frozen) for (const act of held.splice(0)) act();
    },
    cut(now) {
      isCut = now;
      if (isCut) for (const socket of sockets) socket.destroy();
    },
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Fails with a BowlineError of that code, whose message and hint match. */
export async function fails(
  promise: Promise<unknown>,
  code: ErrorCode,
  says: RegExp,
  next: RegExp = /./,
): Promise<BowlineError> {
  const error: unknown = await promise.then(
    () => assert.fail(`did not fail with ${code}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof BowlineError, String(error));
  assert.equal(error.code, code, `${error.code}: ${error.message}`);
  assert.match(error.message, says);
  assert.match(error.hint ?? '', next);
  return error;
}

export interface Deployed {
  objects: object[];
  /** `deploy/x`, `sts/x`, `ds/x`, `rs/x` or `pod/x` that must be ready. */
  ready: string[];
  /** What must answer from the caller's pod: a fresh Service has no rule in the kernel yet. */
  urls: string[];
  labels?: Record<string, string>;
}

export async function deploy(daemon: TestDaemon, deployed: Deployed): Promise<TestNamespace> {
  const { test } = daemon;
  const namespace = await createNamespace(test, { prefix: 'redirect', labels: deployed.labels ?? {} });
  await namespace.apply([programMap, callerPod(test), ...deployed.objects]);
  const bounded = async (what: string, condition: string): Promise<unknown> =>
    namespace.kubectl(['wait', what, `--for=${condition}`, '--timeout=60s'], { timeout: 65_000 });
  for (const each of deployed.ready) {
    if (each.startsWith('pod/')) await bounded(each, 'condition=Ready');
    else if (each.startsWith('rs/')) await bounded(each, 'jsonpath={.status.readyReplicas}=1');
    else await namespace.rollout(each);
  }
  await bounded('pod/caller', 'condition=Ready');
  for (const url of deployed.urls) await namespace.waitFor(`an answer of ${url}`, () => ask(daemon, namespace, url));
  return namespace;
}

/** Nothing of any session, whatever its name; what the cluster's own controllers still have to remove is waited for. */
export async function assertNoSession(namespace: TestNamespace): Promise<void> {
  const kinds = 'pods,replicasets,services,leases,secrets,configmaps';
  let left = '';
  await namespace
    .waitFor(
      'the end of what is of a session',
      async () => {
        const { items } = await namespace.get<{ items: Owned[] }>(kinds, '-l', 'app.kubernetes.io/managed-by=bowline');
        left = items.map(({ kind, metadata }) => `${kind}/${metadata.name}`).join('\n');
        return left === '';
      },
      { timeout: 15_000 },
    )
    .catch(() => undefined);
  assert.equal(left, '');
}
