/**
 * `npm run soak -- --minutes N [--rounds N] [--seed S]`: connects, does something at random, checks, disconnects, again and
 * again under load. Each round leaves nothing; no request is lost; what daemon and helper hold does not grow.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { Random } from '../../env-parser/testing/random.ts';
import { down, status } from '../cluster/cluster.ts';
import { instanceName } from '../cluster/instance.ts';
import { waitUntil } from '../cluster/wait.ts';
import { slopeOf } from './growth.ts';
import { heldBy, type Held } from './heap.ts';
import { table, writeSection } from './report.ts';
import { startStage, workloadName, type Stage } from './stage.ts';

interface Disturbance {
  name: string;
  /** Ends the daemon, whose memory can then not be followed: only in the first rounds. */
  kills?: boolean;
  run: (stage: Stage) => Promise<unknown>;
}

const disturbances: Disturbance[] = [
  { name: 'nothing', run: connected(async () => undefined) },
  { name: 'link cut for 1 s', run: connected(cutLink) },
  { name: 'daemon stopped for 1 s', run: connected(stopDaemon) },
  { name: 'agent deleted', run: connected(deleteAgent) },
  { name: 'selector put back by somebody else', run: connected(putBack) },
  { name: 'connect interrupted', run: (stage) => interrupted(stage, 'SIGINT') },
  { name: 'connect killed', run: (stage) => interrupted(stage, 'SIGKILL') },
  { name: 'daemon killed', kills: true, run: connected(killDaemon) },
  { name: 'helper killed', kills: true, run: connected(killHelper) },
];

/**
 * How much more a process may hold with each round of the second half. A tie that somebody forgets to let go of holds a TLS
 * connection, its certificates and the workload's description, some 100 kB, and a handle or more: what is forgotten in every
 * tenth round is found. What V8 notes of the shapes that code has seen stays below.
 */
const allowed = { bytes: 10_000, files: 0.1, handles: 0.1 };
/** How often the processes are asked: a collection stops them for a moment, and each takes the soak a second. */
const measurements = 40;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '20' },
    rounds: { type: 'string', default: '200' },
    seed: { type: 'string', default: String(Date.now() % 100_000) },
  },
});
const rounds = Number(values.rounds);
const seed = Number(values.seed);
const until = Date.now() + Number(values.minutes) * 60_000;
const random = new Random(seed);
const report = (line: string): void => void process.stderr.write(`soak: ${line}\n`);

