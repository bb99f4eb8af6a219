/**
 * The faults of the matrix. Each happens while the workload is redirected and under load, waits until it is over, and says
 * when it began; what it did to callers, machine and cluster is measured around it (matrix.ts).
 */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from '../../api/schema.ts';
import { cordon } from '../cluster/cordon.ts';
import { holdProgram, killProgram } from '../cluster/program.ts';
import { createNamespace } from '../cluster/namespace.ts';
import { waitUntil } from '../cluster/wait.ts';
import { startWorker, type Worker } from '../cluster/worker.ts';
import { container, podSpec, programMap, service, workload } from '../e2e/redirect-testbed.ts';
import { storeName, webWorkload, workloadName, type Stage } from './stage.ts';

export interface Injected {
  /** Milliseconds since 1970. */
  began: number;
  /** When the cause was gone, where somebody takes it away: from then on the machine has 3 s to answer again. */
  over?: number;
  /** Seconds from the lapse of the Lease until everything was put back in the cluster. */
  restored?: number;
  /** Seconds until the daemon said what had happened. */
  noticed?: number;
  /** Where nobody can answer, so that lost requests say nothing: why. */
  unanswerable?: string;
  /**
   * Where something dies without a word: when the first request was sent that an original answered, in milliseconds since
   * 1970. Those sent before went to a dead endpoint that nobody could know of; how many were lost is told, and how long it was.
   */
  knownAt?: number;
  /** Something else that was measured, in words. */
  remark?: string;
}

export interface Fault {
  name: string;
  /** What is under way then may be lost. */
  cuts?: true;
  /** More arguments of `connect`. */
  connect?: string[];
  prepare?: (stage: Stage) => Promise<void>;
  inject: (stage: Stage, connection: Connection) => Promise<Injected>;
  /** Takes away what the fault left of its own, after the connection has ended. */
  cleanUp?: (stage: Stage) => Promise<void>;
  /** Objects of the namespace that the fault itself makes anew. */
  anew?: RegExp;
}

const made = /^(Pod|EndpointSlice|Endpoints|ReplicaSet)\/web-?|^Endpoints\/web$/;
const deployed = /^((Pod|EndpointSlice|ReplicaSet)\/web-|(Deployment|Endpoints)\/web$)/;
const lapse = 10;

/** Links and sleep. */
export const linkFaults: Fault[] = [
  {
    name: 'link cut for 2 s',
    cuts: true,
    inject: (stage) => cutLink(stage, 2),
  },
  {
    name: 'link cut for 20 s',
    cuts: true,
    async inject(stage, connection) {
      await using held = await holdConnection(stage);
      const { began, over } = await cutLink(stage, 20);
      await held.ended;
      await stage.hears(/^reconnecting: .+ Next try in \d/, began);
      await backAsBefore(stage, connection, over);
      return { began, over };
    },
  },
  {
    name: 'another network, and back: the machine has another address (Wi-Fi, VPN)',
    cuts: true,
    async inject(stage, connection) {
      const began = Date.now();
      for (let change = 0; change < 2; change += 1) {
        const changed = Date.now();
        await stage.dev.machine.changeNetwork();
        await stage.hears(/^reconnecting: /, changed);
        await stage.answeredHere();
        await backAsBefore(stage, connection, changed);
      }
      return { began };
    },
  },
  {
    name: 'daemon stopped for 20 s (SIGSTOP)',
    cuts: true,
    async inject(stage, connection) {
      const { began, over } = await stopDaemon(stage, 20);
      await stage.answeredHere();
      await backAsBefore(stage, connection, over);
      return { began, over };
    },
  },
  {
    name: `daemon stopped beyond the lapse of ${lapse} s (SIGSTOP)`,
    cuts: true,
    connect: ['--lapse', String(lapse)],
    async inject(stage) {
      const restored = restoredAfter(stage, Date.now() + lapse * 1000);
      const { began, over } = await stopDaemon(stage, 30);
      await stage.hears(/gave no sign for 10 s .+ put back/, over);
      await stage.answeredHere();
      return { began, restored: await restored };
    },
  },
];

