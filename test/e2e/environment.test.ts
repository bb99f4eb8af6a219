/**
 * The environment of a program on the machine against that of the pod: variables from every source that Kubernetes has,
 * an image without anything that could tell, the environment file of a project, and the pod's identity at the API server.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import type { V1Container, V1EnvVar, V1Pod } from '@kubernetes/client-node';
import { Environment } from '../../api/schema.ts';
import { belongsToMachine } from '../../env-parser/machine-variables.ts';
import { azdsExample, bridgeExample } from '../../env-parser/testing/documented-examples.ts';
import { createNamespace } from '../cluster/namespace.ts';
import { distrolessImage, nodeImage } from '../cluster/stock-images.ts';
import { waitUntil } from '../cluster/wait.ts';
import { ended, startDeveloper, type Developer } from './developer.ts';

/** The one that the documentation of Azure Dev Spaces names in its example. */
const other = 'mynamespace';
const account = '/var/run/secrets/kubernetes.io/serviceaccount';
const shell = ['sh', '-c', 'export BY_ENTRYPOINT=yes; exec sleep infinity'];

void suite('the environment', { timeout: 900_000 }, () => {
  let dev: Developer;
  let untouched: () => Promise<void>;

  before(async () => {
    dev = await startDeveloper({ name: 'environment', helper: true });
    await dev.cluster.kubectl(['delete', 'namespace', other, '--ignore-not-found', '--wait'], { timeout: 60_000 });
    await dev.cluster.kubectl(['create', 'namespace', other]);
    await dev.cluster.kubectl(['apply', '-n', other, '-f', '-'], { input: list(...answering('myapp2')) });
    await dev.namespace.apply([
      ...answering('myapp1'),
      serviceAt('redis', { port: 6379 }),
      serviceAt('clock', { port: 123, protocol: 'UDP' }),
      configMap('whitelist', { whitelist: 'alice\nbob\n', 'allow-list': 'carol\n' }),
      configMap('settings', { LOG_LEVEL: 'debug', 'dotted.name': 'yes', MOTTO: `it's "so" $HOME \`now\`\n100% ünï!` }),
      secret('database', { USER: 'shop', PASSWORD: 'p$(LOG_LEVEL)$$x' }),
      deployment('everything', { ...everything, command: shell }),
      // Nothing in the image but one static program.
      deployment('distroless', { ...everything, image: distrolessImage }),
      deployment(
        'whitelisted',
        {
          command: shell,
          env: [
            { name: 'MYAPP1_SERVICE_HOST', value: 'of the container' },
            { name: 'LIST', value: '/etc/whitelist/whitelist' },
          ],
          volumeMounts: ['whitelist', 'allow-list'].map((volume) => ({ name: volume, mountPath: `/etc/${volume}` })),
        },
        {
          volumes: ['whitelist', 'allow-list'].map((volume) => ({ name: volume, configMap: { name: 'whitelist' } })),
          beside: metadataService,
          hostAliases: [{ ip: metadataAddress, hostnames: ['metadata.internal'] }],
        },
      ),
    ]);
    await Promise.all(
      ['everything', 'distroless', 'whitelisted', 'myapp1'].map((name) => dev.namespace.rollout(`deploy/${name}`)),
    );
    await dev.cluster.kubectl(['rollout', 'status', '-n', other, 'deploy/myapp2', '--timeout=60s']);
    untouched = await dev.whole();
  });
  after(async () => {
    await dev?.cluster.kubectl(['delete', 'namespace', other, '--ignore-not-found', '--wait=false']);
    await dev?.[Symbol.asyncDispose]();
  });

  const environmentOf = async (name: string): Promise<Environment> => {
    await dev.must(['connect', `deploy/${name}`, '-n', dev.namespace.name]);
    const environment = Environment.parse(await dev.json(['env', '--all']));
    await dev.must(['disconnect']);
    await untouched();
    return environment;
  };
  const processOf = async (name: string): Promise<Record<string, string>> =>
    variables(await dev.namespace.kubectl(['exec', `deploy/${name}`, '--', 'cat', '/proc/1/environ']));
  const podOf = async (name: string): Promise<V1Pod> => {
    const { items } = await dev.namespace.get<{ items: V1Pod[] }>('pods', '-l', `app=${name}`);
    assert.equal(items.length, 1);
    return items[0]!;
  };

  /** A folder of the developer with an environment file in it. */
  const project = async (name: string, file: string, text: string): Promise<string> => {
    const folder = `${dev.machine.home}/${name}`;
    await dev.sh(`mkdir -p ${folder} && cat > ${folder}/${file}`, { input: text });
    return folder;
  };
  test('every variable of the running process, equal or rewritten on purpose', async () => {
    const [{ variables, origins, rewritten, notCarried, source, warnings }, pod] = [
      await environmentOf('everything'),
      await processOf('everything'),
    ];
    assert.equal(source, 'process');
    assert.equal(pod['BY_ENTRYPOINT'], 'yes');
    for (const [name, value] of Object.entries(pod)) {
      assert.ok(variables[name] !== undefined, `${name} is missing`);
      if (rewritten[name] === undefined) assert.equal(variables[name], value, name);
    }
    for (const name of Object.keys(rewritten)) assert.match(name, /_(SERVICE|PORT)(_|$)/, 'only what says an address');
    assert.equal(origins['BY_ENTRYPOINT'], 'container');
    assert.equal(origins['KUBERNETES_SERVICE_HOST'], 'service');
    assert.deepEqual([pod['REDIS_PORT'], variables['REDIS_PORT']], ['6379', '6379'], 'set by the workload');
    assert.match(variables['REDIS_SERVICE_HOST'] ?? '', /^127\.66\./, 'set by Kubernetes');
    assert.match(notCarried['CLOCK_SERVICE_HOST'] ?? '', /UDP is not carried/);
    assert.equal(variables['CLOCK_SERVICE_HOST'], pod['CLOCK_SERVICE_HOST'], 'what cannot be carried stays');
    const clock = Object.keys(pod).filter((name) => name.startsWith('CLOCK_'));
    assert.deepEqual(Object.keys(notCarried).sort(), clock.sort());
    assert.match(warnings.join('\n'), /CLOCK_SERVICE_HOST and \d+ more .*port 123 of clock: UDP is not carried/);
  });

  test('without anything in the image that could tell: as kubelet resolves them, with the fields of the original', async () => {
    const environment = await environmentOf('distroless');
    assert.equal(environment.source, 'spec');
    const pod = await podOf('distroless');
    const ofProcess = await processOf('everything');
    const own: Record<string, string | undefined> = {
      HOSTNAME: pod.metadata?.name,
      POD_NAME: pod.metadata?.name,
      POD_UID: pod.metadata?.uid,
      POD_IP: pod.status?.podIP,
      POD_APP: 'distroless',
      GREETING: `${pod.metadata?.name} of ${dev.namespace.name} at debug`,
    };
    const twins = new Set(['BY_ENTRYPOINT', 'NODE_VERSION']);
    for (const [name, value] of Object.entries(ofProcess)) {
      if (belongsToMachine(name) || twins.has(name) || environment.rewritten[name] !== undefined) continue;
      // The twin was made from the same objects, so it has the same values but for its own pod's.
      assert.equal(environment.variables[name], Object.hasOwn(own, name) ? own[name] : value, name);
    }
    assert.equal(environment.variables['NODE_OPTIONS'], '--max-old-space-size=99');
    assert.equal(environment.variables['SSL_CERT_FILE'], '/etc/ssl/certs/ca-certificates.crt', "the image's own");
    assert.equal(environment.variables['NODE_VERSION'], undefined, "not what the agent's image sets");
    assert.deepEqual((await podOf('distroless')).spec?.ephemeralContainers, undefined, 'the original is left alone');
  });

  test('the same where Pod Security admits only what is restricted', async () => {
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    await using restricted = await createNamespace(dev.cluster, { prefix: 'restricted', labels });
    const capabilities = { drop: ['ALL'] };
    const seccompProfile = { type: 'RuntimeDefault' };
    const securityContext = { runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities, seccompProfile };
    await restricted.apply([deployment('distroless', { image: distrolessImage, securityContext })]);
    await restricted.rollout('deploy/distroless');
    await dev.must(['connect', 'deploy/distroless', '-n', restricted.name]);
    const { variables, source } = Environment.parse(await dev.json(['env']));
    await dev.must(['disconnect']);
    assert.deepEqual([source, variables['LOG_LEVEL']], ['spec', 'of the image']);
  });

  test('env --watch: a file that follows the cluster, and goes with the connection', async () => {
    const file = `${dev.machine.home}/watched.env`;
    await dev.must(['connect', 'deploy/whitelisted', '-n', dev.namespace.name]);
    const watching = dev.start(['env', '--format', 'dotenv', '--watch', file]);
    const end = ended(watching);
    const text = (): string => readFileSync(dev.machine.path(file), 'utf8');
    await waitUntil(() => text().includes('BY_ENTRYPOINT=yes'), { what: 'the file' });
    const cwd = await project('validate', 'azds-local.env', named);
    const { exitCode: status, stdout: report } = await dev.bowline(['env', 'validate'], { cwd });
    assert.equal(status, 5);
    for (const problem of [
      'error: .*:2:3: There is no Service myapp3 in the namespace mynamespace\n[^]*did you mean mynamespace.myapp2',
      'error: .*:3:3: There is no Service mynamespace in the namespace myapp2\n[^]*did you mean mynamespace.myapp2',
      'error: .*:4:3: There is no namespace bowline-none\n',
      'error: .*:5:3: The container has no volume whitelst\n[^]*did you mean whitelist',
      'warning: .*:6:1: A shell cannot hold the name 1X',
    ])
      assert.match(report, new RegExp(problem));
    assert.match(report, /: 4 problems; checked against .*\/whitelisted\n$/);
    const refused = await dev.bowline(['connect', 'deploy/everything', '-n', dev.namespace.name], { cwd });
    const places = (said: string): string[] =>
      [...said.matchAll(/\b([2-5]):3: There is|\b5:3: The container/g)].map(String);
    assert.equal(refused.exitCode, 2);
    assert.equal(places(refused.stderr).length, 4, `a connect says the same: ${refused.stderr}`);
    assert.equal(await dev.sh(`stat -c '%a %U' ${file}`), '600 dev');
    await dev.namespace.apply([
      { apiVersion: 'v1', kind: 'Service', metadata: { name: 'late' }, spec: { ports: [{ port: 9 }] } },
    ]);
    await waitUntil(() => text().includes('LATE_SERVICE_PORT='), {
      what: 'the variables of a Service that was made now',
    });
    await dev.namespace.kubectl(['delete', 'service', 'late']);
    await waitUntil(() => !text().includes('LATE_'), { what: 'the file without them' });
    await dev.must(['disconnect']);
    const { exitCode, stderr } = await end;
    assert.equal(exitCode, 0, stderr);
    assert.equal(existsSync(dev.machine.path(file)), false);
    await untouched();
  });

  const connect = (name: string, ...more: string[]): string[] => [
    'connect',
    `deploy/${name}`,
    '-n',
    dev.namespace.name,
    ...more,
  ];

  test('azds-local.env as Azure Dev Spaces documents it, unchanged', async () => {
    const cwd = await project('azds', 'azds-local.env', azdsExample);
    const script = [
      'cat $WHITELIST_PATH',
      'ls $KUBERNETES_IN_CLUSTER_CONFIG_OVERWRITE',
      'for host in $MYAPP1_SERVICE_HOST myapp1 myapp1.svc.cluster.local $MYAPP2_SERVICE_HOST myapp2.mynamespace',
      'do curl -sS $host/; done',
    ].join('; ');
    const expected = 'alice\nbob\nca.crt\nnamespace\ntoken\nmyapp1\nmyapp1\nmyapp1\nmyapp2\nmyapp2\n';
    for (const privateFiles of ['on', 'off']) {
      const args = connect('whitelisted', '--private-files', privateFiles, '--', 'sh', '-ec', `${script}; env -0 >&2`);
      const { exitCode, stdout, stderr } = await dev.bowline(args, { cwd });
      assert.deepEqual([exitCode, stdout], [0, expected], stderr);
      const { WHITELIST_PATH, KUBERNETES_IN_CLUSTER_CONFIG_OVERWRITE: token } = variables(stderr);
      assert.match(WHITELIST_PATH ?? '', /^\/.*\/whitelist$/);
      // The user may not write there, but a command in the place of the pod has the files there anyway.
      if (privateFiles === 'on') assert.equal(token, account);
      else assert.match(token ?? '', /^\/run\/user\/1500\/bowline\//);
      await untouched();
    }
  });

  test('an entry of the file wins over what the workload sets itself, and this over the Service; each says where it came from', async () => {
    const cwd = await project(
      'precedence',
      'azds-local.env',
      'MYAPP1_SERVICE_HOST=of the file\nNEW=${volumes.whitelist}\n',
    );
    const look = async (...options: string[]): Promise<Environment> => {
      await dev.must([...connect('whitelisted'), ...options], { cwd });
      const environment = Environment.parse(await dev.json(['env']));
      await dev.must(['disconnect']);
      return environment;
    };
    const withFile = await look();
    assert.equal(withFile.variables['MYAPP1_SERVICE_HOST'], 'of the file');
    assert.deepEqual(
      ['MYAPP1_SERVICE_HOST', 'NEW', 'MYAPP1_PORT', 'BY_ENTRYPOINT', 'BOWLINE_ROOT'].map(
        (name) => withFile.origins[name],
      ),
      ['file', 'file', 'service', 'container', 'machine'],
    );
    assert.equal(withFile.origins['MYAPP1_SERVICE_PORT'], 'container', 'beside a host that the workload has set');
    assert.equal(withFile.variables['LIST'], `${withFile.variables['NEW']}/whitelist`, 'the path of the copy');
    assert.equal(withFile.rewritten['LIST'], 'the same file on this machine');
    const withoutFile = await look('--no-env-file');
    assert.deepEqual(
      [withoutFile.variables['MYAPP1_SERVICE_HOST'], withoutFile.origins['MYAPP1_SERVICE_HOST']],
      ['of the container', 'container'],
      'as in the pod',
    );
    assert.match(withoutFile.variables['MYAPP1_PORT'] ?? '', /^tcp:\/\/127\.66\./);
    assert.equal(withoutFile.origins['NEW'], undefined);
    await untouched();
  });

  test('what the file names and the cluster does not have: all of it is said, and nothing is touched', async () => {
    const cwd = await project(
      'wrong',
      'azds-local.env',
      'A=${volumes.whitelst}\nB=${services.myap1}\nC=${services.gone?}\n',
    );
    const { exitCode, stderr } = await dev.bowline(connect('whitelisted'), { cwd });
    assert.equal(exitCode, 2);
    assert.match(
      stderr,
      /^error\[ENVIRONMENT_FILE_INVALID\]: .*azds-local\.env.*1:\d+: .*whitelst.*did you mean whitelist.*2:\d+: .*myap1.*did you mean myapp1/s,
    );
    assert.match(stderr, /^ +1 \| A=\$\{volumes\.whitelst\}\n +\| {3}\^+$/m, 'each with its line');
    await untouched();
  });

  test('KubernetesLocalProcessConfig.yaml as Bridge to Kubernetes documents it, unchanged', async () => {
    const cwd = await project('bridge-documented', 'KubernetesLocalProcessConfig.yaml', bridgeExample);
    const script = [
      'ls $KUBERNETES_IN_CLUSTER_CONFIG_OVERRIDE',
      'cat $ALLOW_LIST_PATH',
      'curl -sS http://$MYAPP1_SERVICE_HOST; curl -sS http://$MYAPP2_SERVICE_HOST/',
      'echo ${MYAPP1_SERVICE_HOST#*/} $DEBUG_MODE',
    ].join('; ');
    const { exitCode, stdout, stderr } = await dev.bowline(connect('whitelisted', '--', 'sh', '-ec', script), { cwd });
    const expected = 'ca.crt\nnamespace\ntoken\ncarol\nmyapp1\nmyapp2\napi/v1/ true\n';
    assert.deepEqual([exitCode, stdout], [0, expected], stderr);
    assert.doesNotMatch(stderr, /KubernetesLocalProcessConfig|error/);
    await untouched();
  });

  test('a Bridge to Kubernetes file: local paths, hosts and addresses of outside through the cluster, managed identity', async () => {
    const server = new URL(
      (await dev.cluster.kubectl(['config', 'view', '-o', 'jsonpath={.clusters[0].cluster.server}'])).trim(),
    );
    const inside = (
      await dev.namespace.kubectl(['get', 'service', 'myapp1', '-o', 'jsonpath={.spec.clusterIP}'])
    ).trim();
    const cwd = await project('bridge', 'KubernetesLocalProcessConfig.yaml', bridgeFile(server, inside));
    const script = [
      'cat $WHITELIST/whitelist whitelist-here/whitelist',
      'curl -sS $MYAPP1/; curl -sS http://$MYAPP2/',
      'curl -sSk https://$API_HOST:$API_PORT/version | grep -o gitVersion',
      // An address that this machine does not reach itself, and a name that it does not know.
      'curl -sS $INSIDE/',
      'curl -sS $BY_NAME/by-name',
      'curl -sS -H Metadata:true $AZURE_POD_IDENTITY_AUTHORITY_HOST/metadata/identity/oauth2/token',
    ].join('; ');
    const { exitCode, stdout, stderr } = await dev.bowline(connect('whitelisted', '--', 'sh', '-ec', script), { cwd });
    const lists = 'alice\nbob\nalice\nbob\n';
    const expected = `${lists}myapp1\nmyapp2\ngitVersion\nmyapp1\nmetadata undefined /by-name\nmetadata true /metadata/identity/oauth2/token\n`;
    assert.deepEqual([exitCode, stdout], [0, expected], stderr);
    assert.match(stderr, /Probes has no effect/);
    assert.match(stderr, /LifecycleHooks has no effect/);
    assert.equal(await dev.sh(`ls ${cwd}`), 'KubernetesLocalProcessConfig.yaml', 'what was put there is gone');
    await untouched();
  });

  test("a client library in the cluster's own configuration is the pod's service account, with names and without", async () => {
    const library = `${dev.machine.checkout}/node_modules/@kubernetes/client-node/dist/index.js`;
    const script = `
      import { AuthenticationV1Api, KubeConfig } from '${library}';
      const config = new KubeConfig();
      config.loadFromCluster(process.env.PREFIX ?? '');
      const review = await config.makeApiClient(AuthenticationV1Api).createSelfSubjectReview({ body: {} });
      console.log(review.status.userInfo.username);`;
    const node = ['node', '--input-type=module', '-e', script];
    const who = `system:serviceaccount:${dev.namespace.name}:default\n`;
    for (const [options, command] of [
      [['--private-files', 'on'], node],
      // Without the place of the pod the library is told where the files are.
      [
        ['--private-files', 'off'],
        ['sh', '-c', 'PREFIX=$BOWLINE_ROOT exec "$@"', 'sh', ...node],
      ],
      [
        ['--private-files', 'off', '--names', 'env'],
        ['sh', '-c', 'PREFIX=$BOWLINE_ROOT exec "$@"', 'sh', ...node],
      ],
      [['--private-files', 'on', '--names', 'env'], node],
    ] as const) {
      const { exitCode, stdout, stderr } = await dev.bowline(connect('whitelisted', ...options, '--', ...command));
      assert.deepEqual([exitCode, stdout], [0, who], `${options.join(' ')}: ${stderr}`);
    }
    await untouched();
  });
});

const bridgeFile = (server: URL, inside: string): string => `
version: 0.1
volumeMounts:
  - name: whitelist
    localPath: whitelist-here
env:
  - name: WHITELIST
    value: $(volumeMounts:whitelist)
  - name: MYAPP1
    value: http://$(services:myapp1)
  - name: MYAPP2
    value: $(services:myapp2.mynamespace:80)
  - name: API_HOST
    value: $(externalEndpoints:${server.hostname}:${server.port})
  - name: API_PORT
    value: "${server.port}"
  - name: INSIDE
    value: $(externalEndpoints:${inside}:80)
  - name: BY_NAME
    value: $(externalEndpoints:metadata.internal:80)
enableFeatures:
  - Probes
  - LifecycleHooks
  - ManagedIdentity
`;

/** Names that a file may get wrong. */
const named = `FINE=\${services.myapp1}\${services.mynamespace.myapp2}
A=\${services.mynamespace.myapp3}
B=\${services.myapp2.mynamespace}
C=\${services.bowline-none.x}
D=\${volumes.whitelst}
1X=1
`;

const metadataAddress = '169.254.169.254';

/** Stands for the metadata service of a cloud, in the place where a pod finds it; and for a host that only pods know. */
const metadataService: V1Container = {
  name: 'metadata',
  image: nodeImage,
  imagePullPolicy: 'IfNotPresent',
  command: [
    'sh',
    '-ec',
    `ip address add ${metadataAddress}/32 dev lo
exec node -e 'require("node:http").createServer((q, a) => a.end("metadata " + q.headers.metadata + " " + q.url + "\\n")).listen(80, "${metadataAddress}"); process.on("SIGTERM", () => process.exit())'`,
  ],
  securityContext: { capabilities: { add: ['NET_ADMIN'] } },
};

/** Variables from all that Kubernetes offers. */
const everything: Omit<V1Container, 'name'> = {
  envFrom: [
    { configMapRef: { name: 'settings' } },
    { prefix: 'DB_', secretRef: { name: 'database' } },
    { configMapRef: { name: 'not-there', optional: true } },
  ],
  resources: { limits: { cpu: '250m', memory: '64Mi' }, requests: { cpu: '10m', memory: '32Mi' } },
  env: [
    { name: 'REDIS_PORT', value: '6379' },
    { name: 'PLAIN', value: 'plain text' },
    { name: 'EMPTY', value: '' },
    { name: 'LOG_LEVEL_AGAIN', value: '$(LOG_LEVEL)/$$(LOG_LEVEL)/$(NOBODY)' },
    { name: 'URL', value: 'postgres://$(DB_USER):$(DB_PASSWORD)@$(KUBERNETES_SERVICE_PORT)' },
    { name: 'FROM_KEY', valueFrom: { secretKeyRef: { name: 'database', key: 'PASSWORD' } } },
    { name: 'NOT_THERE', valueFrom: { configMapKeyRef: { name: 'settings', key: 'no', optional: true } } },
    { name: 'NODE_OPTIONS', value: '--max-old-space-size=99' },
    field('POD_NAME', 'metadata.name'),
    field('POD_UID', 'metadata.uid'),
    field('POD_NAMESPACE', 'metadata.namespace'),
    field('POD_IP', 'status.podIP'),
    field('HOST_IP', 'status.hostIP'),
    field('NODE_NAME', 'spec.nodeName'),
    field('ACCOUNT', 'spec.serviceAccountName'),
    field('POD_APP', "metadata.labels['app']"),
    field('POD_NOTE', "metadata.annotations['note']"),
    { name: 'GREETING', value: '$(POD_NAME) of $(POD_NAMESPACE) at $(LOG_LEVEL)' },
    resource('CPUS', 'limits.cpu'),
    resource('MILLICORES', 'limits.cpu', '1m'),
    resource('MEMORY', 'limits.memory'),
    resource('REQUESTED_MIB', 'requests.memory', '1Mi'),
  ],
};

function field(name: string, fieldPath: string): V1EnvVar {
  return { name, valueFrom: { fieldRef: { fieldPath } } };
}

function resource(name: string, limit: string, divisor = '1'): V1EnvVar {
  return { name, valueFrom: { resourceFieldRef: { resource: limit, divisor } } };
}

function configMap(name: string, data: Record<string, string>): object {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data };
}

