/** Users who have exactly the Roles of docs/rights/ connect and disconnect; each right is asked for before anything is changed. */
import assert from 'node:assert/strict';
import { after, before as beforeAll, suite, test } from 'node:test';
import { BowlineError } from '../../api/errors.ts';
import { ConnectRequest, type Connection, type ConnectInput } from '../../api/schema.ts';
import { leases } from '../../daemon/cluster/resources.ts';
import type { TestNamespace } from '../cluster/namespace.ts';
import { distrolessImage } from '../cluster/stock-images.ts';
import { login, rbacGroup, rulesOf, writeKubeconfig, type Rule } from './login.ts';
import {
  ask,
  assertAsBefore,
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
let folder: Awaited<ReturnType<typeof stateFolder>>;

beforeAll(async () => {
  daemon = await startDaemon(await testCluster());
  folder = await stateFolder();
});
after(async () => {
  await daemon[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const never = new AbortController().signal;
const anew = { names: /^(Pod\/web-|EndpointSlice\/|Endpoints\/)/ };

const deployWeb = (): Promise<TestNamespace> =>
  deploy(daemon, {
    objects: [
      workload('Deployment', 'web', podSpec([container(daemon.test)])),
      service('web', 'web', [{ name: 'http', port: 80, targetPort: 'http' }]),
    ],
    ready: ['deploy/web'],
    urls: ['web'],
  });

interface Missing {
  verb: string;
  resource: string;
  subresource?: string;
}
const inWords = ({ verb, resource, subresource }: Missing): string =>
  `${verb} ${resource}${subresource === undefined ? '' : `/${subresource}`}`;
const otherKinds = /^(create|patch) pods$|^patch (statefulsets|replicasets)$/;

const userObjects = (name: string, rules: Rule[]): object[] => [
  { apiVersion: `${rbacGroup}/v1`, kind: 'Role', metadata: { name }, rules },
  {
    apiVersion: `${rbacGroup}/v1`,
    kind: 'RoleBinding',
    metadata: { name },
    roleRef: { apiGroup: rbacGroup, kind: 'Role', name },
    subjects: [{ apiGroup: rbacGroup, kind: 'User', name }],
  },
];

const impersonating = (namespace: TestNamespace, user: string): Promise<string> =>
  writeKubeconfig(namespace, { folder: folder.path, name: user, more: { as: user } });

/** Until the API server knows the Role. */
async function plans(namespace: TestNamespace, request: Partial<ConnectInput>): Promise<void> {
  const plan = (): Promise<unknown> =>
    daemon.manager.plan(ConnectRequest.parse({ names: 'env', namespace: namespace.name, ...request }), never);
  await namespace.waitFor('the rights to be in force', async () => {
    await plan();
    return true;
  });
}

/** Each right of the rules alone, and the rules without it. */
function* withoutOne(rules: Rule[]): Generator<{ right: string; rest: Rule[] }> {
  for (const [index, rule] of rules.entries()) {
    for (const resource of rule.resources) {
      for (const verb of rule.verbs) {
        const resources = rule.resources.filter((each) => each !== resource);
        const verbs = rule.verbs.filter((each) => each !== verb);
        const others = [
          { ...rule, resources },
          { ...rule, resources: [resource], verbs },
        ].filter((each) => each.resources.length > 0 && each.verbs.length > 0);
        yield { right: `${verb} ${resource}`, rest: rules.toSpliced(index, 1, ...others) };
      }
    }
  }
}

void suite('the Roles of docs/rights', { concurrency: 2, timeout: 600_000 }, () => {
  const cases: Array<[file: string, request: Partial<ConnectInput>, warns: boolean]> = [
    ['connect.yaml', {}, false],
    ['redirect.yaml', { target: 'svc/web' }, true],
    ['stop-original.yaml', { target: 'svc/web', stopOriginal: true, withoutKeeper: true }, true],
    ['stop-original-own-keeper.yaml', { target: 'svc/web', stopOriginal: true }, false],
  ];
  for (const [file, request, warns] of cases) {
    void test(`${file} is enough`, async () => {
      await using namespace = await deployWeb();
      const kubeconfig = await login(namespace, { user: 'user', rules: await rulesOf(file), folder: folder.path });
      await plans(namespace, { ...request, kubeconfig });
      const was = await before(namespace);
      const connection = await daemon.connect({ ...request, namespace: namespace.name, kubeconfig });
      const known = await daemon.manager.known(connection.name, ['kube-system'], never);
      assert.deepEqual([known.namespaces, known.absent], [[namespace.name], []]);
      assert.match(known.unchecked.map(({ namespace: of, why }) => `${of}: ${why}`).join(), /^kube-system: .*services/);
      const codes = connection.warnings.map(({ code }) => code);
      assert.equal(codes.includes('NO_KEEPER'), warns, JSON.stringify(connection.warnings));
      await daemon.disconnect(connection.name);
      assert.match((await namespace.waitFor('the original', () => ask(daemon, namespace, 'web'))).by, /^web-/);
      await assertAsBefore(namespace, was, request.stopOriginal === true ? anew : {});
    });
  }

  void test('no right to ephemeral containers: the variables of an image without a shell are as its spec says, with a warning', async () => {
    const bare = {
      name: 'main',
      image: distrolessImage,
      imagePullPolicy: 'IfNotPresent',
      env: [
        { name: 'GREETING', value: 'hello $(POD_NAME)' },
        { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      ].toReversed(),
    };
    await using namespace = await deploy(daemon, {
      objects: [workload('Deployment', 'bare', podSpec([bare]))],
      ready: ['deploy/bare'],
      urls: [],
    });
    const request = { target: 'deploy/bare', redirect: false, volumes: false };
    const rules = await rulesOf('redirect.yaml');
    const kubeconfig = await login(namespace, { user: 'user', rules, folder: folder.path });
    const more = { apiGroups: [''], resources: ['pods/ephemeralcontainers'], verbs: ['patch'] };
    const helped = await login(namespace, { user: 'helped', rules: [...rules, more], folder: folder.path });
    const [pod = ''] = (await namespace.kubectl(['get', 'pods', '-l', 'app=bare', '-o', 'name'])).trim().split('\n');
    for (const [config, ofImage] of [
      [kubeconfig, undefined],
      [helped, '/etc/ssl/certs/ca-certificates.crt'],
    ]) {
      await plans(namespace, { ...request, kubeconfig: config });
      const { name } = await daemon.connect({ ...request, namespace: namespace.name, kubeconfig: config });
      const { variables, source, warnings } = await daemon.manager.environment(name, { inPlace: false }, never);
      assert.equal(source, 'spec');
      assert.equal(variables['GREETING'], `hello ${pod.replace('pod/', '')}`);
      assert.equal(variables['SSL_CERT_FILE'], ofImage);
      const warned = warnings.some((warning) =>
        warning.includes('those that only its image or its entrypoint sets are missing'),
      );
      assert.equal(warned, ofImage === undefined, warnings.join('\n'));
      await daemon.disconnect(name);
    }
  });

  void test('the ways to the agent, and pods/exec: both verbs that docs/rights names are needed, and enough', async () => {
    await using namespace = await deployWeb();
    const others = (await rulesOf('redirect.yaml')).filter(({ resources }) => !resources.includes('pods/proxy'));
    const of = (resource: string, ...verbs: string[]): Rule => ({ apiGroups: [''], resources: [resource], verbs });
    const request = { target: 'deploy/web', namespace: namespace.name, redirect: false, volumes: false };
    for (const verb of ['get', 'create']) {
      const rules = [...others, of('pods/portforward', verb)];
      const kubeconfig = await login(namespace, { user: `only-${verb}`, rules, folder: folder.path });
      await namespace.waitFor('the rights to be in force', async () => {
        const error = await daemon
          .plan({ ...request, kubeconfig })
          .catch((reason: unknown) => BowlineError.from(reason));
        return (
          error instanceof BowlineError && /Missing: get pods\/proxy; \w+ pods\/portforward\.$/.test(error.message)
        );
      });
    }
    for (const [user, extra, source] of [
      ['forwards', [], 'spec'],
      ['execs', [of('pods/exec', 'get', 'create')], 'process'],
    ] as const) {
      const rules = [...others, of('pods/portforward', 'get', 'create'), ...extra];
      const kubeconfig = await login(namespace, { user, rules, folder: folder.path });
      await plans(namespace, { ...request, kubeconfig });
      const { name, pipe } = await daemon.connect({ ...request, kubeconfig });
      assert.equal(pipe, 'port-forward');
      assert.equal((await daemon.manager.environment(name, { inPlace: false }, never)).source, source);
      await daemon.disconnect(name);
    }
  });

  void test('without one of them: which one, before anything is touched', async () => {
    await using namespace = await deployWeb();
    const users = (
      await Promise.all(
        cases.slice(1, 3).map(async ([file, request]) => ({ file, request, rules: await rulesOf(file) })),
      )
    ).flatMap(({ file, request, rules }) =>
      [...withoutOne(rules)]
        // Asked for the kind only that the target turns out to be.
        .filter(({ right }) => file !== 'stop-original.yaml' || !otherKinds.test(right))
        .map((less) => ({ ...less, file, request })),
    );
    await namespace.apply(users.flatMap(({ rest }, index) => userObjects(`less-${index}`, rest)));
    const was = await before(namespace);
    const look = async ({ file, right, request }: (typeof users)[number], index: number): Promise<void> => {
      const kubeconfig = await impersonating(namespace, `less-${index}`);
      const wanted = ConnectRequest.parse({ names: 'env', namespace: namespace.name, ...request, kubeconfig });
      let said = '';
      // The API server needs a moment to know a Role.
      const named = async (): Promise<boolean> => {
        const error = await daemon.manager.plan(wanted, never).then(
          () => undefined,
          (reason: unknown) => BowlineError.from(reason),
        );
        said = error?.message ?? 'it was planned';
        const missing = (error?.details?.['missing'] ?? []) as Missing[];
        return (
          error?.code === 'RIGHTS_MISSING' && missing.length <= 3 && missing.some((each) => inWords(each) === right)
        );
      };
      await namespace.waitFor(right, named).catch(() => assert.fail(`${file} without ${right}: ${said}`));
    };
    const left = [...users.entries()];
    const some = async (): Promise<void> => {
      for (let next = left.pop(); next !== undefined; next = left.pop()) await look(next[1], next[0]);
    };
    await Promise.all([some(), some(), some(), some()]);
    await assertAsBefore(namespace, was);
  });

  void test('--stop-original without a keeper is refused before anything of the workload is touched; a keeper of the cluster is seen, missed, and restores', async () => {
    await using namespace = await deployWeb();
    const kubeconfig = await login(namespace, {
      user: 'user',
      rules: await rulesOf('stop-original.yaml'),
      folder: folder.path,
    });
    const request = { target: 'deploy/web', namespace: namespace.name, kubeconfig, stopOriginal: true };
    await plans(namespace, request);
    const was = await before(namespace);
    await fails(daemon.connect(request), 'KEEPER_MISSING', /would start the originals again/, /--without-keeper/);
    await assertAsBefore(namespace, was);
    assert.equal(
      (await daemon.manager.keeperStatus({ kubeconfig, namespace: namespace.name }, never)).keeper,
      undefined,
    );

    const system = `${namespace.name}-system`;
    const manifest = await daemon.manager.keeperManifest({ namespace: system });
    // Its cluster-wide names are those of this test; more than one may be there.
    const input = manifest
      .replaceAll('name: bowline-keeper\n', `name: ${system}\n`)
      .replaceAll(`serviceAccountName: bowline-keeper`, `serviceAccountName: ${system}`);
    try {
      await namespace.cluster.kubectl(['apply', '--server-side', '-f', '-'], { input });
      await namespace.cluster.kubectl(['rollout', 'status', `deploy/${system}`, '-n', system, '--timeout=60s'], {
        timeout: 65_000,
      });
      await namespace.waitFor(
        'the keeper of the cluster',
        async () =>
          (await daemon.manager.keeperStatus({ kubeconfig, namespace: namespace.name }, never)).keeper === 'cluster',
      );
      await using state = await stateFolder();
      const machine = await startDaemon(daemon.test, { stateFolder: state.path });
      const { name } = await machine.connect({ ...request, lapseSeconds: 5 });
      const reaches = (what: string, isSo: (connection: Connection) => boolean): Promise<boolean> =>
        namespace.waitFor(what, async () => machine.manager.list().some((each) => each.name === name && isSo(each)), {
          timeout: 60_000,
        });
      const warned = ({ warnings }: Connection): boolean => warnings.some(({ code }) => code === 'NO_KEEPER');
      const scale = (replicas: number): Promise<string> =>
        namespace.cluster.kubectl(['scale', `deploy/${system}`, '-n', system, `--replicas=${replicas}`]);
      const kept = (each: Connection): boolean => each.keeper === 'cluster' && !warned(each);
      await reaches('the keeper of the cluster', kept);
      await scale(0);
      await reaches('no keeper', (each) => each.keeper === undefined && warned(each));
      await scale(1);
      await reaches('the keeper of the cluster again', kept);
      await machine.crash();
      const none = async (): Promise<boolean> =>
        (await daemon.cluster.list(leases, { namespace: namespace.name })).length === 0;
      await namespace.waitFor('the keeper to put everything back', none, { timeout: 60_000 });
      assert.match((await namespace.waitFor('the original', () => ask(daemon, namespace, 'web'))).by, /^web-/);
      await assertAsBefore(namespace, was, anew);
    } finally {
      await namespace.cluster.kubectl(['delete', '-f', '-', '--wait=false'], { input });
    }
  });
});
