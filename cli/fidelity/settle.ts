/**
 * Both sides live while they are compared: probes open and close the ports of a Service, a database writes its files. So
 * what differs is looked at again, and what differs each time is a difference. Pure.
 */
import type { PodInspection } from '../../api/schema.ts';
import { counted, isKept, type FidelityReport, type FidelityRow } from './compare.ts';

export interface Look {
  pod: PodInspection;
  report: FidelityReport;
}

/** Something differs that may be otherwise the next time. */
export const mayPass = ({ report }: Look): boolean => report.rows.some(isPassing);

const isPassing = ({ kind, state }: FidelityRow): boolean =>
  state === 'different' && (kind === 'file' || kind === 'name' || kind === 'external');

/** The latest look, with what earlier ones know better. */
export function settle(former: Look, latest: Look): Look {
  const known = new Map(former.report.rows.map((row) => [keyOf(row), row]));
  const written = writtenBetween(former.pod, latest.pod);
  const rows = latest.report.rows.map((row): FidelityRow => {
    const was = known.get(keyOf(row));
    if (was === undefined) return row;
    if (isKept(was) && isKept(row)) return was;
    if (isPassing(was) && isKept(row)) return told(row, was);
    if (!isPassing(row)) return row;
    if (isKept(was)) return told(was, row);
    if (was.state === 'newer') return was;
    if (row.kind === 'file' && written.has(row.name))
      return { ...row, state: 'newer', reason: 'the pod writes it at this moment' };
    return row;
  });
  return { pod: latest.pod, report: { ...latest.report, rows, ...counted(rows) } };
}

const keyOf = ({ kind, name }: FidelityRow): string => `${kind} ${name}`;

/** Kept, with what was seen besides. */
function told(row: FidelityRow, other: FidelityRow): FidelityRow {
  const also = `not at each look: ${other.reason}`;
  if (row.reason?.includes(also) === true) return row;
  return { ...row, reason: row.reason === undefined ? also : `${row.reason}; ${also}` };
}

/** Paths of the files that are another content in the pod now. */
function writtenBetween(former: PodInspection, latest: PodInspection): Set<string> {
  const digests = new Map(former.files.map(({ path, digest }) => [path, digest]));
  const changed = latest.files.filter(({ path, digest }) => digests.has(path) && digests.get(path) !== digest);
  return new Set(changed.map(({ path }) => path));
}
