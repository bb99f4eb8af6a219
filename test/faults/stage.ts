/**
 * Where a fault happens: a machine with the product installed, a namespace with a workload under load, and the tie
 * between the two. Everything is done by the command itself, and what is left afterwards is counted on both sides.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { startLoad, type Load, type LoadRecord } from '../cluster/load.ts';
import { snapshot, type Snapshot } from '../cluster/snapshot.ts';
import { waitUntil } from '../cluster/wait.ts';
import { speaks, startDeveloper, type Developer } from '../e2e/developer.ts';
import { container, podSpec, programMap, service, workload } from '../e2e/redirect-testbed.ts';
import type { TestCluster } from '../cluster/test-cluster.ts';
import type { Connection } from '../../api/schema.ts';

/** A line of the daemon's log about a connection. */
export interface Said {
  /** Milliseconds since 1970, by the daemon's clock. */
  at: number;
  event: string;
  state: string;
  reason: string;
}

/** Everything that a connection may change: objects of the namespace, and the machine's state in words. */
export interface Before {
  objects: Snapshot;
  machine: string;
}

export interface Stage extends AsyncDisposable {
  readonly dev: Developer;
  readonly load: Load;
  /** `bowline connect` to the workload under load, until a request was answered here. */
  connect(...more: string[]): Promise<Connection>;
  /** Until a request that is sent from now on is answered by the machine, or by an original. */
  answeredHere(): Promise<LoadRecord>;
  answeredThere(): Promise<LoadRecord>;
  /** Whether that is who answered. */
  isHere: (by: string) => boolean;
  /** What the daemon has said of its connections since then. */
  said(since: number): Said[];
  /** Until it has said so; how many seconds after `since`. */
  hears(pattern: RegExp, since: number, timeout?: number): Promise<number>;
  before(): Promise<Before>;
  /** What is otherwise than before, one thing a line; the cluster's controllers get time for their work. */
  leftovers(before: Before, except?: RegExp): Promise<string[]>;
  /** Goes with the stage, where the fault itself has not taken it away. */
  use<T extends AsyncDisposable>(resource: T): T;
}

export const workloadName = 'web';
export const webWorkload = (cluster: TestCluster): object => {
  // Longer than kube-proxy may lead to a pod that ends: with less a rollout loses requests without any connection.
  const env = [{ name: 'LINGER', value: '2000' }];
  const main = { ...container(cluster, { env }), resources: { requests: { cpu: '50m' } } };
  return workload('Deployment', workloadName, podSpec([main]), { replicas: 2 });
};
/** A service that the machine reaches by its name: answers every byte with the same. */
export const storeName = 'store';
const localPort = 3001;

