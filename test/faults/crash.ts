/**
 * One cell of the crash matrix: connect and disconnect on a machine and a namespace of their own, something killed at one
 * crash point of the daemon, and everything compared with what was there before. All is done by the command itself.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectPoints, crashPoints, type CrashPoint } from '../../daemon/crash-points/points.ts';
import { defineService } from '../../helper/service/linux.ts';
import { kill, processesIn } from '../cluster/processes.ts';
import { waitUntil } from '../cluster/wait.ts';
import { startDeveloper } from '../e2e/developer.ts';
import {
  assertAsBefore,
  before,
  container,
  podSpec,
  programMap,
  service,
  workload,
  type Before,
} from '../e2e/redirect-testbed.ts';
import type { ChildProcess } from 'node:child_process';

export const victims = ['daemon', 'helper', 'daemon and helper', 'machine', 'agent', 'keeper'] as const;
/** `machine`: daemon and helper die, and nothing is started before the keeper has put everything back. */
export type Victim = (typeof victims)[number];

export interface Cell {
  point: CrashPoint;
  victim: Victim;
  /** A bare pod, where that is another step. */
  pod: boolean;
  stop: boolean;
}

export interface Outcome extends Cell {
  /** Milliseconds from the last thing that somebody has to do until everything was as before; `undefined` where it never was. */
  took: number | undefined;
  /** How it went on, or what is wrong. */
  result: string;
}

const stopPoints: CrashPoint[] = [
  'original-pod-kept',
  'stop-recorded',
  'originals-stopped',
  'originals-started',
  'originals-owners-restored',
];

/** From the one to the other, both included. */
const between = (first: CrashPoint, last: CrashPoint): Set<CrashPoint> =>
  new Set(crashPoints.slice(crashPoints.indexOf(first), crashPoints.indexOf(last) + 1));

/** Where there is such a victim at all. */
const there: Partial<Record<Victim, Set<CrashPoint>>> = {
  machine: between('service-redirected', 'lease-removed'),
  agent: between('agent-created', 'service-owners-restored'),
  keeper: between('keeper-created', 'service-owners-restored'),
};

export const cells: Cell[] = victims.flatMap((victim) =>
  crashPoints
    .filter((point) => there[victim]?.has(point) ?? true)
    .flatMap((point) => {
      const stop = stopPoints.includes(point) || victim === 'machine';
      const cell = { point, victim, stop };
      if (point === 'original-pod-kept') return [{ ...cell, pod: true }];
      const too = point === 'originals-stopped' || point === 'originals-started';
      return [{ ...cell, pod: false }, ...(too ? [{ ...cell, pod: true }] : [])];
    }),
);

export const nameOf = ({ point, victim, pod }: Cell): string => `${point}${pod ? ' (bare pod)' : ''}: ${victim}`;

const helperFolder = '/usr/local/lib/bowline-helper';
const unit = defineService({
  uid: 1500,
  gid: 1500,
  node: `${helperFolder}/node`,
  program: `${helperFolder}/main.mjs`,
  allowSuffixes: [],
});
/** The command that systemd runs at boot. */
const helperAtBoot = /^ExecStart=(.*)$/m.exec(unit.content)![1]!;
/** Hosts file, addresses, redirected ports, what is saved, files of volumes. */
const machineState = `
cat /etc/hosts
ls -A /etc | grep -i bowline
ip -oneline address | tr -s ' ' | cut -d ' ' -f 2-4
iptables-save -t nat | grep -v '^#' | sed 's/\\[.*\\]//'
find /home/dev/.local/state/bowline/sessions /run/user/1500/bowline/files -mindepth 1 2>/dev/null | sort
`;

/** Milliseconds. */
const patience = 60_000;

export interface Lane extends AsyncDisposable {
  /** Connects, kills, goes on, disconnects, compares. Never rejects: what went wrong is the result. */
  run(cell: Cell): Promise<Outcome>;
  /** Every point that a whole connect and disconnect of a workload and of a bare pod come by. */
  reached(): Promise<Set<string>>;
}

