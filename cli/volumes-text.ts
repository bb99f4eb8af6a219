/** How far the volumes of a connection are, for people: their sizes first, then what has come. Pure. */
import type { Progress } from '../api/schema.ts';

export type VolumeLine = Extract<Progress, { type: 'volume' }>;

/** For a line that is rewritten all the time: `3 of 5 volumes; /data 1.5 of 24.0 MiB`. */
export function describeVolumes(lines: readonly VolumeLine[]): string {
  const ready = lines.filter(({ state }) => state === 'ready').length;
  const coming = lines.filter(({ state }) => state === 'downloading').map(describeVolume);
  return [`${ready} of ${lines.length} volumes`, ...coming].join('; ');
}

/** `/data 1.5 of 24.0 MiB`, and when it is here or will not come: `/data 24.0 MiB in 3 files`, `/data skipped`. */
export function describeVolume({ name, state, bytes, received, files }: VolumeLine): string {
  if (state === 'downloading' && bytes !== undefined) return `${name} ${number(received ?? 0)} of ${mebibytes(bytes)}`;
  if (state === 'downloading') return `${name} ${mebibytes(received ?? 0)}`;
  if (state !== 'ready') return `${name} ${state}`;
  const count = files === undefined ? '' : ` in ${files} file${files === 1 ? '' : 's'}`;
  return bytes === undefined ? name : `${name} ${mebibytes(bytes)}${count}`;
}

const number = (bytes: number): string => (bytes / 1024 / 1024).toFixed(1);
export const mebibytes = (bytes: number): string => `${number(bytes)} MiB`;