export const longFaults: Fault[] = [
  {
    name: 'link cut for 5 min, beyond the lapse of 30 s',
    cuts: true,
    connect: ['--lapse', '30'],
    async inject(stage) {
      const restored = restoredAfter(stage, Date.now() + 30_000);
      const { began, over } = await cutLink(stage, 300);
      await stage.hears(/gave no sign for 30 s .+ put back/, over);
      await stage.answeredHere();
      return { began, restored: await restored };
    },
  },
];

export const targetFaults: Fault[] = [
  {
    name: 'agent pod deleted',
    async inject(stage, connection) {
      const began = await deleteAgent(stage, connection);
      await tiedElsewhere(stage, connection, 60_000);
      return { began };
    },
  },
  {
    name: 'agent killed by force',
    cuts: true,
    async inject(stage, connection) {
      const began = await deleteAgent(stage, connection, '--grace-period=0', '--force');
      const { at: knownAt } = await stage.answeredThere();
      await tiedElsewhere(stage, connection, 60_000);
      return { began, knownAt };
    },
  },
  {
    name: 'target rolled out',
    anew: deployed,
    async inject({ dev: { namespace } }) {
      const began = Date.now();
      await namespace.kubectl(['rollout', 'restart', `deploy/${workloadName}`]);
      await namespace.rollout(`deploy/${workloadName}`);
      return { began };
    },
  },
  {
    name: 'target edited: another variable',
    anew: deployed,
    async inject({ dev: { namespace } }) {
      const began = Date.now();
      await namespace.kubectl(['set', 'env', `deploy/${workloadName}`, 'EDITED=yes']);
      await namespace.rollout(`deploy/${workloadName}`);
      return { began };
    },
  },
  {
    name: 'target scaled to 4, and back',
    anew: made,
    inject: (stage) => scale(stage, 4),
  },
  {
    name: 'target scaled to 0, and back',
    anew: made,
    inject: (stage) => scale(stage, 0),
  },
  {
    name: 'target deleted, and deployed again',
    anew: deployed,
    async inject({ dev: { namespace, cluster } }) {
      const began = Date.now();
      await namespace.kubectl(['delete', `deploy/${workloadName}`, '--cascade=foreground']);
      await namespace.apply([webWorkload(cluster)]);
      await namespace.rollout(`deploy/${workloadName}`);
      return { began };
    },
  },
];

const web = service(workloadName, workloadName, [{ name: 'http', port: 80, targetPort: 'http' }]);

export const serviceFaults: Fault[] = [
  {
    name: 'selector of the Service put back by somebody else',
    async inject(stage) {
      const began = Date.now();
      const value = { app: workloadName };
      await stage.dev.namespace.kubectl([
        'patch',
        `service/${workloadName}`,
        '--field-manager=somebody',
        '--type=json',
        `-p=${JSON.stringify([{ op: 'replace', path: '/spec/selector', value }])}`,
      ]);
      const noticed = await stage.hears(/^reconnecting: .+ was given the selector app=web by somebody at/, began);
      await stage.answeredThere();
      return { began, noticed };
    },
  },
  {
    name: 'Service applied again from its manifest',
    async inject(stage) {
      const began = Date.now();
      await stage.dev.namespace.apply([web]);
      await stage.answeredHere();
      return { began };
    },
  },
  {
    name: 'Service deleted, and made again',
    anew: /^(Service|Endpoints)\/web$|^EndpointSlice\/web-/,
    async inject(stage) {
      const { namespace } = stage.dev;
      const began = Date.now();
      await namespace.kubectl(['delete', `service/${workloadName}`]);
      const noticed = await stage.hears(/^reconnecting: Service web .+ was deleted/, began);
      await namespace.apply([web]);
      await stage.answeredThere();
      return { began, noticed, unanswerable: 'there is no Service' };
    },
  },
  {
    name: 'namespace of another connection deleted',
    async inject(stage) {
      const { dev } = stage;
      const other = await createNamespace(dev.cluster, { prefix: 'doomed' });
      await other.apply([programMap, workload('Deployment', 'api', podSpec([container(dev.cluster)])), apiService]);
      await other.rollout('deploy/api');
      await dev.must(['connect', 'deploy/api', '-n', other.name, '--port', '3002:8080', '--drain', '2']);
      const began = Date.now();
      await dev.cluster.kubectl(['delete', 'namespace', other.name, '--timeout=60s'], { timeout: 65_000 });
      const gone = async (): Promise<boolean> => !/connected|connecting/.test(await stateOfOther(stage, other.name));
      await waitUntil(gone, { what: 'the end of the connection', timeout: 60_000 });
      await stage.answeredHere();
      return { began };
    },
  },
];
const apiService = service('api', 'api', [{ name: 'http', port: 80, targetPort: 'http' }]);