export async function startLane(name: string): Promise<Lane> {
  await using undo = new AsyncDisposableStack();
  const dev = undo.use(await startDeveloper({ name, helper: true }));
  const { namespace, machine, cluster } = dev;
  const ports = [{ name: 'http', port: 80, targetPort: 'http' }];
  await namespace.apply([
    programMap,
    workload('Deployment', 'web', podSpec([container(cluster)], { terminationGracePeriodSeconds: 1 })),
    service('web', 'web', ports),
    service('web-too', 'web', ports),
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'bare', labels: { app: 'bare' } },
      spec: podSpec([container(cluster)], { terminationGracePeriodSeconds: 1 }),
    },
    service('bare', 'bare', ports),
  ]);
  await namespace.rollout('deploy/web', 120_000);
  await namespace.kubectl(['wait', 'pod/bare', '--for=condition=Ready', '--timeout=60s'], { timeout: 65_000 });
  const folder = `${machine.home}/points`;
  await dev.sh(`mkdir ${folder}`);
  const points = machine.path(folder);
  const env = { BOWLINE_CRASH_POINTS: folder };
  const stateOfMachine = (): Promise<string> => dev.sh(machineState, { user: 'root' });
  const was = { hosts: machine.hosts(), machine: await stateOfMachine() };

  /** Those whose program this is, of the machine or of a pod. */
  const helperPids = (): number[] => ofMachine(machine.path('/'), `${helperFolder}/main.mjs`);
  const killed = async (what: string, pids: () => number[]): Promise<void> => {
    const found = pids();
    assert.ok(found.length > 0, `there is no ${what} to kill`);
    found.forEach(kill);
    await waitUntil(() => pids().length === 0, { what: `end of the ${what}` });
  };
  const startHelper = async (): Promise<void> => {
    await dev.sh(`nohup ${helperAtBoot} > /dev/null 2>&1 &`, { user: 'root' });
    await waitUntil(async () => (await dev.bowline(['helper', 'status'])).exitCode === 0, { what: 'the helper' });
  };
  /** Kills the main process of a pod's container, as the kernel would that is short of memory; elsewhere the whole pod. */
  const killInPod = async (label: string, program: string): Promise<void> => {
    if (cluster.instance === undefined) {
      await namespace.kubectl(['delete', 'pods', '-l', label, '--grace-period=0', '--force']);
      return;
    }
    const pids = await waitUntil(
      async () => {
        const { items } = await namespace.get<{ items: Array<{ metadata: { uid: string } }> }>('pods', '-l', label);
        const found = items.flatMap(({ metadata }) => ofPod(metadata.uid, program));
        return found.length > 0 && found;
      },
      { what: `a process ${program} of a pod ${label}` },
    );
    pids.forEach(kill);
  };

  const strike = async (victim: Victim): Promise<void> => {
    const daemon = (): number[] => ofMachine(machine.path('/'), 'daemon/main.ts');
    if (victim === 'daemon' || victim === 'daemon and helper' || victim === 'machine') await killed('daemon', daemon);
    if (victim === 'helper' || victim === 'daemon and helper' || victim === 'machine')
      await killed('helper', helperPids);
    if (victim === 'agent') await killInPod('bowline.dev/session', 'agent.mjs');
    if (victim === 'keeper') await killInPod('bowline.dev/keeper', 'keeper.mjs');
  };

  const connectArgs = ({ pod, stop, victim }: Omit<Cell, 'point'>): string[] => [
    'connect',
    pod ? 'pod/bare' : 'deploy/web',
    '--namespace',
    namespace.name,
    '--port=3001',
    '--drain=1',
    ...(victim === 'machine' ? ['--lapse', '5'] : []),
    ...(stop ? ['--stop-original'] : []),
  ];

  const assertMachine = async (): Promise<void> => {
    assert.equal(machine.hosts(), was.hosts, 'the hosts file is not as before');
    const state = await stateOfMachine();
    assert.equal(state, was.machine, 'the machine is not as before');
  };
  /** Milliseconds until cluster and machine are as before. */
  const untilAsBefore = async (objects: Before, { stop }: Cell, look: () => Promise<void>): Promise<number> => {
    const began = performance.now();
    // What is stopped is made again under another name, or with another uid and address.
    const except = stop ? { names: /^(EndpointSlice|Endpoints|Pod\/web-)/, anew: /^Pod\/bare$/ } : {};
    await waitUntil(() => assertAsBefore(namespace, objects, except).then(() => true), {
      what: 'cluster as before',
      timeout: patience - 15_000, // its own
    });
    await look();
    return performance.now() - began;
  };

  /** Whatever is connected is let go. */
  const disconnectAll = async (): Promise<string> => {
    const { connections } = await waitUntil(
      async () => {
        const status = await dev.status();
        const settled = status.connections.every(({ state }) => state === 'connected' || state === 'failed');
        return settled && status;
      },
      { what: 'connections that are connected or released', timeout: patience, interval: 500 },
    );
    const connected = connections.filter(({ state }) => state === 'connected');
    if (connected.length > 0) await dev.must(['disconnect', '--all']);
    return connected.length > 0 ? 'went on' : 'undone';
  };

  const clearPoints = (): void => readdirSync(points).forEach((each) => rmSync(join(points, each)));
  /** Until the daemon halts at the point; the command that led there goes on. */
  const halted = async (cell: Cell): Promise<ChildProcess> => {
    const isConnect = (connectPoints as readonly CrashPoint[]).includes(cell.point);
    if (!isConnect) {
      await dev.must(connectArgs(cell), { env, timeout: 2 * patience });
      clearPoints();
    }
    writeFileSync(join(points, `${cell.point}.halt`), '');
    const command = dev.start(isConnect ? connectArgs(cell) : ['disconnect', '--all'], { env });
    const said: Buffer[] = [];
    command.stdout?.resume();
    command.stderr?.on('data', (chunk: Buffer) => said.push(chunk));
    await waitUntil(
      () => {
        if (command.exitCode !== null && !existsSync(join(points, cell.point))) return 'ended' as const;
        return existsSync(join(points, cell.point)) && ('halted' as const);
      },
      { what: `the point ${cell.point}`, timeout: patience, interval: 10 },
    ).then((how) => assert.equal(how, 'halted', `${cell.point} was not reached: ${Buffer.concat(said).toString()}`));
    return command;
  };

  const attempt = async (cell: Cell): Promise<{ took: number; result: string }> => {
    const { victim } = cell;
    clearPoints();
    const objects = await before(namespace);
    const command = await halted(cell);
    const end = command.exitCode === null ? once(command, 'exit') : Promise.resolve();
    await strike(victim);
    rmSync(join(points, `${cell.point}.halt`));
    if (victim === 'machine') {
      const took = await untilAsBefore(objects, cell, async () => undefined);
      await startHelper();
      assert.equal(machine.hosts(), was.hosts, 'the hosts file is not as before when the helper has started');
      await end;
      // The next daemon finds that all is done.
      await dev.must(['daemon', 'start']);
      await disconnectAll();
      await untilAsBefore(objects, cell, assertMachine);
      return { took, result: 'put back by the keeper' };
    }
    if (victim === 'helper' || victim === 'daemon and helper') await startHelper();
    if (victim === 'daemon and helper')
      assert.equal(machine.hosts(), was.hosts, 'the hosts file is not as before when the helper has started');
    await end;
    if (victim === 'daemon' || victim === 'daemon and helper') await dev.must(['daemon', 'start']);
    const began = performance.now();
    const result = await disconnectAll();
    await untilAsBefore(objects, cell, assertMachine);
    return { took: performance.now() - began, result };
  };

  const kept = undo.move();
  return {
    async run(cell) {
      try {
        return { ...cell, ...(await attempt(cell)) };
      } catch (error) {
        return { ...cell, took: undefined, result: error instanceof Error ? error.message : String(error) };
      } finally {
        clearPoints();
        if (helperPids().length === 0) await startHelper();
        await dev.bowline(['daemon', 'stop']);
      }
    },
    async reached() {
      clearPoints();
      for (const pod of [false, true]) {
        await dev.must(connectArgs({ pod, stop: true, victim: 'daemon' }), { env, timeout: 2 * patience });
        await dev.must(['disconnect', '--all']);
      }
      await dev.must(['daemon', 'stop']);
      return new Set(readdirSync(points));
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Processes with this word in their command line, in the mounts of a machine whose root this is. */
function ofMachine(root: string, word: string): number[] {
  const holder = Number(/^\/proc\/(\d+)\//.exec(root)?.[1]);
  const mounts = readlinkSync(`/proc/${holder}/ns/mnt`);
  return processesIn('mnt', mounts).filter((pid) => commandOf(pid).includes(word));
}

/** Processes of a pod; its cgroup has its uid, with - or _ in it. */
function ofPod(uid: string, word: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => read(`/proc/${pid}/cgroup`).replaceAll('_', '-').includes(uid) && commandOf(pid).includes(word));
}

const commandOf = (pid: number): string => read(`/proc/${pid}/cmdline`);

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // it has ended
  }
}
