/**
 * The environment of a program on the machine against that of the pod: variables from every source that Kubernetes has,
 * an image without anything that could tell, the environment file of a project, and the pod's identity at the API server.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { V1Container, V1EnvVar, V1Pod } from '@kubernetes/client-node';
import { Environment } from '../../api/schema.ts';
import { belongsToMachine } from '../../env-parser/machine-variables.ts';
import { distrolessImage, nodeImage } from '../cluster/stock-images.ts';
import { startDeveloper, type Developer } from './developer.ts';

const shell = ['sh', '-c', 'export BY_ENTRYPOINT=yes; exec sleep infinity'];

void suite('the environment', { timeout: 300_000 }, () => {
  let dev: Developer;
  let untouched: () => Promise<void>;

  before(async () => {
    dev = await startDeveloper({ name: 'environment', helper: true });
    await dev.namespace.apply([
      configMap('settings', { LOG_LEVEL: 'debug', 'dotted.name': 'yes', MOTTO: `it's "so" $HOME \`now\`\n100% ünï!` }),
      secret('database', { USER: 'shop', PASSWORD: 'p$(LOG_LEVEL)$$x' }),
      deployment('everything', { ...everything, command: shell }),
      // Nothing in the image but one static program.
      deployment('distroless', { ...everything, image: distrolessImage }),
    ]);
    await Promise.all(['everything', 'distroless'].map((name) => dev.namespace.rollout(`deploy/${name}`)));
    untouched = await dev.whole();
  });
  after(() => dev?.[Symbol.asyncDispose]());

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

  test('every variable of the running process, equal or rewritten on purpose', async () => {
    const [{ variables, origins, rewritten, source }, pod] = [
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
});

/** Variables from all that Kubernetes offers. */
const everything: Omit<V1Container, 'name'> = {
  envFrom: [
    { configMapRef: { name: 'settings' } },
    { prefix: 'DB_', secretRef: { name: 'database' } },
    { configMapRef: { name: 'not-there', optional: true } },
  ],
  resources: { limits: { cpu: '250m', memory: '64Mi' }, requests: { cpu: '10m', memory: '32Mi' } },
  env: [
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

function deployment(name: string, container: Omit<V1Container, 'name'>, pod: object = {}): object {
  const labels = { app: name };
  const image = nodeImage;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { labels, annotations: { note: 'a note' } },
        spec: {
          terminationGracePeriodSeconds: 0,
          containers: [{ name: 'main', image, imagePullPolicy: 'IfNotPresent', ...container }],
          ...pod,
        },
      },
    },
  };
}

/** NAME=value, each ended by NUL. */
function variables(text: string): Record<string, string> {
  const entries = text.split('\0').filter((entry) => entry.includes('='));
  return Object.fromEntries(
    entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  );
}
