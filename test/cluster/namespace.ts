/** A namespace for one test: uniquely named; disposing ends its pods at once, and all the rest soon after. */
import { randomBytes } from 'node:crypto';
import { waitUntil } from './wait.ts';
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
  /** An object of the namespace, or a list of them, as JSON. */
  get<T>(...args: string[]): Promise<T>;
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
  await cluster.kubectl(['create', '-f', '-'], { input: JSON.stringify(object), signal });
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
    async get<T>(...args: string[]) {
      return JSON.parse(await kubectl(['get', ...args, '--output', 'json'])) as T;
    },
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
      const controllers = 'deployments,statefulsets,daemonsets,replicasets,jobs,cronjobs';
      await cluster.kubectl(['--namespace', name, 'delete', controllers, '--all', '--cascade=orphan']);
      await cluster.kubectl(['--namespace', name, 'delete', 'pods', '--all', '--grace-period=1']);
      await cluster.kubectl(['delete', 'namespace', name, '--wait=false']);
    },
  };
  await waitUntil(() => kubectl(['get', 'serviceaccount', 'default', '--output', 'name']), {
    what: `ServiceAccount default of namespace ${name}, without which no pod can be made`,
    signal,
  });
  return namespace;
}

/** What a person would look at first. */
async function explain(kubectl: TestNamespace['kubectl']): Promise<string> {
  const pods = await kubectl(['get', 'pods', '--output', 'wide']);
  const events = await kubectl(['get', 'events', '--sort-by=.lastTimestamp']);
  return `${pods}\n${events.split('\n').slice(-12).join('\n')}`;
}
