/**
 * The volumes of a pod on the machine: each kind, as kubelet and the container have them; changes, limits, a cut in the
 * middle, and that nothing is left. A Bowline of this process (the daemon's real parts) on the real cluster.
 */
import assert from 'node:assert/strict';
import {
  chmod,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { Connection, ConnectInput, MountedVolume } from '../../api/schema.ts';
import { createNamespace, type TestNamespace } from '../cluster/namespace.ts';
import type { TestCluster } from '../cluster/test-cluster.ts';
import { findNode } from '../cluster/node.ts';
import { waitUntil } from '../cluster/wait.ts';
import { startDeveloper, type Developer } from './developer.ts';
import {
  podSpec,
  service,
  startDaemon,
  startRelay,
  stateFolder,
  testCluster,
  workload,
  type TestDaemon,
} from './redirect-testbed.ts';
import { pauseImage } from '../cluster/configuration.ts';

const token = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Fills what only a running pod has; the hostPath belongs to the node, and its claim is a volume of the same node. */
const fill = `
umask 022
mkdir -p /work/sub /host/data /claim/tree/deep
echo made > /work/made; echo inner > /work/sub/inner; printf '#!/bin/sh\\necho run' > /work/run; chmod 755 /work/run
ln -sf made /work/inside; ln -sf /etc/passwd /work/outside; ln -sf sub /work/folder; mkfifo /work/pipe
echo host > /host/data/file; ln -sf file /host/data/link; ln -sf /etc/hostname /host/data/out
echo claimed > /claim/tree/deep/file; echo one > /claim/single; echo alone > /alone/file
dd if=/dev/zero of=/big/zeros bs=1M count=8 2>/dev/null; echo small > /big/small
dd if=/dev/urandom of=/claim/random bs=1M count=24 2>/dev/null
`;

const mounts = [
  { name: 'config', mountPath: '/etc/config' },
  { name: 'config', mountPath: '/etc/again' },
  { name: 'items', mountPath: '/etc/config/nested' },
  { name: 'config', mountPath: '/etc/one.txt', subPath: 'one.txt' },
  { name: 'secret', mountPath: '/etc/secret', readOnly: true },
  { name: 'all', mountPath: '/etc/all' },
  { name: 'down', mountPath: '/etc/down' },
  { name: 'work', mountPath: '/work' },
  { name: 'work', mountPath: '/only-sub', subPath: 'sub' },
  { name: 'big', mountPath: '/big' },
  { name: 'host', mountPath: '/host' },
  { name: 'claim', mountPath: '/claim' },
  { name: 'alone', mountPath: '/alone' },
];

const volumeName = (path: string): string => path.slice(1).replaceAll('/', '-');

/** A claim of a folder of the node. */
function claimed(name: string, path: string, mode: string): object[] {
  const spec = { accessModes: [mode], storageClassName: '' };
  return [
    {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: volumeName(path) },
      spec: {
        ...spec,
        capacity: { storage: '1Gi' },
        hostPath: { path, type: 'DirectoryOrCreate' },
        persistentVolumeReclaimPolicy: 'Retain',
      },
    },
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name },
      spec: { ...spec, volumeName: volumeName(path), resources: { requests: { storage: '1Gi' } } },
    },
  ];
}

