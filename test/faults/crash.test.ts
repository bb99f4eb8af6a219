/**
 * Killed at every step: `npm run test:faults -- crash` runs the whole matrix and writes it to docs/reliability.md as it came
 * out, failed cells and all. `npm test` runs a sample: BOWLINE_SEED chooses another one, BOWLINE_FAULTS the cells by name.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { crashPoints } from '../../daemon/crash-points/points.ts';
import { cells, nameOf, startLane, victims, type Cell, type Outcome } from './crash.ts';
import { table, writeSection } from './report.ts';

const hour = 3_600_000;
const sampleSize = 6;
const wanted = process.env['BOWLINE_FAULTS'];
const seed = Number(process.env['BOWLINE_SEED'] ?? 1);
const isWhole = wanted === '';
const chosen =
  wanted === undefined
    ? sample(cells, sampleSize, seed)
    : cells.filter((cell) => new RegExp(wanted).test(nameOf(cell)));
const lanes = Number(process.env['BOWLINE_LANES'] ?? (wanted === undefined ? 2 : 4));

void suite('killed at every step', { timeout: 2 * hour, concurrency: true }, () => {
  const left = [...chosen];
  const outcomes = new Map<Cell, Outcome>();

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
      for (let cell = left.shift(); cell !== undefined; cell = left.shift()) {
        const mine = cell;
        await t.test(nameOf(mine), async () => {
          const outcome = await lane.run(mine);
          outcomes.set(mine, outcome);
          // At once: a parallel test's own words come when all before it have ended.
          process.stderr.write(`${nameOf(mine)}: ${outcome.result}, ${seconds(outcome)} s\n`);
          assert.notEqual(outcome.took, undefined, outcome.result);
        });
      }
      if (outcomes.size === chosen.length && isWhole) writeSection('crash', page(outcomes));
    });
  }
});

void test('which', (t) => {
  t.diagnostic(`${chosen.length} of ${cells.length} cells, seed ${seed}`);
});

const seconds = ({ took }: Outcome): string => (took === undefined ? 'never' : (took / 1000).toFixed(1));

/** A row for each step, a column for each victim: how it went on, and after how many seconds everything was as before. */
function page(outcomes: ReadonlyMap<Cell, Outcome>): string {
  const all = [...outcomes.values()];
  const steps = [...new Map(cells.map(({ point, pod }) => [`${point}${pod ? ' (bare pod)' : ''}`, { point, pod }]))];
  const rows = steps.map(([step, { point, pod }]) => [
    `\`${step}\``,
    ...victims.map((victim) => {
      const found = all.find((each) => each.point === point && each.pod === pod && each.victim === victim);
      if (found === undefined) return '–';
      return found.took === undefined
        ? `**FAILED** ${found.result.slice(0, 200)}`
        : `${found.result}, ${seconds(found)}`;
    }),
  ]);
  const failed = all.filter(({ took }) => took === undefined).length;
  const slowest = Math.max(0, ...all.map(({ took }) => took ?? 0));
  return [
    `${all.length} cells on ${new Date().toISOString().slice(0, 10)}, ${failed} failed; the slowest took ${(slowest / 1000).toFixed(1)} s. Each cell: how it went on, and the`,
    'seconds until everything was as before, counted from the next start (for *machine*, which nobody starts: from the return of it).',
    '',
    table(['killed right after', ...victims], rows),
  ].join('\n');
}

/** The same for the same seed: mulberry32, https://github.com/bryc/code/blob/master/jshash/PRNGs.md#mulberry32. */
function sample<T>(from: readonly T[], size: number, start: number): T[] {
  let state = start;
  const random = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const pool = [...from];
  return Array.from(
    { length: Math.min(size, pool.length) },
    () => pool.splice(Math.floor(random() * pool.length), 1)[0]!,
  );
}
