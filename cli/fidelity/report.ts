/** A fidelity report for people, and as the table of the documentation. Pure. */
import { onOut } from '../io.ts';
import { table } from '../table.ts';
import type { FidelityReport, FidelityState } from './compare.ts';

const colours: Record<FidelityState, Parameters<typeof onOut>[0]> = {
  equal: 'green',
  rewritten: 'green',
  missing: 'red',
  different: 'red',
  extra: 'dim',
  newer: 'dim',
};

export function describeReport({
  connection,
  pod,
  container,
  rows,
  kept,
  total,
  percent,
  notes,
}: FidelityReport): string {
  const head = `${onOut('bold', connection)}: container ${container}${pod === undefined ? '' : ` of pod ${pod}`}, against a program on this machine`;
  const lines = rows.map(({ kind, name, state, source, reason = '' }) => [
    kind,
    name,
    onOut(colours[state], state),
    source,
    reason,
  ]);
  return [
    `${head}\n`,
    table([['WHAT', 'NAME', 'HERE', 'TOLD BY', 'WHY'], ...lines]),
    ...notes.map((note) => `${onOut('dim', 'note:')} ${note}\n`),
    `${kept} of ${total} equal or rewritten on purpose = ${percent} %\n`,
  ].join('');
}
