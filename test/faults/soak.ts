/**
 * `npm run soak -- --minutes N [--rounds N] [--seed S]`: connects, does something at random, checks, disconnects, again and
 * again under load. Each round leaves nothing; no request is lost; memory and open files of daemon and helper do not grow.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Random } from '../../env-parser/testing/random.ts';
import { waitUntil } from '../cluster/wait.ts';
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

/** Of one process after a round. */
interface Size {
  memory: number;
  files: number;
}

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
await using stage = await startStage('soak');
const { dev, load } = stage;
const began = Date.now();
const before = await stage.before();
const sizes: Record<'daemon' | 'helper', Size[]> = { daemon: [], helper: [] };
const counts = new Map<string, number>();
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
  try {
    await chosen.run(stage);
    await dev.must(['disconnect', '--all']);
    const left = await stage.leftovers(before);
    for (const each of left) note(`${what}: ${each}`);
  } catch (error) {
    note(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    await dev.bowline(['disconnect', '--all']);
  }
  counts.set(chosen.name, (counts.get(chosen.name) ?? 0) + 1);
  if (!early) {
    sizes.daemon.push(sizeOf((await dev.json<{ pid: number }>(['daemon', 'status'])).pid));
    sizes.helper.push(sizeOf(await helperPid(stage)));
  }
  done += 1;
  report(`${what}: ${((performance.now() - started) / 1000).toFixed(1)} s, ${problems.length} problems`);
}
const records = (await load.records()).filter(({ target }) => target === 'subject');
const lost = records.filter(({ error }) => error !== undefined);
const grown = Object.entries(sizes).flatMap(([name, seen]) => growth(name, seen));
const minutes = Math.round((Date.now() - began) / 60_000);

if (done >= 200) writeSection('soak', page());
for (const each of grown) report(each);
for (const { at, ms, error } of lost) report(`lost: ${new Date(at).toISOString()} after ${ms} ms: ${error}`);
report(
  `${done} rounds in ${minutes} min, seed ${seed}: ${problems.length} problems, ${lost.length} of ${records.length} requests lost`,
);
process.exitCode = problems.length + grown.length + lost.length > 0 ? 1 : 0;

function page(): string {
  const rows = [...counts].sort(([a], [b]) => a.localeCompare(b)).map(([name, count]) => [name, count]);
  const measured = Object.entries(sizes).map(([name, seen]) => {
    const [first, last] = quarters(seen);
    return [name, `${first.memory} → ${last.memory} MB`, `${first.files} → ${last.files}`];
  });
  return `${done} rounds in ${minutes} minutes, seed ${seed}: ${problems.length} problems; of ${records.length} requests ${lost.length} were lost.

${table(['what happened', 'rounds'], rows)}

Medians of the first and the last quarter of the rounds with one and the same daemon and helper:

${table(['process', 'memory', 'open files'], measured)}`;
}

/** A tenth and 8 MB more is what a heap breathes. */
function growth(name: string, seen: Size[]): string[] {
  if (seen.length < 8) return [];
  const [first, last] = quarters(seen);
  return [
    ...(last.memory > first.memory * 1.1 + 8 ? [`${name}: memory grew from ${first.memory} to ${last.memory} MB`] : []),
    ...(last.files > first.files + 2 ? [`${name}: open files grew from ${first.files} to ${last.files}`] : []),
  ];
}

function quarters(seen: Size[]): [first: Size, last: Size] {
  const quarter = Math.max(1, Math.floor(seen.length / 4));
  return [medians(seen.slice(0, quarter)), medians(seen.slice(-quarter))];
}

function medians(seen: Size[]): Size {
  const median = (numbers: number[]): number => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
  return { memory: median(seen.map(({ memory }) => memory)), files: median(seen.map(({ files }) => files)) };
}

/** Megabytes of its own, and how many files it has open. */
function sizeOf(pid: number): Size {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kilobytes = Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1]);
  return { memory: Math.round(kilobytes / 1024), files: readdirSync(`/proc/${pid}/fd`).length };
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