report(`up to ${rounds} rounds within ${values.minutes} minutes, seed ${seed}`);
const name = instanceName();
const wasUp = process.env['BOWLINE_TEST_KUBECONFIG'] !== undefined || (await status(name))?.running === true;
await using cluster = new AsyncDisposableStack();
if (!wasUp) cluster.defer(() => down(name, { report }));
await using stage = await startStage('soak');
const { dev, load } = stage;
const began = Date.now();
const before = await stage.before();
const held: Record<'daemon' | 'helper', Held[]> = { daemon: [], helper: [] };
const counts = new Map<string, number>();
/** What a request that was sent at a moment met. */
const courseOfRounds: Array<{ at: number; what: string }> = [];
const problems: string[] = [];
const note = (problem: string): void => {
  problems.push(problem);
  report(problem);
};
let done = 0;
while (done < rounds && Date.now() < until) {
  const early = done < rounds / 4;
  const chosen = random.one(disturbances.filter(({ kills }) => kills !== true || early));
  const started = performance.now();
  const what = `round ${done + 1}, ${chosen.name}`;
  courseOfRounds.push({ at: Date.now(), what });
  try {
    await chosen.run(stage);
    await dev.must(['disconnect', '--all']);
    const left = await stage.leftovers(before);
    for (const each of left) note(`${what}: ${each}`);
    if (!early && (done + 1) % Math.ceil(rounds / measurements) === 0) await measure(done + 1);
  } catch (error) {
    note(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    await dev.bowline(['disconnect', '--all']);
  }
  counts.set(chosen.name, (counts.get(chosen.name) ?? 0) + 1);
  done += 1;
  report(`${what}: ${((performance.now() - started) / 1000).toFixed(1)} s, ${problems.length} problems`);
}
const all = await load.records();
const records = all.filter(({ target }) => target === 'subject');
const lost = records.filter(({ error }) => error !== undefined);
/** What the cluster loses by itself, on a machine that is short of time. */
const lostBeside = all.filter(({ target, error }) => target === 'control' && error !== undefined);
const grown = Object.entries(held).flatMap(([name, seen]) => growth(name, seen));
const minutes = Math.round((Date.now() - began) / 60_000);

if (done >= 200) writeSection('soak', page());
else process.stdout.write(`${page()}\n`);
for (const each of grown) report(each);
for (const { at, ms, error } of lost) {
  const round = courseOfRounds.findLast((each) => each.at <= at);
  report(`lost: ${new Date(at).toISOString()} after ${ms} ms: ${error}; in ${round?.what}`);
}
report(
  `${done} rounds in ${minutes} min, seed ${seed}: ${problems.length} problems, ${lost.length} of ${records.length} requests lost, ${lostBeside.length} of the Service beside it`,
);
process.exitCode = problems.length + grown.length + lost.length > 0 ? 1 : 0;

async function measure(round: number): Promise<void> {
  const daemon = await heldBy(dev.machine, await daemonPid(stage), round);
  const helper = await heldBy(dev.machine, await helperPid(stage), round);
  held.daemon.push(daemon);
  held.helper.push(helper);
  for (const [name, { bytes, files, handles }] of Object.entries({ daemon, helper }))
    report(`the ${name} holds ${kilobytes(bytes)}, ${files} files, ${handles.length} handles`);
}

function page(): string {
  const rows = [...counts].sort(([a], [b]) => a.localeCompare(b)).map(([name, count]) => [name, count]);
  return `${done} rounds in ${minutes} minutes, seed ${seed}: ${problems.length} problems; requests: ${records.length}, lost: ${lost.length} (of the Service beside it: ${lostBeside.length}).

${table(['what happened', 'rounds'], rows)}

What daemon and helper hold, one and the same process of each:

${table(['rounds', 'daemon', 'its files', 'its resident memory', 'helper', 'its files', 'its resident memory'], course())}

In the second half the daemon held ${kilobytes(slopes(held.daemon).bytes)} more with each round, the helper ${kilobytes(slopes(held.helper).bytes)}.`;
}

/** After about every 25 rounds, and at the end. */
function course(): string[][] {
  const cells = ({ bytes, files, resident }: Held): string[] => [
    `${(bytes / 1e6).toFixed(2)} MB`,
    String(files),
    `${resident} MB`,
  ];
  return held.daemon.flatMap((daemon, index) => {
    const next = held.daemon[index + 1];
    const shown = next === undefined || Math.floor(next.round / 25) > Math.floor(daemon.round / 25);
    return shown ? [[String(daemon.round), ...cells(daemon), ...cells(held.helper[index]!)]] : [];
  });
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(1)} kB`;
}

/** Those after the first half of all rounds; by then everything has been compiled and every buffer has its size. */
function second(seen: Held[]): Held[] {
  return seen.filter(({ round }) => round > done / 2);
}

/** Of each, per round. */
function slopes(seen: Held[]): typeof allowed {
  const of = (value: (each: Held) => number): number =>
    slopeOf(second(seen).map((each) => ({ round: each.round, value: value(each) })));
  return {
    bytes: of(({ bytes }) => bytes),
    files: of(({ files }) => files),
    handles: of(({ handles }) => handles.length),
  };
}

function growth(name: string, seen: Held[]): string[] {
  const grown = Object.entries(slopes(seen)).filter(([what, more]) => more > allowed[what as keyof typeof allowed]);
  return grown.map(
    ([what, more]) =>
      `${name}: ${more.toFixed(2)} ${what} more with each round; its handles are ${String(seen.at(-1)?.handles)}`,
  );
}

async function helperPid({ dev }: Stage): Promise<number> {
  return Number(await dev.sh('cat /var/lib/bowline/1500.pid', { user: 'root' }));
}

/** Connects, disturbs, and sees that requests and names are answered as they should. */
function connected(disturb: (stage: Stage) => Promise<'original' | undefined>): Disturbance['run'] {
  return async (on) => {
    await on.connect('--drain', '0');
    const answers = await disturb(on);
    if (answers === 'original') await on.answeredThere();
    else await on.answeredHere();
  };
}

async function cutLink({ dev: { machine } }: Stage): Promise<undefined> {
  await machine.cutLink();
  await delay(1000);
  await machine.restoreLink();
}

async function stopDaemon(on: Stage): Promise<undefined> {
  const pid = await daemonPid(on);
  process.kill(pid, 'SIGSTOP');
  await delay(1000);
  process.kill(pid, 'SIGCONT');
}

async function deleteAgent({ dev: { namespace } }: Stage): Promise<undefined> {
  await namespace.kubectl(['delete', 'pod', '-l', 'bowline.dev/session', '--wait=false']);
}

async function putBack({ dev: { namespace } }: Stage): Promise<'original'> {
  const body = [{ op: 'replace', path: '/spec/selector', value: { app: workloadName } }];
  await namespace.kubectl(['patch', `service/${workloadName}`, '--type=json', `-p=${JSON.stringify(body)}`]);
  return 'original';
}

async function killDaemon(on: Stage): Promise<undefined> {
  process.kill(await daemonPid(on), 'SIGKILL');
  await on.dev.must(['status']);
}

async function killHelper(on: Stage): Promise<undefined> {
  process.kill(await helperPid(on), 'SIGKILL');
  await on.dev.must(['helper', 'install']);
}

async function daemonPid({ dev }: Stage): Promise<number> {
  return (await dev.json<{ pid: number }>(['daemon', 'status'])).pid;
}

/** At any moment of the way up. */
async function interrupted({ dev }: Stage, signal: 'SIGINT' | 'SIGKILL'): Promise<void> {
  const child = dev.start(['connect', `deploy/${workloadName}`, '-n', dev.namespace.name, '--port', '3001']);
  const end = once(child, 'close');
  await delay(random.below(3000));
  child.kill(signal);
  await end;
  const settled = async (): Promise<boolean> =>
    (await dev.status()).connections.every(({ state }) => state !== 'connecting' && state !== 'disconnecting');
  await waitUntil(settled, { what: 'the end of what was begun', timeout: 60_000 });
}