export const machineFaults: Fault[] = [
  {
    name: 'disk of the daemon full',
    cuts: true,
    async prepare({ dev }) {
      const folder = `${dev.machine.home}/.local/state/bowline`;
      await dev.must(['daemon', 'stop']);
      await dev.sh(`mkdir -m 700 -p ${folder}`); // his own: on a new machine it is not there yet
      await dev.sh(`mount -t tmpfs -o size=512k,mode=700,uid=1500,gid=1500 bowline ${folder}`, {
        user: 'root',
      });
    },
    async inject(stage, connection) {
      const { dev } = stage;
      const folder = `${dev.machine.home}/.local/state/bowline`;
      const began = Date.now();
      await dev.sh(`dd if=/dev/zero of=${folder}/fill bs=1k 2>/dev/null; df --output=avail ${folder} | grep -qx ' *0'`);
      const { over } = await cutLink(stage, 8);
      await backAsBefore(stage, connection, over);
      const refused = await dev.bowline(['connect', `deploy/${storeName}`, '-n', dev.namespace.name, '--port', '6379']);
      if (refused.exitCode === 0 || !/ENOSPC|disk|space/i.test(refused.stderr)) {
        throw new Error(`connect with a full disk: status ${refused.exitCode}\n${refused.stderr}`);
      }
      return { began, over };
    },
    async cleanUp({ dev }) {
      const folder = `${dev.machine.home}/.local/state/bowline`;
      await dev.must(['daemon', 'stop']);
      await dev.sh(`umount --lazy ${folder}`, { user: 'root' });
    },
  },
  {
    name: 'credentials expired for 20 s',
    async prepare(stage) {
      await stage.dev.must(['daemon', 'stop']);
      await giveLogin(stage);
    },
    async inject(stage) {
      const { namespace, machine } = stage.dev;
      const began = Date.now();
      await stage.dev.sh(`rm ${machine.home}/token`);
      await namespace.kubectl(['delete', 'secret', 'login']);
      await stage.hears(/^reconnecting: .*(credential|log in|login)/i, began);
      await delay(Math.max(0, began + 20_000 - Date.now()));
      const asked = Date.now();
      await login(stage);
      const over = Date.now();
      await stage.hears(/^connected/, asked);
      await stage.answeredHere();
      return { began, over };
    },
    async cleanUp(stage) {
      const { namespace, machine } = stage.dev;
      await stage.dev.must(['daemon', 'stop']);
      await stage.dev.sh(`mv ${machine.kubeconfig}.own ${machine.kubeconfig}; rm -f ${machine.home}/token`);
      await namespace.kubectl(['delete', 'secret/login', 'serviceaccount/developer', 'rolebinding/developer']);
    },
  },
  {
    name: 'hosts file edited by somebody else',
    async inject(stage) {
      const { dev } = stage;
      const began = Date.now();
      await dev.sh("sed -i '$ a 192.0.2.9 scanner' /etc/hosts", { user: 'root' });
      await dev.namespace.apply([service('later', storeName, [{ name: 'tcp', port: 6379 }])]);
      await waitUntil(() => dev.machine.hosts().includes(' later'), { what: 'the new name' });
      await storeAnswers(stage, 'later');
      await stage.answeredHere();
      await dev.namespace.kubectl(['delete', 'service/later']);
      if (!dev.machine.hosts().includes('192.0.2.9 scanner')) throw new Error('the line of somebody else is gone');
      return { began };
    },
    async cleanUp({ dev }) {
      await dev.sh("sed -i '/scanner/ d' /etc/hosts", { user: 'root' });
    },
  },
  {
    name: 'hosts file read-only for 10 s',
    async inject(stage) {
      const { dev } = stage;
      await dev.sh('mount --bind /etc/hosts /etc/hosts && mount -o remount,bind,ro /etc/hosts', { user: 'root' });
      const began = Date.now();
      await dev.namespace.apply([service('later', storeName, [{ name: 'tcp', port: 6379 }])]);
      const noted = async (): Promise<boolean> =>
        (await dev.connection()).services.some((each) => each.service === 'later' && (each.notes ?? []).length > 0);
      await waitUntil(noted, { what: 'a note that the name could not be written' });
      await delay(Math.max(0, began + 10_000 - Date.now()));
      await dev.sh('umount /etc/hosts', { user: 'root' });
      await waitUntil(() => dev.machine.hosts().includes(' later'), { what: 'the name, later' });
      await storeAnswers(stage, 'later');
      await dev.namespace.kubectl(['delete', 'service/later']);
      await stage.answeredHere();
      return { began };
    },
  },
  {
    name: 'clock put forward by an hour, and back by two',
    async prepare({ dev }) {
      await dev.must(['daemon', 'stop']);
      await dev.sh('echo +0 > ~/clock');
      // Set by `env` in the machine: the programs on the way there are root's.
      await dev.sh(`env ${fakeClock(dev.machine.home)} ${dev.machine.checkout}/bowline daemon start`);
    },
    async inject(stage) {
      const { dev } = stage;
      const began = Date.now();
      for (const offset of ['+3600', '-3600']) {
        await dev.sh(`echo ${offset} > ~/clock`);
        // The Lease is renewed, and another connection made, by that clock.
        const renewed = Date.now() + Number(offset) * 1000;
        await waitUntil(
          async () => (await renewTime(stage)) > renewed - 60_000 && (await renewTime(stage)) < renewed + 600_000,
          {
            what: `renewal by the clock ${offset}`,
            timeout: 60_000,
          },
        );
        await dev.must(['connect', `deploy/${storeName}`, '-n', dev.namespace.name, '--no-redirect']);
        await dev.must(['disconnect', storeName]);
        await stage.answeredHere();
      }
      return { began };
    },
    connect: ['--lapse', '20'],
    async cleanUp({ dev }) {
      await dev.must(['daemon', 'stop']);
      await dev.sh('rm ~/clock');
    },
  },
];

