/**
 * The fidelity report on pods of every shape, and on the services of the example shop: everything that the program in the
 * pod has, one on the machine has too, or has otherwise on purpose. Its numbers are the table of docs/fidelity.md, which
 * `npm run fidelity` writes.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import type { V1Container, V1PodSpec } from '@kubernetes/client-node';
import type { FidelityReport } from '../../cli/fidelity/compare.ts';
import { deployShop } from '../../examples/shop/deploy.ts';
import { createNamespace, type TestNamespace } from '../cluster/namespace.ts';
import { distrolessImage, nodeImage } from '../cluster/stock-images.ts';
import { startDeveloper, type Developer } from './developer.ts';

const documentation = new URL('../../docs/fidelity.md', import.meta.url);
const planted = `planted-${randomBytes(12).toString('hex')}`;

interface Shape {
  /** `deploy/x` or `sts/x`. */
  target: string;
  /** For the documentation. */
  what: string;
  container?: string;
  pod: Partial<V1PodSpec> & { containers: V1Container[] };
  /** What a report of 100 % does not say. */
  more?: (found: FidelityReport, namespace: TestNamespace) => Promise<void>;
}

const asleep = ['sleep', '100000'];
const main = (more: Partial<V1Container>): V1Container => ({
  name: 'main',
  image: nodeImage,
  imagePullPolicy: 'IfNotPresent',
  command: asleep,
  ...more,
});
const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
const claim = `fidelity-${randomBytes(4).toString('hex')}`;

