/**
 * What can go wrong between a machine and a cluster, done to the real ones under a load of 50 requests a second:
 * `npm run test:faults -- faults` does all of it and writes the table to docs/reliability.md as it came out, goals missed and
 * all. `npm test` takes a sample: BOWLINE_SEED chooses another one, BOWLINE_FAULTS the faults by name.
 */
import assert from 'node:assert/strict';
import { after, suite, test, type TestContext } from 'node:test';
import { Random } from '../../env-parser/testing/random.ts';
import {
  clusterFaults,
  linkFaults,
  longFaults,
  machineFaults,
  serviceFaults,
  targetFaults,
  type Fault,
} from './faults.ts';
import { runFault, type Row } from './matrix.ts';
import { table, writeSection } from './report.ts';
import { startStage, type Stage } from './stage.ts';

const hour = 3_600_000;
const beside: Record<string, Fault[]> = {
  links: linkFaults,
  long: longFaults,
  target: targetFaults,
  services: serviceFaults,
  machine: machineFaults,
};
const alone: Record<string, Fault[]> = { cluster: clusterFaults };
const all = [...Object.values(beside), ...Object.values(alone)].flat();
const wanted = process.env['BOWLINE_FAULTS'];
const seed = Number(process.env['BOWLINE_SEED'] ?? 1);
const isSample = wanted === undefined;
const chosen = isSample ? sample() : all.filter(({ name }) => new RegExp(wanted, 'i').test(name));
const rows = new Map<Fault, Row>();

/** Two that take seconds and touch nobody else, on one stage. */
function sample(): Fault[] {
  const random = new Random(seed);
  const from = [...targetFaults, ...serviceFaults];
  const first = random.one(from);
  return [first, random.one(from.filter((each) => each !== first))];
}

async function run(t: TestContext, name: string, faults: Fault[]): Promise<void> {
  await using stages = new AsyncDisposableStack();
  let stage: Stage | undefined;
  for (const fault of faults) {
    const measured = async (): Promise<Row> =>
      runFault((stage ??= stages.use(await startStage(`faults-${name}`))), fault);
    const row = await measured().catch((error: unknown) => notMeasured(fault, error));
    rows.set(fault, row);
    t.diagnostic(JSON.stringify(row));
    await t.test(fault.name, () => assert.deepEqual([...row.missed, ...(isSample ? [] : row.late)], []));
    // What a fault left that could not be ended may be in the way of the next one.
    if (row.requests === 0) {
      await stage?.[Symbol.asyncDispose]();
      stage = undefined;
    }
  }
}

function notMeasured({ name: fault }: Fault, error: unknown): Row {
  const reason = error instanceof Error ? error.message : String(error);
  const none = { back: undefined, noticed: undefined, restored: undefined, remark: 'not measured' };
  return { fault, requests: 0, failed: 0, cut: 0, silence: 0, leftovers: [], ...none, missed: [reason], late: [] };
}

const stages = (of: Record<string, Fault[]>): Array<[name: string, faults: Fault[]]> =>
  Object.entries(of).flatMap(([name, faults]) => {
    const mine = faults.filter((each) => chosen.includes(each));
    return mine.length === 0 ? [] : [[name, mine]];
  });

void suite('faults', { timeout: hour }, () => {
  void suite('each on a stage of its own', { concurrency: 2, timeout: hour }, () => {
    for (const [name, faults] of isSample ? [['sample', chosen] as const] : stages(beside))
      void test(name, { timeout: hour }, (t) => run(t, name, faults));
  });

  void suite('of the whole cluster', { timeout: hour }, () => {
    for (const [name, faults] of isSample ? [] : stages(alone))
      void test(name, { timeout: hour }, (t) => run(t, name, faults));
  });

  after(() => {
    if (wanted === '') writeSection('faults', page(all.flatMap((fault) => rows.get(fault) ?? [])));
  });
});

function page(measured: Row[]): string {
  const seconds = (value: number | undefined): string => (value === undefined ? '' : value.toFixed(1));
  const lines = measured.map((row) => [
    row.fault,
    row.remark === undefined ? `${row.failed} of ${row.requests}` : `${row.failed} of ${row.requests} (${row.remark})`,
    row.cut,
    seconds(row.silence),
    seconds(row.back),
    seconds(row.noticed),
    seconds(row.restored),
    row.leftovers.length,
    [...row.missed, ...row.late].join('; ') || 'met',
  ]);
  const head = ['fault', 'failed', 'cut off', 'no answer', 'back', 'noticed', 'restored', 'left', 'goals'];
  return table(head, lines);
}