/** Of the whole cluster: nothing else runs beside them. */
export const clusterFaults: Fault[] = [
  {
    name: 'API server killed, and started again',
    cuts: true,
    async inject(stage) {
      const { instance } = stage.dev.cluster;
      if (instance === undefined) throw new Error('only the API server of our own cluster can be killed');
      const began = Date.now();
      await killProgram(instance, 'kube-apiserver');
      await waitUntil(() => stage.dev.cluster.kubectl(['get', '--raw', '/readyz']), {
        what: 'API server',
        timeout: 60_000,
      });
      const over = Date.now();
      await stage.answeredHere();
      return { began, over };
    },
  },
  targetBeforeKubeProxyKnows(),
  onWorker({
    name: 'node of the agent drained',
    async inject(stage, connection, worker) {
      const began = Date.now();
      const drain = ['drain', worker.name, '--ignore-daemonsets', '--delete-emptydir-data', '--force', '--timeout=60s'];
      await stage.dev.cluster.kubectl(drain, { timeout: 65_000 });
      await tiedElsewhere(stage, connection, 60_000);
      return { began };
    },
  }),
  onWorker({
    name: 'node of the agent lost',
    cuts: true,
    async inject(stage, connection, worker) {
      const began = Date.now();
      await worker.stop();
      const { at: knownAt } = await stage.answeredThere();
      await stage.hears(/^reconnecting: .+ on node worker .+ The originals answer meanwhile/, began);
      // Kubernetes calls the node lost after 50 s; until then nothing can be done about its pods.
      await tiedElsewhere(stage, connection, 180_000);
      const seconds = Math.round((Date.now() - began) / 1000);
      return { began, knownAt, remark: `tied to another agent after ${seconds} s` };
    },
  }),
];

