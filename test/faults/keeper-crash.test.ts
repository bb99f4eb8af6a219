/**
 * A keeper that is killed right after each of its writes: the next one goes on, everything is as before, and the session was
 * taken over once. `npm run test:faults -- crash` runs all of it, `npm test` every eighth: BOWLINE_SEED says where it begins.
 */
import assert from 'node:assert/strict';
import { after, before as beforeAll, suite, test } from 'node:test';
import type { KubernetesObject } from '@kubernetes/client-node';
import type { Cluster } from '../../daemon/cluster/cluster.ts';
import { leases, type Resource } from '../../daemon/cluster/resources.ts';
import { silentLog } from '../../daemon/log.ts';
import { keeperHolder } from '../../daemon/redirect/objects.ts';
import { keep } from '../../keeper/keep.ts';
import type { TestNamespace } from '../cluster/namespace.ts';
import { killProgram } from '../cluster/program.ts';
import {
  ask,
  assertAsBefore,
  before,
  container,
  deploy,
  podSpec,
  service,
  startDaemon,
  stateFolder,
  testCluster,
  workload,
  type TestDaemon,
} from '../e2e/redirect-testbed.ts';

/** What a keeper writes, in this order: once to prove itself and once to be the holder, unless there is no Lease any more. */
const claimed = ['patch leases', 'patch leases'];
const restored = ['patch services', 'patch services', 'delete configmaps'];
const deployment = { kind: 'Deployment', target: 'deploy/web' } as const;
const runs = [
  {
    ...deployment,
    end: 'lapsed',
    writes: [...claimed, 'patch deployments', 'patch deployments', ...restored, 'delete leases'],
  },
  { ...deployment, end: 'without its Lease', writes: ['patch deployments', 'patch deployments', ...restored] },
  {
    kind: 'Pod',
    target: 'pod/web',
    end: 'lapsed',
    writes: [...claimed, 'create pods', 'patch pods', ...restored, 'delete leases'],
  },
] as const;
/** `kill`: after this many writes; 0: never. */
const cells = runs.flatMap((run) => [...run.writes, ''].map((_, kill) => ({ ...run, kill })));
type Cell = (typeof cells)[number];
const nameOf = ({ kind, end, writes, kill }: Cell): string =>
  `${kind}, ${end}: ${kill === 0 ? 'not killed' : `killed after write ${kill}, ${writes[kill - 1]}`}`;

const wanted = process.env['BOWLINE_FAULTS'];
const seed = Number(process.env['BOWLINE_SEED'] ?? 1);
const chosen = cells.filter((cell, index) =>
  wanted === undefined ? index % 8 === seed % 8 : new RegExp(wanted).test(nameOf(cell)),
);

/** A keeper in this process, until it is killed or disposed. */
function keepHere(cluster: Cluster, namespace: TestNamespace, end = new AbortController()): AsyncDisposable {
  const options = { namespace: namespace.name, log: silentLog, signal: end.signal };
  const keeping = keep(cluster, options).catch(() => undefined);
  return {
    async [Symbol.asyncDispose]() {
      end.abort();
      await keeping;
    },
  };
}

/** The same cluster, which tells each write by its name when it is done, and answers it after that. */
function watched(cluster: Cluster, written: (write: string) => Promise<void>): Cluster {
  const verbs = new Set<PropertyKey>(['create', 'replace', 'patch', 'delete']);
  return new Proxy(cluster, {
    get(of, name: keyof Cluster) {
      const method: unknown = of[name];
      if (typeof method !== 'function' || !verbs.has(name)) return method;
      return async (...args: unknown[]): Promise<unknown> => {
        const answer = (await Reflect.apply(method, of, args)) as unknown;
        await written(`${name} ${(args[0] as Resource<KubernetesObject>).plural}`);
        return answer;
      };
    },
  });
}

interface Left extends AsyncDisposable {
  namespace: TestNamespace;
  /** Until everything is put back, the session was taken over once, and the originals answer. */
  isRestoredOnce(): Promise<void>;
}