const shapes: Shape[] = [
  {
    target: 'deploy/everything',
    what: 'variables from everything: values, ConfigMap, Secret, prefix, fields, resources, `$(VAR)`, the entrypoint',
    pod: {
      containers: [
        main({
          command: ['sh', '-c', 'export BY_ENTRYPOINT=yes; exec sleep 100000'],
          resources: { limits: { memory: '64Mi', cpu: '250m' } },
          envFrom: [{ configMapRef: { name: 'settings' } }, { prefix: 'DB_', secretRef: { name: 'database' } }],
          env: [
            { name: 'PLAIN', value: 'plain "text" $$HOME `now`' },
            { name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'database', key: 'password' } } },
            { name: 'URL', value: 'postgres://$(DB_user):$(PASSWORD)@database' },
            field('POD_NAME', 'metadata.name'),
            field('POD_IP', 'status.podIP'),
            { name: 'MEMORY', valueFrom: { resourceFieldRef: { resource: 'limits.memory' } } },
            { name: 'TZ', value: 'Europe/Berlin' },
          ],
        }),
      ],
    },
  },
  {
    target: 'deploy/distroless',
    what: 'an image with one static program, no shell; variables, a Secret and a ConfigMap',
    pod: {
      volumes: [
        { name: 'settings', configMap: { name: 'settings' } },
        { name: 'database', secret: { secretName: 'database' } },
      ],
      containers: [
        {
          name: 'main',
          image: distrolessImage,
          imagePullPolicy: 'IfNotPresent',
          envFrom: [{ secretRef: { name: 'database' } }],
          env: [field('POD_NAME', 'metadata.name'), { name: 'CONFIG', value: '/etc/settings/LOG_LEVEL' }],
          volumeMounts: [
            { name: 'settings', mountPath: '/etc/settings' },
            { name: 'database', mountPath: '/var/lib/database' },
          ],
        },
      ],
    },
  },
  {
    target: 'deploy/several',
    what: 'two containers, the second one chosen',
    container: 'second',
    pod: {
      volumes: [{ name: 'settings', configMap: { name: 'settings' } }],
      containers: [
        // Its clone is waited for, so it ends when it is told to.
        main({
          command: ['sh', '-c', 'trap "exit 0" TERM; sleep 100000 & wait'],
          env: [{ name: 'WHO', value: 'first' }],
        }),
        main({
          name: 'second',
          env: [{ name: 'WHO', value: 'second' }],
          volumeMounts: [{ name: 'settings', mountPath: '/etc/second' }],
        }),
      ],
    },
  },
  {
    target: 'deploy/projected',
    what: 'a projected volume: a token for another audience, Secret, ConfigMap, fields of the pod; a ServiceAccount',
    pod: {
      serviceAccountName: 'caller',
      volumes: [
        {
          name: 'all',
          projected: {
            sources: [
              { serviceAccountToken: { path: 'vault/token', audience: 'vault', expirationSeconds: 3600 } },
              { secret: { name: 'database', items: [{ key: 'password', path: 'secret/password', mode: 0o400 }] } },
              { configMap: { name: 'settings', items: [{ key: 'run.sh', path: 'run.sh', mode: 0o755 }] } },
              { downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } },
            ],
          },
        },
      ],
      containers: [main({ volumeMounts: [{ name: 'all', mountPath: '/etc/all' }] })],
    },
  },
  {
    target: 'deploy/sub-path',
    what: 'subPath: one file in a folder of the image, a folder of a volume, one mount below another',
    pod: {
      volumes: [
        { name: 'settings', configMap: { name: 'settings' } },
        { name: 'tree', configMap: { name: 'settings', items: [{ key: 'LOG_LEVEL', path: 'a/b/level' }] } },
      ],
      containers: [
        main({
          volumeMounts: [
            { name: 'settings', mountPath: '/etc/level', subPath: 'LOG_LEVEL' },
            { name: 'settings', mountPath: '/srv/outer' },
            { name: 'tree', mountPath: '/srv/below', subPath: 'a' },
          ],
        }),
      ],
    },
  },
  {
    target: 'deploy/claim',
    what: 'a claim of a volume that one node has, filled by an init container',
    pod: {
      volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }],
      initContainers: [
        main({
          name: 'fill',
          command: [
            'sh',
            '-c',
            'mkdir -p /data/deep; echo kept > /data/deep/file; echo "exit 0" > /data/run; chmod 755 /data/run',
          ],
          volumeMounts: [{ name: 'data', mountPath: '/data' }],
        }),
      ],
      containers: [main({ volumeMounts: [{ name: 'data', mountPath: '/data' }] })],
    },
  },
  {
    target: 'deploy/init',
    what: 'an emptyDir that an init container wrote; another user id',
    pod: {
      securityContext: { runAsUser: 1234, runAsGroup: 1234, fsGroup: 1234 },
      volumes: [{ name: 'work', emptyDir: {} }],
      initContainers: [
        main({
          name: 'render',
          command: ['sh', '-c', 'echo "password: $PASSWORD" > /work/config.yaml; cp /work/config.yaml /work/again'],
          env: [{ name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'database', key: 'password' } } }],
          volumeMounts: [{ name: 'work', mountPath: '/work' }],
        }),
      ],
      containers: [main({ volumeMounts: [{ name: 'work', mountPath: '/work' }] })],
    },
  },
  {
    target: 'deploy/itself',
    what: "what each pod has of its own: fields and limits in files, a `subPathExpr` of its name; a Service's names set by the workload",
    pod: {
      volumes: [
        {
          name: 'info',
          downwardAPI: {
            items: [
              { path: 'name', fieldRef: { fieldPath: 'metadata.name' } },
              { path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } },
              { path: 'annotations', fieldRef: { fieldPath: 'metadata.annotations' } },
              { path: 'cpu', resourceFieldRef: { containerName: 'main', resource: 'limits.cpu' } },
              {
                path: 'memory',
                resourceFieldRef: { containerName: 'main', resource: 'limits.memory', divisor: '1Mi' },
              },
            ],
          },
        },
        { name: 'shared', hostPath: { path: `/tmp/${claim}-shared`, type: 'DirectoryOrCreate' } },
      ],
      containers: [
        main({
          command: ['sh', '-c', 'echo "$POD_NAME" > /own/file; exec sleep 100000'],
          resources: { limits: { memory: '64Mi' } },
          env: [
            field('POD_NAME', 'metadata.name'),
            { name: 'NOBODY_SERVICE_HOST', value: '192.168.4.5' },
            { name: 'NOBODY_SERVICE_PORT', value: '8080' },
          ],
          volumeMounts: [
            { name: 'info', mountPath: '/etc/info' },
            { name: 'info', mountPath: '/etc/name', subPath: 'name' },
            { name: 'shared', mountPath: '/own', subPathExpr: '$(POD_NAME)' },
            { name: 'shared', mountPath: '/all' },
          ],
        }),
      ],
    },
    async more({ rows, pod }, namespace) {
      const state = (name: string): string | undefined => rows.find((row) => row.name === name)?.state;
      for (const name of ['NOBODY_SERVICE_HOST', 'NOBODY_SERVICE_PORT', '/etc/info/memory', '/etc/name', '/own/file'])
        assert.equal(state(name), 'equal', name);
      assert.deepEqual(
        rows.filter(({ name }) => name.startsWith('ORDINAL_')),
        [],
        'kubelet announces no headless Service',
      );
      assert.deepEqual(
        rows.filter(({ kind }) => kind === 'identity').map((row) => [row.state, row.source]),
        [['equal', 'original']],
      );
      const folders = await namespace.kubectl(['exec', 'deploy/itself', '--', 'ls', '-A', '/all']);
      assert.equal(folders.trim(), pod, 'a folder that no pod of the workload has made');
    },
  },
  {
    target: 'sts/ordinal',
    what: 'a StatefulSet: the ordinal in host name and label, its headless Service',
    pod: {
      containers: [
        main({
          env: [
            field('POD_NAME', 'metadata.name'),
            field('ORDINAL', "metadata.labels['apps.kubernetes.io/pod-index']"),
          ],
        }),
      ],
    },
  },
];