/** The agent is led to original pods that have ended, and callers to the agent, when it is told to go. */
function targetBeforeKubeProxyKnows(): Fault {
  let known: Promise<void>;
  return {
    name: 'target scaled to 0, and back; kube-proxy knows 3 s after the disconnect began',
    anew: made,
    async inject(stage) {
      const { instance } = stage.dev.cluster;
      if (instance === undefined) throw new Error('only kube-proxy of our own cluster can be held');
      const held = stage.use(holdProgram(instance, 'kube-proxy'));
      const injected = await scale(stage, 0);
      known = untilDisconnecting(stage, injected.began, held);
      known.catch(() => undefined); // said by `cleanUp`, where it comes to that
      return injected;
    },
    cleanUp: () => known,
  };
}

async function untilDisconnecting(stage: Stage, began: number, held: AsyncDisposable): Promise<void> {
  await using _held = held;
  await stage.hears(/^disconnecting/, began);
  await delay(3000);
}

interface NodeFault extends Omit<Fault, 'inject' | 'prepare' | 'cleanUp'> {
  inject: (stage: Stage, connection: Connection, worker: Worker) => Promise<Injected>;
}

/** On a second node, which takes the agent and nothing else of the workload. */
function onWorker({ inject, ...fault }: NodeFault): Fault {
  let worker: Worker;
  let closed: AsyncDisposable;
  return {
    ...fault,
    async prepare(stage) {
      const { cluster } = stage.dev;
      worker = stage.use(await startWorker(cluster));
      closed = stage.use(await cordon(cluster, 'node1'));
    },
    async inject(stage, connection) {
      await closed[Symbol.asyncDispose]();
      if (connection.agent?.node !== worker.name) throw new Error(`the agent is on node ${connection.agent?.node}`);
      return inject(stage, connection, worker);
    },
    cleanUp: async () => worker[Symbol.asyncDispose](),
  };
}

async function cutLink(stage: Stage, seconds: number): Promise<{ began: number; over: number }> {
  const { machine } = stage.dev;
  const began = Date.now();
  await machine.cutLink();
  await delay(seconds * 1000);
  const over = Date.now();
  await machine.restoreLink();
  await stage.answeredHere();
  return { began, over };
}

async function stopDaemon({ dev }: Stage, seconds: number): Promise<{ began: number; over: number }> {
  const { pid } = await dev.json<{ pid: number }>(['daemon', 'status']);
  const began = Date.now();
  process.kill(pid, 'SIGSTOP');
  await delay(seconds * 1000);
  const over = Date.now();
  process.kill(pid, 'SIGCONT');
  return { began, over };
}

/** Until the Lease is gone; how many seconds after it lapsed. */
async function restoredAfter({ dev: { namespace } }: Stage, lapsed: number): Promise<number> {
  const leases = (): Promise<string> => namespace.kubectl(['get', 'leases', '-o', 'name']);
  await waitUntil(async () => (await leases()) === '', { what: 'the restore', timeout: 120_000, interval: 250 });
  return Math.max(0, Math.round((Date.now() - lapsed) / 100) / 10);
}

/** A new one comes by itself. Answers when it was told to go, in milliseconds since 1970. */
async function deleteAgent({ dev: { namespace } }: Stage, { id }: Connection, ...args: string[]): Promise<number> {
  const began = Date.now();
  await namespace.kubectl(['delete', 'pod', '-l', `bowline.dev/session=${id}`, '--wait=false', ...args]);
  return began;
}

/** Until the connection has another agent than before, and the machine answers through that one. */
async function tiedElsewhere(stage: Stage, { name, agent: former }: Connection, timeout: number): Promise<void> {
  const another = async (): Promise<boolean> => {
    const { state, agent } = await stage.dev.connection(name);
    return state === 'connected' && agent !== undefined && agent.pod !== former?.pod;
  };
  await waitUntil(another, { what: 'the tie to another agent', timeout, interval: 250 });
  await stage.answeredHere();
}

async function scale({ dev: { namespace } }: Stage, replicas: number): Promise<Injected> {
  const began = Date.now();
  for (const count of [replicas, 2]) {
    await namespace.kubectl(['scale', `deploy/${workloadName}`, `--replicas=${count}`]);
    await namespace.rollout(`deploy/${workloadName}`);
  }
  return { began };
}

