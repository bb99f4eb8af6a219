/**
 * Killed at every step: `npm run test:faults -- crash` runs the whole matrix and writes it to docs/reliability.md as it came
 * out, failed cells and all. `npm test` runs a sample: BOWLINE_SEED chooses another one, BOWLINE_FAULTS the cells by name.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { after, suite, test } from 'node:test';
import { crashPoints, type CrashPoint } from '../../daemon/crash-points/points.ts';
import { cells, nameOf, startLane, victims, type Outcome, type Victim } from './crash.ts';
import { table, writeSection } from './report.ts';

const hour = 3_600_000;
const sampleSize = 6;
const wanted = process.env['BOWLINE_FAULTS'];
const seed = Number(process.env['BOWLINE_SEED'] ?? 1);
/** In another order for another seed, so that what `--minutes` leaves time for is spread over all. */
const all = shuffled(cells, seed);
const chosen =
  wanted === undefined ? all.slice(0, sampleSize) : all.filter((cell) => new RegExp(wanted).test(nameOf(cell)));
const minutes = Number(process.env['BOWLINE_MINUTES'] ?? 120);
/** Of an earlier run of the same code: what went well there is not run again. */
const resumed = process.env['BOWLINE_RESUME'];
const lanes = Number(process.env['BOWLINE_LANES'] ?? (wanted === undefined ? 2 : 4));

void suite('killed at every step', { timeout: 2 * hour, concurrency: true }, () => {
  const outcomes = new Map(earlier().map((each) => [nameOf(each), each]));
  const left = chosen.filter((cell) => outcomes.get(nameOf(cell))?.took === undefined);
  const until = performance.now() + minutes * 60_000;

  for (let number = 1; number <= lanes; number++) {
    void test(`lane ${number}`, { timeout: 2 * hour }, async (t) => {
      await using lane = await startLane(`crash-${number}`);
      if (number === 1)
        await t.test('a whole connect and disconnect come by every point', async (inner) => {
          const reached = await lane.reached();
          const missed = crashPoints.filter((point) => !reached.has(point));
          inner.diagnostic(`${reached.size} of ${crashPoints.length} points`);
          assert.deepEqual(missed, [], 'a point that nothing comes by proves nothing');
        });
      while (left.length > 0 && performance.now() < until) {
        const mine = left.shift()!;
        await t.test(nameOf(mine), async () => {
          const outcome = await lane.run(mine);
          outcomes.set(nameOf(mine), outcome);
          if (resumed !== undefined) writeFileSync(resumed, JSON.stringify([...outcomes.values()]));
          // At once: a parallel test's own words come when all before it have ended.
          process.stderr.write(`${nameOf(mine)}: ${outcome.result}, ${seconds(outcome)} s\n`);
          assert.notEqual(outcome.took, undefined, outcome.result);
        });
      }
    });
  }

  after(() => {
    if (wanted === '') writeSection('crash', page([...outcomes.values()]));
  });
});

void test('which', (t) => {
  t.diagnostic(`${chosen.length} of ${cells.length} cells, seed ${seed}`);
});

const seconds = ({ took }: Outcome): string => (took === undefined ? 'never' : (took / 1000).toFixed(1));

function earlier(): Outcome[] {
  if (resumed === undefined || !existsSync(resumed)) return [];
  return JSON.parse(readFileSync(resumed, 'utf8')) as Outcome[];
}

/** A row for each step, a column for each victim: how it went on, and after how many seconds everything was as before. */
function page(outcomes: readonly Outcome[]): string {
  const inCell = (point: CrashPoint, pod: boolean, victim: Victim): string => {
    const cell = cells.find((each) => each.point === point && each.pod === pod && each.victim === victim);
    if (cell === undefined) return '–';
    const found = outcomes.find((each) => nameOf(each) === nameOf(cell));
    if (found === undefined) return 'not run';
    return found.took === undefined ? `**FAILED** ${found.result.slice(0, 200)}` : `${found.result}, ${seconds(found)}`;
  };
  const steps = new Map(cells.map(({ point, pod }) => [`\`${point}\`${pod ? ' (bare pod)' : ''}`, { point, pod }]));
  const failed = outcomes.filter(({ took }) => took === undefined).length;
  const slowest = Math.max(0, ...outcomes.map(({ took }) => took ?? 0));
  return [
    `${outcomes.length} of ${cells.length} cells on ${new Date().toISOString().slice(0, 10)}, seed ${seed}: ${failed} failed, the slowest took ${(slowest / 1000).toFixed(1)} s. ${availableParallelism()} cores, which had ${loadavg()[1]!.toFixed(0)} times`,
    'as much to do as one of them can. Each cell: how it went on, and the seconds until everything was as before, counted from',
    'the next start; for *machine*, which nobody starts, from the kill, with a lapse of 5 s.',
    '',
    table(
      ['killed right after', ...victims],
      [...steps].map(([step, { point, pod }]) => [step, ...victims.map((victim) => inCell(point, pod, victim))]),
    ),
  ].join('\n');
}

/** The same for the same seed: mulberry32, https://github.com/bryc/code/blob/master/jshash/PRNGs.md#mulberry32. */
function shuffled<T>(from: readonly T[], start: number): T[] {
  let state = start;
  const random = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const pool = [...from];
  return from.map(() => pool.splice(Math.floor(random() * pool.length), 1)[0]!);
}
