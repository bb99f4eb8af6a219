/** The samples of one run, and the file they are kept in. Owns the shape of that file. */
import { metricOf, metrics, pathNames, type MetricName, type PathName } from './metrics.ts';

export interface Result {
  metric: MetricName;
  path: PathName;
  unit: string;
  samples: number[];
  median: number;
}

export interface BenchmarkFile {
  machine: Record<string, string | number | boolean>;
  results: Result[];
}

export class Samples {
  readonly #samples = new Map<string, number[]>();

  add(metric: MetricName, path: PathName, sample: number): void {
    if (!Number.isFinite(sample)) throw new Error(`${metric} by ${path}: ${sample} is no measurement`);
    const key = `${metric} ${path}`;
    const samples = this.#samples.get(key) ?? [];
    samples.push(Number(sample.toPrecision(5)));
    this.#samples.set(key, samples);
  }

  /** In the order of the table, whatever the order in which they were taken. */
  results(): Result[] {
    return (Object.keys(metrics) as MetricName[]).flatMap((metric) =>
      pathNames.flatMap((path) => {
        const samples = this.#samples.get(`${metric} ${path}`);
        return samples === undefined
          ? []
          : [{ metric, path, unit: metricOf(metric).unit, samples, median: median(samples) }];
      }),
    );
  }
}

export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const high = sorted[middle];
  if (high === undefined) throw new Error('there is no median of nothing');
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? high) + high) / 2;
}