function objects(test: TestCluster, path: string): object[] {
  const image = { image: test.nodeImage, imagePullPolicy: 'IfNotPresent' };
  const data = { 'one.txt': 'one\n', 'two.txt': 'two\n' };
  return [
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'config' }, data },
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'secret' },
      stringData: { password: 'a-password', user: 'me' },
    },
    ...claimed('claim', `${path}/claim`, 'ReadWriteOnce'),
    ...claimed('alone', `${path}/alone`, 'ReadWriteOncePod'),
    workload(
      'Deployment',
      'holder',
      podSpec(
        [
          {
            name: 'main',
            ...image,
            command: ['sleep', '100000'],
            ports: [{ containerPort: 8080 }],
            volumeMounts: mounts,
          },
        ],
        {
          initContainers: [
            {
              name: 'fill',
              ...image,
              command: ['sh', '-ec', fill],
              volumeMounts: mounts.filter(
                ({ name, subPath }) =>
                  subPath === undefined && ['work', 'big', 'host', 'claim', 'alone'].includes(name),
              ),
            },
          ],
          terminationGracePeriodSeconds: 0,
          volumes: [
            { name: 'config', configMap: { name: 'config' } },
            {
              name: 'items',
              configMap: { name: 'config', items: [{ key: 'two.txt', path: 'in/folder/renamed', mode: 0o755 }] },
            },
            { name: 'secret', secret: { secretName: 'secret', defaultMode: 0o400 } },
            {
              name: 'all',
              projected: {
                sources: [
                  { secret: { name: 'secret', items: [{ key: 'user', path: 'from/user' }] } },
                  { configMap: { name: 'config', items: [{ key: 'one.txt', path: 'from/one' }] } },
                  { serviceAccountToken: { path: 'token', expirationSeconds: 600, audience: 'vault' } },
                  { downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } },
                ],
              },
            },
            {
              name: 'down',
              downwardAPI: { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] },
            },
            { name: 'work', emptyDir: {} },
            { name: 'big', emptyDir: { medium: 'Memory' } },
            { name: 'host', hostPath: { path: `${path}/host`, type: 'DirectoryOrCreate' } },
            { name: 'claim', persistentVolumeClaim: { claimName: 'claim' } },
            { name: 'alone', persistentVolumeClaim: { claimName: 'alone' } },
          ],
        },
      ),
    ),
    service('holder', 'holder', [{ port: 80, targetPort: 8080 }]),
  ];
}

/** Containers of an image that is one program; what is in their volume an init container has written. */
function withoutTar(test: TestCluster): object[] {
  const image = { image: test.nodeImage, imagePullPolicy: 'IfNotPresent' };
  const bare = { image: pauseImage, imagePullPolicy: 'IfNotPresent' };
  const main = {
    name: 'main',
    ...bare,
    ports: [{ containerPort: 8080 }],
    volumeMounts: [{ name: 'data', mountPath: '/data' }],
  };
  const beside = {
    name: 'beside',
    ...image,
    command: ['sh', '-c', 'trap "exit 0" TERM; sleep 100000 & wait'], // its clone is waited for
    volumeMounts: [{ name: 'data', mountPath: '/elsewhere' }],
  };
  const more = {
    initContainers: [
      { name: 'fill', ...image, command: ['sh', '-c', 'echo filled > /data/file'], volumeMounts: main.volumeMounts },
    ],
    volumes: [{ name: 'data', emptyDir: {} }],
    terminationGracePeriodSeconds: 0,
  };
  return [
    workload('Deployment', 'alone', podSpec([main], more)),
    workload('Deployment', 'helped', podSpec([main, beside], more)),
  ];
}

/** As kubelet does it when a token is due, which is after 80 % of its life (8 minutes at least): AtomicWriter of k8s.io/kubernetes. */
async function rotate(volume: string, files: Record<string, string>): Promise<{ version: string; at: number }> {
  const former = join(volume, await readlink(join(volume, '..data')));
  const next = await mkdtemp(join(volume, '..rotated_'));
  await chmod(next, 0o755);
  await cp(former, next, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(next, name), text);
  await symlink(basename(next), join(volume, '..rotated_data'));
  const { ctimeMs: at } = await lstat(join(volume, '..rotated_data'));
  await rename(join(volume, '..rotated_data'), join(volume, '..data'));
  await rm(former, { recursive: true, force: true });
  return { version: basename(next), at };
}