function secret(name: string, stringData: Record<string, string>): object {
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData };
}

function serviceAt(name: string, port: object): object {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name }, spec: { ports: [port] } };
}

function deployment(
  name: string,
  container: Omit<V1Container, 'name'>,
  { beside, ...pod }: { volumes?: object[]; hostAliases?: object[]; beside?: V1Container } = {},
): object {
  const labels = { app: name };
  const image = nodeImage;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { labels, annotations: { note: 'a note', 'kubectl.kubernetes.io/default-container': 'main' } },
        spec: {
          terminationGracePeriodSeconds: 0,
          containers: [
            { name: 'main', image, imagePullPolicy: 'IfNotPresent', ...container },
            ...(beside === undefined ? [] : [beside]),
          ],
          ...pod,
        },
      },
    },
  };
}

/** A Service on port 80 that says its name, and the one pod of it. */
function answering(name: string): object[] {
  const program = `require('node:http').createServer((_, answer) => answer.end('${name}\\n')).listen(8080)`;
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { selector: { app: name }, ports: [{ port: 80, targetPort: 8080 }] },
  };
  return [
    service,
    deployment(name, { command: ['node', '-e', program], readinessProbe: { tcpSocket: { port: 8080 } } }),
  ];
}

function list(...items: object[]): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
}

/** NAME=value, each ended by NUL. */
function variables(text: string): Record<string, string> {
  const entries = text.split('\0').filter((entry) => entry.includes('='));
  return Object.fromEntries(
    entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  );
}
