/**
 * `npm run test:faults`: what can go wrong between a machine and a cluster, done to the real ones under a load of 50
 * requests a second. The table is written to docs/reliability.md as it came out, goals missed and all; then they fail.
 */
import assert from 'node:assert/strict';
import { after, suite, test, type TestContext } from 'node:test';
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
import { startStage, type Stage } from './stage.ts';

const rows = new Map<string, Row>();
const beside: Record<string, Fault[]> = {
  links: linkFaults,
  long: longFaults,
  target: targetFaults,
  services: serviceFaults,
  machine: machineFaults,
};
const all = [...Object.values(beside), clusterFaults].flat();
const hour = 3_600_000;

/** BOWLINE_FAULTS is an expression for the names of those that shall be done; all without it. */
const wanted = new RegExp(process.env['BOWLINE_FAULTS'] ?? '', 'i');

async function run(t: TestContext, stageName: string, faults: Fault[]): Promise<void> {
  await using stages = new AsyncDisposableStack();
  let stage: Stage | undefined;
  for (const fault of faults.filter(({ name }) => wanted.test(name))) {
    stage ??= stages.use(await startStage(`faults-${stageName}`));
    const row = await runFault(stage, fault).catch((error: unknown) => notMeasured(fault, error));
    rows.set(fault.name, row);
    t.diagnostic(JSON.stringify(row));
    await t.test(fault.name, () => assert.deepEqual(row.missed, []));
    // What a fault left that could not be ended may be in the way of the next one.
    if (row.requests === 0) {
      await stage[Symbol.asyncDispose]();
      stage = undefined;
    }
  }
}

function notMeasured({ name: fault }: Fault, error: unknown): Row {
  const reason = error instanceof Error ? error.message : String(error);
  const none = { back: undefined, noticed: undefined, restored: undefined, remark: 'not measured' };
  return { fault, requests: 0, failed: 0, cut: 0, silence: 0, leftovers: [], ...none, missed: [reason] };
}

void suite('faults', { timeout: hour }, () => {
  void suite('each on a stage of its own', { concurrency: 3, timeout: hour }, () => {
    for (const [name, faults] of Object.entries(beside)) {
      void test(name, { timeout: hour }, async (t) => {
        await run(t as TestContext, name, faults);
      });
    }
  });

  void test('of the whole cluster', { timeout: hour }, async (t) => {
    await run(t as TestContext, 'cluster', clusterFaults);
  });

  after(() => {
    const found = all.flatMap(({ name }) => rows.get(name) ?? []);
    console.log(JSON.stringify(found, undefined, 1));
  });
});
