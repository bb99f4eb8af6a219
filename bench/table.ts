/** The table that people read, for the terminal and for the documentation, always made from results and never by hand. */
import { metricOf, metrics, pathNames, type Goal, type MetricName, type PathName } from './metrics.ts';
import type { BenchmarkFile, Result } from './results.ts';

const heads = ['metric', 'unit', ...pathNames, 'to kubectl', 'goal', ''];

interface Row {
  cells: string[];
  what: string;
}

function rows(results: readonly Result[]): Row[] {
  return (Object.keys(metrics) as MetricName[])
    .filter((metric) => results.some((result) => result.metric === metric))
    .map((metric) => {
      const { unit, digits, goal, what } = metricOf(metric);
      const of = (path: PathName): number | undefined =>
        results.find((each) => each.metric === metric && each.path === path)?.median;
      const [bowline, kubectl] = [of('bowline'), of('kubectl')];
      const ratio = bowline === undefined || kubectl === undefined ? undefined : bowline / kubectl;
      const judged = goal?.of === 'value' ? bowline : ratio;
      const cells = [
        metric,
        unit,
        ...pathNames.map((path) => of(path)?.toFixed(digits) ?? ''),
        ratio === undefined ? '' : `${ratio.toFixed(2)} x`,
        goal === undefined ? '' : describeGoal(goal, unit),
        goal === undefined || judged === undefined ? '' : meets(judged, goal) ? 'met' : 'MISSED',
      ];
      return { cells, what };
    });
}

export function meets(value: number, goal: Goal): boolean {
  return 'atLeast' in goal ? value >= goal.atLeast : value <= goal.atMost;
}

function describeGoal(goal: Goal, unit: string): string {
  const bound = 'atLeast' in goal ? `>= ${goal.atLeast}` : `<= ${goal.atMost}`;
  return `${bound} ${goal.of === 'ratio' ? 'x' : unit}`;
}

/** Aligned columns. */
export function terminalTable(results: readonly Result[]): string {
  const lines = [heads, ...rows(results).map(({ cells }) => cells)];
  const widths = heads.map((_, column) => Math.max(...lines.map((cells) => cells[column]?.length ?? 0)));
  const isText = (column: number): boolean => column < 2 || column === heads.length - 1;
  return lines
    .map((cells) =>
      cells
        .map((cell, column) => (isText(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** docs/benchmark.md. */
export function markdownPage({ machine, results }: BenchmarkFile): string {
  const body = rows(results).map(({ cells, what }) => `| ${[`${cells[0]}: ${what}`, ...cells.slice(1)].join(' | ')} |`);
  const facts = Object.entries(machine).map(([fact, value]) => `- ${fact}: ${value}`);
  const counts = results.map(({ samples }) => samples.length);
  return `# Benchmark

Written by \`npm run bench -- --table FILE\` from the file of one run of \`npm run bench -- --json FILE\`; not to be edited.
Medians; up to ${Math.max(0, ...counts)} samples each, the paths taken in turns. Program, command and cluster share one machine,
so the numbers say how the paths compare on it, and not what a network can carry.

- \`bowline\`: through the daemon, at the address of the service's name; inbound from a pod through the Service to the machine
- \`kubectl\`: the same through \`kubectl port-forward\`
- \`pod\`: straight to the pod from its node; inbound through an untouched Service to an original pod

| ${heads.join(' | ')} |
| --- | --- | ${pathNames.map(() => '---:').join(' | ')} | ---: | ---: | --- |
${body.join('\n')}

## Machine

${facts.join('\n')}
`;
}
