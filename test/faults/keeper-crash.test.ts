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

void suite('a keeper, killed after each of its writes', { concurrency: 4, timeout: 3_600_000 }, () => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await startDaemon(await testCluster());
  });
  after(() => daemon?.[Symbol.asyncDispose]());

  for (const cell of chosen) {
    void test(nameOf(cell), async () => {
      const { kind, target } = cell;
      const spec = podSpec([container(daemon.test)], { terminationGracePeriodSeconds: 1 });
      const bare = { apiVersion: 'v1', kind, metadata: { name: 'web', labels: { app: 'web' } }, spec };
      await using namespace = await deploy(daemon, {
        objects: [
          kind === 'Pod' ? bare : workload(kind, 'web', spec),
          service('web', 'web', [{ name: 'http', port: 80, targetPort: 'http' }]),
        ],
        ready: [target],
        urls: ['web'],
      });
      const was = await before(namespace);
      await using folder = await stateFolder();
      const machine = await startDaemon(daemon.test, { stateFolder: folder.path, keeper: false });
      const request = { namespace: namespace.name, target, stopOriginal: true, withoutKeeper: true };
      await machine.connect({ ...request, lapseSeconds: 5 });
      await machine.crash();
      if (cell.end !== 'lapsed') await namespace.kubectl(['delete', 'leases', '--all']);

      const watch = new AbortController();
      const holders: string[] = [];
      const watching = (async () => {
        const seen = daemon.cluster.watch(leases, { namespace: namespace.name, signal: watch.signal });
        for await (const event of seen) {
          const objects = event.type === 'trouble' ? [] : event.type === 'reset' ? event.objects : [event.object];
          for (const { spec: lease } of objects)
            holders.push(
              `${lease?.holderIdentity === keeperHolder ? 'keeper' : 'machine'} ${lease?.leaseTransitions ?? 0}`,
            );
        }
      })().catch(() => undefined);

      const options = { namespace: namespace.name, log: silentLog };
      const first: string[] = [];
      const killed = new AbortController();
      const done = Promise.withResolvers<void>();
      const isLast = (write: string): boolean => write === cell.writes.at(-1);
      const dying = watched(daemon.cluster, async (write) => {
        first.push(write);
        if (first.length === cell.kill) killed.abort();
        else if (isLast(write)) done.resolve();
        // Whoever is killed gets no answer any more.
        if (killed.signal.aborted) await new Promise(() => undefined);
      });
      const keeping = keep(dying, { ...options, signal: killed.signal }).catch(() => undefined);
      if (cell.kill === 0) await done.promise;
      else await keeping;
      assert.deepEqual(first, cell.kill === 0 ? cell.writes : cell.writes.slice(0, cell.kill));

      const end = new AbortController();
      const next = keep(daemon.cluster, { ...options, signal: end.signal }).catch(() => undefined);
      const left = async (): Promise<string> =>
        namespace.kubectl(['get', 'leases,configmaps', '-l', 'bowline.dev/session', '-o', 'name']);
      await namespace.waitFor('the session to be put back', async () => (await left()) === '', { timeout: 60_000 });
      assert.match((await namespace.waitFor('the original', () => ask(daemon, namespace, 'web'))).by, /^web/);
      const except = kind === 'Pod' ? { anew: /^Pod\/web$/ } : {};
      await assertAsBefore(namespace, was, { ...except, names: /^(Pod\/web-|EndpointSlice\/|Endpoints\/)/ });
      killed.abort();
      end.abort();
      watch.abort();
      await Promise.all([keeping, next, watching]);
      assert.deepEqual([...new Set(holders)], cell.end === 'lapsed' ? ['machine 0', 'keeper 1'] : []);
    });
  }
});