const shopServices = [
  'deploy/stats-api',
  'deploy/catalog',
  'deploy/cart',
  'deploy/frontend',
  'deploy/redis',
  'sts/postgres',
];

/** Milliseconds for one report, on a machine that carries a cluster beside it. */
const timeout = 180_000;

void suite('fidelity', { timeout: 900_000 }, () => {
  let dev: Developer;
  let shop: TestNamespace;
  let untouched: () => Promise<void>;
  const rows: string[] = [];

  before(async () => {
    dev = await startDeveloper({ name: 'fidelity', helper: true });
    shop = await createNamespace(dev.cluster, { prefix: 'fidelity-shop' });
    await dev.namespace.apply(around());
    await dev.namespace.apply(shapes.map(workload));
    await Promise.all([...shapes.map(({ target }) => dev.namespace.rollout(target, 120_000)), deployShop(shop)]);
    const same = await dev.whole(shop);
    // A probe of the shop's own may fail for a moment.
    untouched = async () =>
      void (await shop.waitFor('cluster and machine as before', async () => (await same(), true), {
        timeout: 120_000,
      }));
  });
  after(async () => {
    await shop?.[Symbol.asyncDispose]();
    await dev?.cluster.kubectl(['delete', 'persistentvolume', claim, '--ignore-not-found', '--wait=false']);
    await dev?.[Symbol.asyncDispose]();
  });

  const report = async (target: string, ...more: string[]): Promise<FidelityReport> => {
    const { exitCode, stdout, stderr } = await dev.bowline(['doctor', target, '--fidelity', '--json', ...more], {
      timeout,
    });
    assert.ok(exitCode === 0 || exitCode === 7, `${target}: status ${exitCode}\n${stderr}`);
    assert.ok(!`${stdout}${stderr}`.includes(planted), 'a value of a Secret was shown');
    return JSON.parse(stdout) as FidelityReport;
  };
  const faithful = (report: FidelityReport): void => {
    const lost = report.rows.filter(({ state }) => state === 'missing' || state === 'different');
    assert.deepEqual(lost, [], `${report.connection}: ${report.percent} %`);
    assert.equal(report.percent, 100);
  };
  const document = (what: string, { rows: all, percent }: FidelityReport): void => {
    const count = (kind: string, state: string): number =>
      all.filter((row) => row.kind === kind && row.state === state).length;
    const cell = (kind: string): string => {
      const rewritten = count(kind, 'rewritten');
      return `${count(kind, 'equal')}${rewritten === 0 ? '' : ` + ${rewritten}`}`;
    };
    rows.push(`| ${what} | ${cell('variable')} | ${cell('file')} | ${cell('name')} | ${percent} % |`);
  };

  for (const { target, what, container, more } of shapes) {
    test(`${target}: ${what}`, async () => {
      const chosen = container === undefined ? [] : ['--container', container];
      const found = await report(target, '-n', dev.namespace.name, ...chosen);
      faithful(found);
      await more?.(found, dev.namespace);
      document(what, found);
      await untouched();
    });
  }

  for (const target of shopServices) {
    test(`the shop's ${target}`, async () => {
      const found = await report(target, '-n', shop.name);
      faithful(found);
      document(`the example shop's \`${target}\``, found);
      await untouched();
    });
  }

  test('a host of outside that the environment file names', async () => {
    const server = new URL(
      (await dev.cluster.kubectl(['config', 'view', '-o', 'jsonpath={.clusters[0].cluster.server}'])).trim(),
    );
    const folder = `${dev.machine.home}/outside`;
    const text = `version: 0.1\nenv:\n  - name: API\n    value: $(externalEndpoints:${server.hostname}:${server.port})\n`;
    await dev.sh(`mkdir -p ${folder}; cat > ${folder}/KubernetesLocalProcessConfig.yaml`, { input: text });
    const args = [
      'doctor',
      'deploy/several',
      '-n',
      dev.namespace.name,
      '--container',
      'second',
      '--fidelity',
      '--json',
    ];
    const found = JSON.parse(await dev.must(args, { cwd: folder, timeout })) as FidelityReport;
    faithful(found);
    const [outside] = found.rows.filter(({ kind }) => kind === 'external');
    assert.equal(outside?.name, `${server.hostname}:${server.port}`);
    assert.match(outside.reason ?? '', /^at 127\.66\..*: what is named by an address/);
    await untouched();
  });

  test('with paths and addresses in variables instead: rewritten on purpose, each with the reason', async () => {
    const found = await report('deploy/distroless', '-n', dev.namespace.name, '--private-files', 'off');
    faithful(found);
    const why = (name: string): string | undefined => found.rows.find((row) => row.name === name)?.reason;
    assert.equal(why('CONFIG'), 'the same file on this machine');
    assert.match(why('/etc/settings/LOG_LEVEL') ?? '', /^it lies below \//);
    await untouched();
  });

  test('the connection that is there is used and stays; what is lost is said, with status 7', async () => {
    const selectors = (): Promise<string> =>
      dev.namespace.kubectl(['get', 'services', 'nobody', 'ordinal', '-o', 'jsonpath={.items[*].spec}']);
    const before = await selectors();
    await dev.must(['connect', 'deploy/init', '-n', dev.namespace.name, '--no-redirect', '--exclude', 'again']);
    assert.equal(await selectors(), before, 'no Service leads elsewhere');
    const { exitCode, stdout } = await dev.bowline(['doctor', 'deploy/init', '-n', dev.namespace.name, '--fidelity']);
    assert.equal(exitCode, 7, stdout);
    assert.match(stdout, /^file +\/work\/again +missing/m);
    const [, kept, total, percent] = /^(\d+) of (\d+) equal or rewritten on purpose = (\d+) %\n$/m.exec(stdout) ?? [];
    assert.equal(Number(total) - Number(kept), 1, stdout);
    assert.ok(Number(percent) < 100);
    assert.equal((await dev.connection()).state, 'connected');
    await dev.must(['disconnect']);
    await untouched();
  });

  test('the table of the documentation', () => {
    const text = readFileSync(documentation, 'utf8');
    const [start, end] = ['<!-- table -->\n', '<!-- end of the table -->\n'];
    const head = ['| shape | variables | files | names | kept |', '| --- | --- | --- | --- | --- |'];
    const made = `${start}\n${[...head, ...rows].join('\n')}\n\n${end}`;
    const from = text.indexOf(start);
    const to = text.indexOf(end) + end.length;
    if (process.env['BOWLINE_WRITE_DOCS'] !== undefined)
      writeFileSync(documentation, `${text.slice(0, from)}${made}${text.slice(to)}`);
    else
      for (const row of rows) {
        const [shape = '', ...cells] = row.split(' | ');
        const line = text
          .slice(from, to)
          .split('\n')
          .find((each) => each.startsWith(`${shape} |`));
        assert.equal(
          line?.split(' | ').at(-1),
          cells.at(-1),
          `docs/fidelity.md is not as measured: run \`npm run fidelity\``,
        );
      }
  });
});

/** What the pods refer to; before them, so that kubelet announces the Services. */
function around(): object[] {
  const meta = (name: string): object => ({ name });
  const service = (name: string, spec: object): object => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: meta(name),
    spec,
  });
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta('caller') },
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: meta('settings'),
      data: { LOG_LEVEL: 'debug', MOTTO: `it's "so"\n100% ünï!`, 'run.sh': '#!/bin/sh\necho run\n' },
    },
    { apiVersion: 'v1', kind: 'Secret', metadata: meta('database'), stringData: { user: 'shop', password: planted } },
    service('ordinal', { clusterIP: 'None', selector: { app: 'ordinal' }, ports: [{ name: 'http', port: 8080 }] }),
    // Nobody listens: it is refused in the pod, and so it is on the machine.
    service('nobody', { selector: { app: 'everything' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] }),
    {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: meta(claim),
      spec: {
        capacity: { storage: '1Gi' },
        accessModes: ['ReadWriteOnce'],
        storageClassName: '',
        hostPath: { path: `/tmp/${claim}`, type: 'DirectoryOrCreate' },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: meta('data'),
      spec: {
        accessModes: ['ReadWriteOnce'],
        storageClassName: '',
        volumeName: claim,
        resources: { requests: { storage: '1Gi' } },
      },
    },
  ];
}

function workload({ target, pod }: Shape): object {
  const [kind, name = ''] = target.split('/');
  const labels = { app: name };
  return {
    apiVersion: 'apps/v1',
    kind: kind === 'sts' ? 'StatefulSet' : 'Deployment',
    metadata: { name },
    spec: {
      ...(kind === 'sts' && { serviceName: name }),
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { terminationGracePeriodSeconds: 0, ...pod } },
    },
  };
}
