/** A namespace for one test: uniquely named; disposing ends its pods at once, and all the rest soon after. */
import { randomBytes } from 'node:crypto';
import { waitUntil } from './wait.ts';
import type { Api, Resource } from './api.ts';
import type { RunOptions } from './run.ts';
import type { TestCluster } from './test-cluster.ts';
import type { WaitOptions } from './wait.ts';

export interface TestNamespace extends AsyncDisposable {
  readonly name: string;
  readonly cluster: TestCluster;
  /** kubectl in this namespace; returns what it prints. */
  kubectl(args: string[], options?: RunOptions): Promise<string>;
  /** Creates or changes objects: YAML text, or objects as they are. */
  apply(manifest: string | object[]): Promise<void>;
  /** An object of the namespace, `get('deploy/web')`, or a list of them, `get('pods,services', '-l', 'app=web')`. */
  get<T>(what: string, ...more: string[]): Promise<T>;
  /** Until everything of a workload is rolled out and ready: `deploy/x`, `sts/x`, `ds/x`. */
  rollout(workload: string, timeout?: number): Promise<void>;
  /** Until `look` gives something; what it throws counts as "not yet". */
  waitFor<T>(
    what: string,
    look: () => Promise<T | undefined | false | null>,
    options?: Omit<WaitOptions, 'what'>,
  ): Promise<T>;
}

export interface NamespaceOptions {
  /** Start of the name; default `test`. */
  prefix?: string;
  /** Such as `pod-security.kubernetes.io/enforce: restricted`. */
  labels?: Record<string, string>;
  signal?: AbortSignal;
}

export async function createNamespace(cluster: TestCluster, options: NamespaceOptions = {}): Promise<TestNamespace> {
  const name = `${options.prefix ?? 'test'}-${randomBytes(4).toString('hex')}`;
  const { signal } = options;
  const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: options.labels ?? {} } };
  const { api } = cluster;
  await api.call('POST', '/api/v1/namespaces', object);
  const kubectl = (args: string[], more: RunOptions = {}): Promise<string> =>
    cluster.kubectl(['--namespace', name, ...args], { signal, ...more });
  const namespace: TestNamespace = {
    name,
    cluster,
    kubectl,
    async apply(manifest) {
      const input =
        typeof manifest === 'string' ? manifest : JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifest });
      await kubectl(['apply', '--filename', '-'], { input });
    },
    get: async <T>(what: string, ...more: string[]) => (await read(api, name, what, more)) as T,
    async rollout(workload, timeout = 60_000) {
      try {
        await kubectl(['rollout', 'status', workload, `--timeout=${timeout}ms`], { timeout: timeout + 5000 });
      } catch (error) {
        throw new Error(`${workload} did not become ready:\n${await explain(kubectl)}`, { cause: error });
      }
    },
    waitFor: (what, look, more) => waitUntil(look, { what, signal, ...more }),
    async [Symbol.asyncDispose]() {
      // Pods of tests have nothing to save. When they are gone nothing of the namespace does anything any more; its
      // controller takes away the rest by itself, but starts only after 5 s, which nobody has to wait for.
      for (const word of ['deployments', 'statefulsets', 'daemonsets', 'replicasets', 'jobs', 'cronjobs']) {
        const controllers = (await findResource(api, word)).path(name);
        await api.call('DELETE', controllers, { propagationPolicy: 'Orphan' });
      }
      const pods = `/api/v1/namespaces/${name}/pods`;
      await api.call('DELETE', pods, { gracePeriodSeconds: 1 });
      await waitUntil(async () => (await api.call<{ items: object[] }>('GET', pods)).items.length === 0, {
        what: `the end of the pods of namespace ${name}`,
        timeout: 60_000,
      });
      await api.call('DELETE', `/api/v1/namespaces/${name}`);
    },
  };
  await waitUntil(() => api.call('GET', `/api/v1/namespaces/${name}/serviceaccounts/default`), {
    what: `ServiceAccount default of namespace ${name}, without which no pod can be made`,
    signal,
  });
  return namespace;
}

/** What `kubectl get WHAT` shows as JSON. `more` may be a name, or `-l SELECTOR`. */
async function read(api: Api, namespace: string, what: string, more: string[]): Promise<unknown> {
  const [kinds = '', name] = more.length === 1 ? [what, more[0]] : what.split('/');
  const resources = await Promise.all(kinds.split(',').map(async (word) => findResource(api, word)));
  if (name !== undefined) return api.call('GET', `${resources[0]!.path(namespace)}/${name}`);
  const [option, selector, ...rest] = more;
  if (rest.length > 0 || (option !== undefined && option !== '-l'))
    throw new Error(`get ${what} ${more.join(' ')}: only \`-l SELECTOR\` is understood; kubectl() takes the rest`);
  return { items: (await Promise.all(resources.map(async (each) => api.list(each, namespace, selector)))).flat() };
}

async function findResource(api: Api, word: string): Promise<Resource> {
  const found = (await api.resources()).find(({ words }) => words.includes(word.toLowerCase()));
  if (found === undefined) throw new Error(`the cluster has no kind ${word}`);
  return found;
}

/** What a person would look at first. */
async function explain(kubectl: TestNamespace['kubectl']): Promise<string> {
  const pods = await kubectl(['get', 'pods', '--output', 'wide']);
  const events = await kubectl(['get', 'events', '--sort-by=.lastTimestamp']);
  return `${pods}\n${events.split('\n').slice(-12).join('\n')}`;
}