async function scratch(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'bowline-place-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

void suite('volumes', { timeout: 900_000 }, () => {
  let cluster: TestCluster;
  let namespace: TestNamespace;
  let nodeFolder: string;

  before(async () => {
    cluster = await testCluster();
    namespace = await createNamespace(cluster, { prefix: 'volumes' });
    nodeFolder = `/tmp/bowline-${namespace.name}`;
    await namespace.apply([...objects(cluster, nodeFolder), ...withoutTar(cluster)]);
    for (const name of ['holder', 'alone', 'helped']) await namespace.rollout(`deploy/${name}`);
  });
  after(async () => {
    await namespace?.[Symbol.asyncDispose]();
    const volumes = ['claim', 'alone'].map((name) => volumeName(`${nodeFolder}/${name}`));
    await cluster?.kubectl(['delete', 'pv', ...volumes, '--wait=false']);
    await rm(nodeFolder, { recursive: true, force: true });
  });

  const connect = async (daemon: TestDaemon, more: Partial<ConnectInput> = {}): Promise<Connection> => {
    const request = { namespace: namespace.name, target: 'deploy/holder', ports: [{ local: 1, remote: 8080 }] };
    return daemon.connect({ ...request, awaitFiles: true, drainSeconds: 0, ...more });
  };
  const mountAt = (connection: Connection | undefined, mountPath: string): MountedVolume => {
    const found = connection?.files?.mounts.find((mount) => mount.mountPath === mountPath);
    assert.ok(found, `a mount at ${mountPath}`);
    return found;
  };
  const now = (daemon: TestDaemon): Connection => daemon.manager.list()[0]!;
  const read = (connection: Connection, path: string): Promise<string> =>
    readFile(join(connection.files!.folder, 'root', path), 'utf8');
  /** kubelet looks at a pod anew when one of its annotations changes; otherwise once a minute. */
  const hurry = async (): Promise<void> => {
    const [pod] = (await namespace.kubectl(['get', 'pods', '-l', 'bowline.dev/session', '-o', 'name']))
      .trim()
      .split('\n');
    await namespace.kubectl(['annotate', '--overwrite', pod!, `test/look=${process.hrtime.bigint()}`]);
  };

  test('every kind arrives as the container has it, and goes with the release', async () => {
    await using daemon = await startDaemon(cluster);
    const connection = await connect(daemon);
    const { folder, mounts: all } = connection.files!;
    assert.deepEqual(
      all
        .map(({ mountPath, kind, state, reason }) => `${mountPath} ${kind} ${state === 'ready' ? state : reason}`)
        .sort(),
      [
        '/alone persistentVolumeClaim ready',
        '/big emptyDir ready',
        '/claim persistentVolumeClaim ready',
        '/etc/again configMap ready',
        '/etc/all projected ready',
        '/etc/config configMap ready',
        '/etc/config/nested configMap ready',
        '/etc/down downwardAPI ready',
        '/etc/one.txt configMap ready',
        '/etc/secret secret ready',
        '/host hostPath ready',
        '/only-sub emptyDir ready',
        `${token} projected ready`,
        '/work emptyDir ready',
      ].sort(),
    );
    assert.equal(await read(connection, 'etc/config/one.txt'), 'one\n');
    assert.equal(await read(connection, 'etc/again/two.txt'), 'two\n');
    assert.equal(await read(connection, 'etc/config/nested/in/folder/renamed'), 'two\n');
    assert.equal(await read(connection, 'etc/one.txt'), 'one\n');
    assert.equal(await read(connection, 'etc/secret/password'), 'a-password');
    assert.equal(await read(connection, 'etc/all/from/user'), 'me');
    assert.equal(await read(connection, 'etc/all/from/one'), 'one\n');
    assert.match(await read(connection, 'etc/all/labels'), /app="holder"/);
    assert.equal(await read(connection, 'etc/down/namespace'), namespace.name);
    assert.equal(await read(connection, `${token}/namespace`), namespace.name);
    assert.match(await read(connection, `${token}/ca.crt`), /BEGIN CERTIFICATE/);
    assert.equal((await read(connection, `${token}/token`)).split('.').length, 3);
    assert.equal(await read(connection, 'work/made'), 'made\n');
    assert.equal(await read(connection, 'work/inside'), 'made\n');
    assert.equal(await read(connection, 'work/folder/inner'), 'inner\n');
    assert.equal(await read(connection, 'only-sub/inner'), 'inner\n');
    assert.equal(await read(connection, 'host/data/link'), 'host\n');
    assert.equal(await read(connection, 'claim/tree/deep/file'), 'claimed\n');
    assert.equal(await read(connection, 'alone/file'), 'alone\n', 'for one pod alone: from that');
    assert.match(connection.warnings.map(({ message }) => message).join(), /Volume alone .* cannot be mounted beside/);
    assert.deepEqual((await readdir(join(folder, 'root/etc/config'))).sort(), ['nested', 'one.txt', 'two.txt']);
    assert.match(
      mountAt(connection, '/work').reason ?? '',
      /outside \(a link that leads out.*\).*pipe \(neither|pipe.*outside/,
    );
    assert.match(mountAt(connection, '/host').reason ?? '', /data\/out \(a link that leads out of the volume\)/);
    assert.equal(mountAt(connection, '/big').files, 2);
    assert.ok(mountAt(connection, '/big').bytes! > 8 * 1024 * 1024);
    const mode = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;
    assert.equal(await mode(folder), 0o700);
    assert.equal(await mode(join(mountAt(connection, '/etc/secret').local, 'password')), 0o600);
    assert.equal(await mode(join(mountAt(connection, '/work').local, 'run')), 0o700);
    assert.equal(await mode(join(mountAt(connection, '/etc/config/nested').local, 'in')), 0o700);
    await daemon.disconnect(connection.name);
    await assert.rejects(lstat(folder), { code: 'ENOENT' });
  });

  test('an edited ConfigMap and a changed Secret switch as a whole', async () => {
    await using daemon = await startDaemon(cluster);
    const connection = await connect(daemon, { include: ['*.txt', 'password'] });
    const { local } = mountAt(connection, '/etc/config');
    const former = await realpath(local);
    const value = `two ${namespace.name}\n`;
    await namespace.kubectl([
      'patch',
      'configmap',
      'config',
      '-p',
      JSON.stringify({ data: { 'two.txt': value, 'three.txt': '3' } }),
    ]);
    await namespace.kubectl([
      'patch',
      'secret',
      'secret',
      '-p',
      JSON.stringify({ stringData: { password: 'another' } }),
    ]);
    await waitUntil(
      async () => {
        await hurry();
        return (
          (await readFile(join(local, 'two.txt'), 'utf8')) === value &&
          (await read(connection, 'etc/secret/password')) === 'another'
        );
      },
      { what: 'the new contents on the machine', timeout: 90_000, interval: 500 },
    );
    assert.equal(await readFile(join(local, 'three.txt'), 'utf8'), '3');
    assert.notEqual(await realpath(local), former);
    await assert.rejects(lstat(former), { code: 'ENOENT' });
    assert.equal(await read(connection, 'etc/one.txt'), 'one\n', 'kubelet does not update a subPath either');
    await namespace.kubectl([
      'patch',
      'configmap',
      'config',
      '--type=json',
      '-p',
      JSON.stringify([
        { op: 'remove', path: '/data/three.txt' },
        { op: 'replace', path: '/data/two.txt', value: 'two\n' },
      ]),
    ]);
  });

  test('what is too large is left out and said; parts of it come when they are chosen', async () => {
    await using daemon = await startDaemon(cluster);
    const connection = await connect(daemon, { maxVolumeBytes: 1024 * 1024 });
    for (const path of ['/big', '/claim']) {
      const { state, reason, bytes, local } = mountAt(connection, path);
      assert.equal(state, 'skipped', path);
      assert.match(reason!, /larger than 1 MiB.*--max-volume/);
      assert.ok(bytes! > 1024 * 1024);
      await assert.rejects(lstat(local), { code: 'ENOENT' });
    }
    assert.equal(mountAt(connection, '/etc/config').state, 'ready');
    await daemon.disconnect(connection.name);
    const chosen = await connect(daemon, { maxVolumeBytes: 1024 * 1024, exclude: ['random'], include: ['file', 's*'] });
    assert.deepEqual(await readdir(mountAt(chosen, '/claim').local), ['single', 'tree']);
    assert.equal(await read(chosen, 'claim/tree/deep/file'), 'claimed\n');
    assert.deepEqual(await readdir(mountAt(chosen, '/big').local), ['small'], 'of what only the original has, too');
  });

  test('without --volumes there are none', async () => {
    await using daemon = await startDaemon(cluster);
    assert.equal((await connect(daemon, { volumes: false })).files, undefined);
  });

  test('a volume stands where the environment file wants it, but never on what is there', async () => {
    await using place = await scratch();
    const at = (name: string): string => join(place.path, name);
    await mkdir(at('empty'));
    await mkdir(at('full'));
    await writeFile(at('full/mine'), 'mine');
    const lines = [
      '${volumes.config|sub/new}',
      '${volumes.secret/user|user}',
      '${volumes.items|empty}',
      '${volumes.down|full}',
      '${volumes.config/t*.txt|some/of/it}',
      '${volumes.claim/tree/deep/file}',
      '${volumes.big/small|small}',
      '${volumes.config/*.none?}',
    ];
    const text = lines.map((value, index) => `V${index}=${value}`).join('\n');
    await using daemon = await startDaemon(cluster);
    const environmentFile = { path: at('azds-local.env'), text };
    const connection = await connect(daemon, { environmentFile, maxVolumeBytes: 1024 * 1024 });
    assert.equal(await readFile(at('sub/new/one.txt'), 'utf8'), 'one\n');
    assert.equal(await readFile(at('user'), 'utf8'), 'me');
    assert.equal(await readFile(at('empty/in/folder/renamed'), 'utf8'), 'two\n');
    assert.deepEqual(await readdir(at('full')), ['mine']);
    const { message } = now(daemon).warnings.find(({ code }) => code === 'VOLUME_NOT_PLACED')!;
    assert.ok(message.includes(`${at('full')} is there already`), message);
    const { variables } = await daemon.manager.environment(
      connection.name,
      { inPlace: false },
      new AbortController().signal,
    );
    assert.deepEqual([variables['V0'], variables['V1']], [at('sub/new'), at('user')]);
    assert.equal(variables['V3'], mountAt(connection, '/etc/down').local);
    assert.deepEqual(await readdir(at('some/of/it')), ['two.txt'], 'what a pattern fits, and nothing else');
    assert.equal(mountAt(connection, '/claim').state, 'skipped', 'the whole is too large');
    const claimed = variables['V5']!;
    assert.equal(await readFile(claimed, 'utf8'), 'claimed\n');
    assert.deepEqual(await readdir(join(claimed, '../../..'), { recursive: true }), [
      'tree',
      'tree/deep',
      'tree/deep/file',
    ]);
    assert.equal(await readFile(at('small'), 'utf8'), 'small\n', 'of what only the original has, too');
    assert.equal(variables['V7'], undefined, 'nothing fits');
    await daemon.disconnect(connection.name);
    assert.deepEqual(await readdir(place.path, { recursive: true }), ['empty', 'full', 'full/mine']);
  });

  test('without volumes only what the environment file names is here', async () => {
    await using daemon = await startDaemon(cluster);
    const text = 'A=${volumes.secret/user}\nB=${volumes.down}\n';
    const environmentFile = { path: '/project/azds-local.env', text };
    const { files } = await connect(daemon, { volumes: false, environmentFile });
    assert.deepEqual(
      files!.mounts.map(({ volume, state }) => [volume, state]),
      [['down', 'ready']],
    );
    const all = await readdir(files!.folder, { recursive: true, withFileTypes: true });
    assert.deepEqual(all.flatMap((entry) => (entry.isFile() ? [entry.name] : [])).toSorted(), ['namespace', 'user']);
  });

  test('what only the originals have is fetched before they are stopped', async () => {
    await using daemon = await startDaemon(cluster);
    const connection = await connect(daemon, { stopOriginal: true, withoutKeeper: true });
    assert.equal(connection.originals?.stopped, true);
    assert.equal(await read(connection, 'work/made'), 'made\n');
    await daemon.disconnect(connection.name);
    await namespace.rollout('deploy/holder');
  });

  test('a tunnel that is cut in the middle leaves nothing half, and the rest comes when it is back', async () => {
    await using folder = await stateFolder();
    await using relay = await startRelay(cluster, folder.path, 100);
    await using daemon = await startDaemon(cluster, { kubeconfig: relay.kubeconfig });
    const connection = await connect(daemon, { awaitFiles: false });
    const claimNow = (): MountedVolume => mountAt(now(daemon), '/claim');
    await waitUntil(() => claimNow().state === 'downloading', { what: 'the claim on its way', interval: 5 });
    relay.freeze(true); // no byte more comes
    const claim = claimNow();
    assert.equal(claim.state, 'downloading');
    await assert.rejects(stat(claim.local), { code: 'ENOENT' }, 'nothing half under its name');
    const agent = now(daemon).agent!.pod;
    const { local: account } = mountAt(now(daemon), token);
    await namespace.kubectl(['delete', 'pod', agent, '--grace-period=0', '--force']);
    relay.cut(true);
    await waitUntil(() => now(daemon).state === 'reconnecting', { what: 'the loss to be noticed' });
    relay.freeze(false);
    relay.cut(false);
    await waitUntil(() => now(daemon).agent?.pod !== agent && now(daemon).state === 'connected', {
      what: 'another agent',
      timeout: 60_000,
    });
    await waitUntil(() => now(daemon).files?.mounts.every(({ state }) => state === 'ready'), {
      what: 'all volumes',
      timeout: 60_000,
    });
    assert.equal((await stat(join(claim.local, 'random'))).size, 24 * 1024 * 1024);
    const volumes = await readdir(join(connection.files?.folder ?? now(daemon).files!.folder, 'volumes'));
    assert.equal(
      volumes.filter((name) => name.startsWith('..')).length,
      volumes.filter((name) => !name.startsWith('..')).length,
      `each entry has one content: ${volumes.join(' ')}`,
    );
    assert.equal(await read(now(daemon), `${token}/namespace`), namespace.name);
    // A token is valid for as long as its pod is there: whoever has been led to the former one is led to this.
    const claims = async (): Promise<string> =>
      Buffer.from((await readFile(join(account, 'token'), 'utf8')).split('.')[1]!, 'base64url').toString();
    await waitUntil(async () => (await claims()).includes(now(daemon).agent!.pod), { what: "the new agent's token" });
  });

  test('an image without tar: another container of the pod is asked, else it is said', async () => {
    await using daemon = await startDaemon(cluster);
    const alone = await connect(daemon, { target: 'deploy/alone' });
    assert.equal(mountAt(alone, '/data').state, 'unavailable');
    assert.match(mountAt(alone, '/data').reason!, /only the original has it.*tar/);
    assert.equal(mountAt(alone, token).state, 'ready');
    const helped = await connect(daemon, { target: 'deploy/helped' });
    assert.equal(await read(helped, 'data/file'), 'filled\n');
  });

  test('what kubelet has written is here within two seconds: an edited ConfigMap, a projected volume, a rotated token', async (t) => {
    const node = cluster.instance;
    if (node === undefined) return t.skip("kubelet's files are seen on a node of our own only");
    await using daemon = await startDaemon(cluster);
    const connection = await connect(daemon);
    const agent = await namespace.get<{ metadata: { uid: string } }>(`pod/${now(daemon).agent!.pod}`);
    const pods = join('/proc', String(findNode(node)!.pid), 'root', node.folder, 'kubelet/pods');
    const onNode = (plugin: string, volume: string): string =>
      join(pods, agent.metadata.uid, 'volumes', `kubernetes.io~${plugin}`, volume);
    const delays: Record<string, number[]> = {};
    /** From kubelet's switch to ours: both are links that are renamed, in times of the same kernel. */
    const measure = async (what: string, theirs: number, mountPath: string): Promise<void> => {
      const ours = await lstat(mountAt(connection, mountPath).local);
      (delays[what] ??= []).push(ours.ctimeMs - theirs);
    };
    const kubelets = async (volume: string): Promise<number> => (await lstat(join(volume, '..data'))).ctimeMs;
    const [config, all] = [onNode('configmap', 'config'), onNode('projected', 'all')];
    for (let round = 1; round <= 3; round++) {
      const value = `round ${round}\n`;
      const patch = JSON.stringify({ data: { 'one.txt': value } });
      await namespace.kubectl(['patch', 'configmap', 'config', '-p', patch]);
      await waitUntil(
        async () => {
          await hurry();
          const seen = await Promise.all(
            ['etc/config/one.txt', 'etc/all/from/one'].map((path) => read(connection, path)),
          );
          return seen.every((text) => text === value);
        },
        { what: 'the edit on the machine', timeout: 90_000, interval: 500 },
      );
      await measure('ConfigMap', await kubelets(config), '/etc/config');
      await measure('projected', await kubelets(all), '/etc/all');
      const rotated = `rotated ${round}`;
      let write = { version: '', at: 0 };
      await waitUntil(
        async () => {
          // kubelet puts its own there again when it next looks at the pod.
          if ((await readlink(join(all, '..data'))) !== write.version) write = await rotate(all, { token: rotated });
          return (await read(connection, 'etc/all/token')) === rotated;
        },
        { what: 'the token here' },
      );
      await measure('token', write.at, '/etc/all');
    }
    for (const [what, times] of Object.entries(delays)) {
      const [, median = Number.NaN] = times.toSorted((a, b) => a - b);
      t.diagnostic(`${what}: ${times.map(Math.round).join(', ')} ms after kubelet`);
      assert.ok(median < 2_000, `${what}: ${times.join(', ')} ms`);
      // The machine may be busy, but none of them may have waited for kubelet's next look at the pod, after a minute or more.
      assert.ok(Math.max(...times) < 30_000, `${what}: ${times.join(', ')} ms`);
    }
  });
});

void suite('files of a killed daemon', { timeout: 600_000 }, () => {
  let dev: Developer;
  let untouched: () => Promise<void>;

  before(async () => {
    dev = await startDeveloper({ name: 'volumes-kill', helper: false });
    await dev.namespace.apply(withoutTar(dev.cluster));
    await dev.namespace.rollout('deploy/helped');
    untouched = await dev.whole();
  });
  after(() => dev?.[Symbol.asyncDispose]());

  const ready = async (): Promise<Connection> =>
    waitUntil(
      async () => {
        const connection = await dev.connection();
        const whole =
          connection.state === 'connected' && connection.files?.mounts.every(({ state }) => state === 'ready');
        return whole === true ? connection : undefined;
      },
      { what: 'the connection with its files', timeout: 60_000 },
    );
  const kill = async (): Promise<void> => {
    const { pid } = (await dev.status()).daemon;
    await dev.sh(`kill -9 ${pid}; while kill -0 ${pid} 2>/dev/null; do sleep 0.05; done`);
  };

  test('the next one goes on with them, and the release removes them', async () => {
    await dev.must(['connect', 'deploy/helped', '-n', dev.namespace.name, '--port', '8080', '--drain', '0']);
    const { folder, backing } = (await ready()).files!;
    assert.equal(backing, 'memory');
    await kill();
    assert.equal(await dev.sh(`cat ${folder}/root/data/file`), 'filled', 'a program that still runs has them');
    await dev.sh(`mkdir ${folder}/volumes/..data.unfinished`);
    assert.equal((await ready()).files!.folder, folder);
    assert.equal(
      await dev.sh(`cat ${folder}/root/data/file; ls -a ${folder}/volumes | grep -c unfinished || true`),
      'filled\n0',
    );
    await dev.must(['disconnect', 'helped']);
    assert.equal(await dev.sh(`ls ${folder} 2>/dev/null || echo gone`), 'gone');
    await untouched();
  });

  test('a place in memory without room: the command runs without its files, and is told which place it is', async () => {
    const resize = (size: string): Promise<string> => dev.sh(`mount -o remount,size=${size} /run`, { user: 'root' });
    const connect = ['connect', 'deploy/helped', '-n', dev.namespace.name, '--no-redirect'];
    await dev.must(['daemon', 'start']);
    await resize('$(( $(df --output=used -B1 /run | tail -1) + 1048576 ))');
    const filler = '/run/user/1500/filler';
    await dev.sh(`cat /dev/zero > ${filler} || true`);
    try {
      const { exitCode, stdout, stderr } = await dev.bowline([
        ...connect,
        '--',
        'sh',
        '-c',
        'cat /data/file; echo ran',
      ]);
      assert.deepEqual([exitCode, stdout], [0, 'ran\n'], stderr);
      assert.match(
        stderr,
        /^warning: \/data is not here \(failed\): there is no room for it in \/run\/user\/1500\/bowline\/files\/\w+: .* are free.*; make room there/m,
      );
    } finally {
      await dev.sh(`rm ${filler}`);
      await resize('50%');
    }
    assert.equal(await dev.must([...connect, '--', 'cat', '/data/file']), 'filled\n');
    await untouched();
  });

  test('without its session the next one removes them, and nothing else', async () => {
    await dev.must(['connect', 'deploy/helped', '-n', dev.namespace.name, '--port', '8080', '--drain', '0']);
    const { folder } = (await ready()).files!;
    const foreign = `${folder}-foreign`;
    await dev.sh(`mkdir ${foreign}; touch ${foreign}/mine; ln -s ${foreign} ${folder}/volumes/lure`);
    await kill();
    await dev.sh('rm -r ~/.local/state/bowline/sessions');
    await dev.must(['daemon', 'start']);
    assert.deepEqual((await dev.status()).connections, []);
    await waitUntil(async () => (await dev.sh(`ls ${folder} 2>/dev/null || echo gone`)) === 'gone', {
      what: 'the folder gone',
    });
    assert.equal(await dev.sh(`ls ${foreign}; rm -r ${foreign}`), 'mine');
    await dev.must(['restore', '-n', dev.namespace.name, '--all']);
    await untouched();
  });
});