export async function startStage(name: string, objects: object[] = []): Promise<Stage> {
  await using undo = new AsyncDisposableStack();
  const dev = undo.use(await startDeveloper({ name, helper: true }));
  const { namespace, machine, cluster } = dev;
  await namespace.apply([
    programMap,
    webWorkload(cluster),
    service(workloadName, workloadName, [{ name: 'http', port: 80, targetPort: 'http' }]),
    workload('Deployment', storeName, storeSpec(cluster.nodeImage)),
    service(storeName, storeName, [{ name: 'tcp', port: 6379 }]),
    ...objects,
  ]);
  await Promise.all([workloadName, storeName].map((each) => namespace.rollout(`deploy/${each}`, 120_000)));
  const load = undo.use(await startLoad(namespace, { url: `http://${workloadName}/`, controlRate: 10 }));
  const answer = `JSON.stringify({ by: require('node:os').hostname() })`;
  const program = machine.spawn([
    'node',
    '-e',
    `require('node:http').createServer((q, r) => r.end(${answer})).listen(${localPort}, () => console.log('ready'))`,
  ]);
  await speaks(program);
  const end = once(program, 'close');
  undo.defer(async () => {
    program.kill('SIGKILL');
    await end;
  });

  const isHere = (by: string): boolean => by === machine.name;
  const isThere = (by: string): boolean => by.startsWith(`${workloadName}-`);
  const said = (since: number): Said[] => logOf(dev).filter(({ at }) => at >= since);
  const kept = undo.move();
  return {
    dev,
    load,
    isHere,
    answeredHere: () => load.answeredBy(isHere, 'the machine', 60_000),
    answeredThere: () => load.answeredBy(isThere, 'an original', 60_000),
    said,
    async connect(...more) {
      const where = ['-n', namespace.name, '--port', String(localPort), '--drain', '2'];
      await dev.must(['connect', `deploy/${workloadName}`, ...where, ...more]);
      await load.answeredBy(isHere, 'the machine', 60_000);
      return dev.connection();
    },
    async hears(pattern, since, timeout = 60_000) {
      const look = (): Said | undefined => said(since).find(({ state, reason }) => pattern.test(`${state}: ${reason}`));
      const heard = await waitUntil(look, { what: `the daemon to say ${pattern}`, timeout }).catch((error: unknown) => {
        const words = said(since).map(({ state, reason }) => `${state}: ${reason}`);
        throw new Error(`${String(error)}; it said: ${words.join(' | ')}`);
      });
      return Math.max(0, Math.round((heard.at - since) / 10) / 100);
    },
    before: async () => ({ objects: await snapshot(cluster, namespace.name), machine: await stateOf(dev) }),
    async leftovers(before, except = /^$/) {
      let left: string[] = [];
      await waitUntil(
        async () => {
          const now = { objects: await snapshot(cluster, namespace.name), machine: await stateOf(dev) };
          left = differences(before, now, except);
          return left.length === 0;
        },
        { what: 'everything to be as before', timeout: 20_000, interval: 500 },
      ).catch(() => undefined);
      return left;
    },
    use: (resource) => kept.use(resource),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

const storeSpec = (image: string): object => ({
  terminationGracePeriodSeconds: 1,
  containers: [
    {
      name: 'main',
      image,
      resources: { requests: { cpu: '50m' } },
      imagePullPolicy: 'IfNotPresent',
      command: ['node', '-e', "require('net').createServer((s) => s.on('error', () => 0).pipe(s)).listen(6379)"],
      ports: [{ name: 'tcp', containerPort: 6379 }],
      readinessProbe: { tcpSocket: { port: 6379 }, periodSeconds: 1 },
    },
  ],
});

/** The hosts file, addresses, redirected ports, listeners, saved sessions. Its own program listens before and after. */
const machineState = `
cat /etc/hosts
ip -oneline address | tr -s ' ' | cut -d ' ' -f 2-4
iptables-save -t nat | grep -v '^#' | sed 's/\\[.*\\]//'
ss --no-header --listening --tcp --udp --numeric | tr -s ' ' | cut -d ' ' -f 1,5 | sort
find /home/dev/.local/state/bowline/sessions /run/user/1500/bowline/files -mindepth 1 2>/dev/null | sort
`;

async function stateOf(dev: Developer): Promise<string> {
  return dev.sh(machineState, { user: 'root' });
}

/** The objects of a kind that are made anew by the fault itself are named by `except`; of a session nothing may be left. */
function differences(before: Before, now: Before, except: RegExp): string[] {
  const left: string[] = [];
  for (const name of new Set([...before.objects.keys(), ...now.objects.keys()])) {
    const [was, is] = [before.objects.get(name), now.objects.get(name)];
    if (was === is) continue;
    const ours = is !== undefined && /bowline\.dev|managed-by: bowline/.test(is);
    if (except.test(name) && !ours) continue;
    left.push(`${name} ${was === undefined ? 'is new' : is === undefined ? 'is gone' : 'is changed'}`);
  }
  const [was, is] = [before.machine.split('\n'), now.machine.split('\n')];
  const gone = was.filter((line) => !is.includes(line)).map((line) => `machine: "${line}" is gone`);
  const fresh = is.filter((line) => !was.includes(line)).map((line) => `machine: "${line}" is new`);
  return [...left, ...gone, ...fresh];
}

function logOf({ machine }: Developer): Said[] {
  const file = machine.path(`${machine.home}/.local/state/bowline/daemon.log`);
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, string>)
    .map(({ time = '', event = '', state = '', reason = '' }) => ({ at: Date.parse(time), event, state, reason }));
}