/** A connection of a program on the machine to a service, open and silent: it must end with the link, not hang. */
async function holdConnection({ dev }: Stage): Promise<AsyncDisposable & { ended: Promise<unknown> }> {
  const script = `require('net').connect(6379, '${storeName}').on('connect', () => console.log('open')).on('error', () => 0)`;
  const child = dev.machine.spawn(['node', '-e', script]);
  const closed = once(child, 'close');
  await once(child.stdout!, 'data');
  return {
    ended: waitUntil(async () => child.exitCode !== null, {
      what: 'end of a connection over the cut link',
      timeout: 40_000,
    }),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await closed;
    },
  };
}

/** The same session with the same addresses, proved anew; names answer. */
async function backAsBefore(stage: Stage, before: Connection, over: number): Promise<void> {
  const { dev } = stage;
  const addresses = ({ services }: Connection): string =>
    JSON.stringify(
      services
        .filter((each) => each.namespace === before.namespace)
        .map(({ namespace, service: name, address, names }) => `${namespace}/${name} ${address} ${names.join()}`)
        .sort((a, b) => a.localeCompare(b)),
    );
  const back = await waitUntil(
    async () => {
      const now = await dev.connection(before.name);
      return now.state === 'connected' && Date.parse(now.proof?.at ?? '') > over && now;
    },
    { what: 'the proof that it is connected' },
  );
  if (back.id !== before.id) throw new Error('it is another session');
  if (addresses(back) !== addresses(before)) throw new Error(`other addresses: ${addresses(back)}`);
  await storeAnswers(stage, storeName);
}

async function storeAnswers({ dev }: Stage, name: string): Promise<void> {
  const script = `require('net').connect(6379, '${name}').on('data', (b) => { console.log(String(b)); process.exit(0) }).on('error', (e) => { console.error(e.message); process.exit(1) }).write('hello')`;
  await waitUntil(async () => (await dev.sh(`node -e "${script}"`)) === 'hello', { what: `an answer of ${name}` });
}

async function stateOfOther({ dev }: Stage, namespace: string): Promise<string> {
  const { connections } = await dev.status();
  return connections.find((each) => each.namespace === namespace)?.state ?? 'none';
}

async function renewTime({ dev: { namespace } }: Stage): Promise<number> {
  return Date.parse(
    await namespace.kubectl(['get', 'lease', `bowline-deployment-${workloadName}`, '-o', 'jsonpath={.spec.renewTime}']),
  );
}

/** A kubeconfig whose plugin gives a token that ends when its Secret is deleted, as a login does. */
async function giveLogin(stage: Stage): Promise<void> {
  const { namespace, machine } = stage.dev;
  await namespace.kubectl(['create', 'serviceaccount', 'developer']);
  await namespace.kubectl([
    'create',
    'rolebinding',
    'developer',
    '--clusterrole=cluster-admin',
    `--serviceaccount=${namespace.name}:developer`,
  ]);
  await login(stage);
  const program = `#!/bin/sh
if ! [ -s ${machine.home}/token ]; then echo 'the login has expired: log in again' >&2; exit 1; fi
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}' "$(cat ${machine.home}/token)"
`;
  await stage.dev.sh('cat > ~/login && chmod +x ~/login', { input: program });
  const config = JSON.parse(
    await stage.dev.cluster.kubectl(['config', 'view', '--raw', '--minify', '--flatten', '-o', 'json']),
  ) as { users: Array<{ user: object }> };
  config.users[0]!.user = {
    exec: { apiVersion: 'client.authentication.k8s.io/v1', command: `${machine.home}/login`, interactiveMode: 'Never' },
  };
  await stage.dev.sh(`cp ${machine.kubeconfig} ${machine.kubeconfig}.own && cat > ${machine.kubeconfig}`, {
    input: JSON.stringify(config),
  });
}

async function login({ dev }: Stage): Promise<void> {
  const { namespace } = dev;
  await namespace.apply([{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'login' } }]);
  const bound = ['--bound-object-kind=Secret', '--bound-object-name=login'];
  const token = await namespace.kubectl(['create', 'token', 'developer', ...bound]);
  await dev.sh('cat > ~/token', { input: token });
}

/** Time of day from a file, read at every look; what counts seconds since the start of the machine is left alone. */
function fakeClock(home: string): string {
  // `$LIB` is the loader's own word for the folder of this architecture.
  return `LD_PRELOAD='/usr/$LIB/faketime/libfaketimeMT.so.1' FAKETIME_TIMESTAMP_FILE=${home}/clock FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1`;
}
