/** The numbers that people read are the ones that were measured. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { residentMegabytes } from './processes.ts';
import { median, Samples } from './results.ts';
import { markdownPage, meets, terminalTable } from './table.ts';

function measured(): Samples {
  const samples = new Samples();
  for (const rate of [300, 100, 280]) samples.add('outbound.down', 'bowline', rate);
  for (const rate of [100, 200]) samples.add('outbound.down', 'kubectl', rate);
  samples.add('outbound.down', 'pod', 2000);
  samples.add('outbound.p50', 'bowline', 400);
  samples.add('outbound.p50', 'kubectl', 500);
  samples.add('connect.seconds', 'bowline', 2.345678);
  return samples;
}

void test('the median of an odd and of an even number of samples', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.throws(() => median([]));
});

void test('results are in the order of the table, and hold every sample', () => {
  assert.deepEqual(
    measured()
      .results()
      .map(({ metric, path, unit, samples, median }) => ({ metric, path, unit, count: samples.length, median })),
    [
      { metric: 'outbound.down', path: 'bowline', unit: 'MB/s', count: 3, median: 280 },
      { metric: 'outbound.down', path: 'kubectl', unit: 'MB/s', count: 2, median: 150 },
      { metric: 'outbound.down', path: 'pod', unit: 'MB/s', count: 1, median: 2000 },
      { metric: 'outbound.p50', path: 'bowline', unit: 'us', count: 1, median: 400 },
      { metric: 'outbound.p50', path: 'kubectl', unit: 'us', count: 1, median: 500 },
      { metric: 'connect.seconds', path: 'bowline', unit: 's', count: 1, median: 2.3457 },
    ],
  );
});

void test('what is no number is no measurement', () => {
  assert.throws(() => new Samples().add('outbound.up', 'pod', Number.NaN), /outbound.up by pod/);
});

void test('a goal is met at its bound and missed beyond it', () => {
  assert.equal(meets(1.4, { of: 'ratio', atLeast: 1.4 }), true);
  assert.equal(meets(1.39, { of: 'ratio', atLeast: 1.4 }), false);
  assert.equal(meets(3, { of: 'value', atMost: 3 }), true);
  assert.equal(meets(3.01, { of: 'value', atMost: 3 }), false);
});

void test('the table has ratios to kubectl, and says which goals are met', () => {
  const cells = terminalTable(measured().results())
    .split('\n')
    .map((line) => line.split(/ {2,}/));
  assert.deepEqual(cells[1], ['outbound.down', 'MB/s', '280', '150', '2000', '1.87 x', '>= 1.4 x', 'met']);
  assert.deepEqual(cells[2]?.slice(-3), ['0.80 x', '<= 0.75 x', 'MISSED']);
  assert.deepEqual(cells[3]?.slice(-3), ['2.35', '<= 3 s', 'met']);
});

void test('the page holds the same rows, and the facts of the machine', () => {
  const page = markdownPage({ machine: { cores: 2, quick: false }, results: measured().results() });
  assert.match(page, /^\| outbound\.down: .* \| MB\/s \| 280 \| 150 \| 2000 \| 1\.87 x \| >= 1\.4 x \| met \|$/m);
  assert.match(page, /^- cores: 2$/m);
});

void test('memory as the kernel says it', () => {
  assert.equal(residentMegabytes('Name:\tnode\nVmRSS:\t   125000 kB\nRssAnon:\t 1 kB\n'), 128);
  assert.throws(() => residentMegabytes('Name:\tgone\n'));
});
