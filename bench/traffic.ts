/** Measures what the paths carry, taking them in turns, so that what else the machine does meets all of them alike. */
import type { MetricName, PathName } from './metrics.ts';
import type { Path, Task } from './paths.ts';
import { cpuSeconds } from './processes.ts';
import type { Samples } from './results.ts';

export type Direction = 'outbound' | 'inbound';
export type Amounts = Record<Task, number>;

const tasks: Task[] = ['down', 'up', 'latency', 'serial', 'parallel50'];

/** One round: every task over every path. */
export async function measureTraffic(
  direction: Direction,
  paths: readonly Path[],
  amounts: Amounts,
  samples: Samples,
): Promise<void> {
  const cpu = new Map<PathName, number>();
  for (const task of tasks) {
    for (const path of paths) {
      const before = path.carrier === undefined ? 0 : cpuSeconds(path.carrier);
      const measured = await path.measure(task, amounts[task]);
      if (path.carrier !== undefined && (task === 'down' || task === 'up')) {
        cpu.set(path.name, (cpu.get(path.name) ?? 0) + cpuSeconds(path.carrier) - before);
      }
      // A task that gives one number is a metric of its own name.
      for (const [part, value] of Object.entries(measured)) {
        const metric = part === 'rate' ? task : part;
        samples.add(`${direction}.${metric}` as MetricName, path.name, value);
      }
    }
  }
  const gigabytes = (amounts.down + amounts.up) / 1e9;
  for (const [path, seconds] of cpu) samples.add(`${direction}.cpu`, path, seconds / gigabytes);
}