/** What a machine leaves that stopped the originals and is gone. */
async function vanish(daemon: TestDaemon, { kind, target, end }: Pick<Cell, 'kind' | 'target' | 'end'>): Promise<Left> {
  const spec = podSpec([container(daemon.test)], { terminationGracePeriodSeconds: 1 });
  const bare = { apiVersion: 'v1', kind, metadata: { name: 'web', labels: { app: 'web' } }, spec };
  await using undo = new AsyncDisposableStack();
  const namespace = undo.use(
    await deploy(daemon, {
      objects: [
        kind === 'Pod' ? bare : workload(kind, 'web', spec),
        service('web', 'web', [{ name: 'http', port: 80, targetPort: 'http' }]),
      ],
      ready: [target],
      urls: ['web'],
    }),
  );
  const was = await before(namespace);
  const folder = undo.use(await stateFolder());
  const machine = await startDaemon(daemon.test, { stateFolder: folder.path, keeper: false });
  const request = { namespace: namespace.name, target, stopOriginal: true, withoutKeeper: true };
  await machine.connect({ ...request, lapseSeconds: 5 });
  await machine.crash();
  if (end !== 'lapsed') await namespace.kubectl(['delete', 'leases', '--all']);

  const watch = new AbortController();
  const holders = new Set<string>();
  const began = Promise.withResolvers<void>();
  const watching = (async () => {
    for await (const event of daemon.cluster.watch(leases, { namespace: namespace.name, signal: watch.signal })) {
      const objects = event.type === 'trouble' ? [] : event.type === 'reset' ? event.objects : [event.object];
      for (const { spec: lease } of objects) {
        const { holderIdentity: holder, leaseTransitions: transitions = 0 } = lease ?? {};
        holders.add(`${holder === keeperHolder ? 'keeper' : 'machine'} ${transitions}`);
      }
      began.resolve();
    }
  })().catch(() => undefined);
  undo.defer(async () => {
    watch.abort();
    await watching;
  });
  await began.promise;
  assert.deepEqual([...holders], end === 'lapsed' ? ['machine 0'] : []);

  const kept = undo.move();
  return {
    namespace,
    async isRestoredOnce() {
      const left = async (): Promise<string> =>
        namespace.kubectl(['get', 'leases,configmaps', '-l', 'bowline.dev/session', '-o', 'name']);
      await namespace.waitFor('the session to be put back', async () => (await left()) === '', { timeout: 90_000 });
      assert.match((await namespace.waitFor('the original', () => ask(daemon, namespace, 'web'))).by, /^web/);
      const except = kind === 'Pod' ? { anew: /^Pod\/web$/ } : {};
      await assertAsBefore(namespace, was, { ...except, names: /^(Pod\/web-|EndpointSlice\/|Endpoints\/)/ });
      const others = [...holders].filter((holder) => holder !== 'machine 0' && holder !== 'keeper 1');
      assert.deepEqual(others, [], 'somebody else took it over, or somebody did twice');
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

void suite('a keeper, killed after each of its writes', { concurrency: 4, timeout: 3_600_000 }, () => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await startDaemon(await testCluster());
  });
  after(() => daemon?.[Symbol.asyncDispose]());

  for (const cell of chosen) {
    void test(nameOf(cell), async () => {
      await using left = await vanish(daemon, cell);
      const written: string[] = [];
      const killed = new AbortController();
      const dying = watched(daemon.cluster, async (write) => {
        written.push(write);
        if (written.length === cell.kill) killed.abort();
        // Whoever is killed gets no answer any more.
        if (killed.signal.aborted) await new Promise(() => undefined);
      });
      await using _first = keepHere(dying, left.namespace, killed);
      const expected = cell.kill === 0 ? cell.writes : cell.writes.slice(0, cell.kill);
      const enough = async (): Promise<boolean> => written.length >= expected.length;
      await left.namespace.waitFor('the writes of the first keeper', enough, { timeout: 90_000 });

      await using _next = keepHere(daemon.cluster, left.namespace);
      await left.isRestoredOnce();
      assert.deepEqual(written, expected);
    });
  }
});

// After all others, because it is theirs too.
const restart = 'between its claim and the end of the restore: it goes on, and restores once';
if (wanted !== undefined && new RegExp(wanted).test(restart))
  void suite('a keeper whose API server is killed, and started again', { timeout: 600_000 }, () => {
    void test(restart, async () => {
      await using daemon = await startDaemon(await testCluster());
      const { instance } = daemon.test;
      assert.ok(instance !== undefined, 'only the API server of our own cluster can be killed');
      await using left = await vanish(daemon, { ...deployment, end: 'lapsed' });
      let claimed = false;
      const restarted = watched(daemon.cluster, async (write) => {
        if (claimed || write !== 'patch leases') return;
        const [lease] = await daemon.cluster.list(leases, { namespace: left.namespace.name });
        if (lease?.spec?.holderIdentity !== keeperHolder) return; // it has marked it
        claimed = true;
        await killProgram(instance, 'kube-apiserver');
      });
      await using _ = keepHere(restarted, left.namespace);
      await left.namespace.waitFor('the claim', async () => claimed, { timeout: 60_000 });
      await left.namespace.waitFor('the API server', () => daemon.test.kubectl(['get', '--raw', '/readyz']), {
        timeout: 60_000,
      });
      await left.isRestoredOnce();
    });
  });
