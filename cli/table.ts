/** Rows of text in aligned columns. Widths count characters as a terminal shows them, colours not at all. */
import { stripVTControlCharacters } from 'node:util';

export function table(rows: string[][]): string {
  const widths = rows.reduce<number[]>(
    (widest, row) => row.map((cell, column) => Math.max(widest[column] ?? 0, width(cell))),
    [],
  );
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - width(cell)))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

function width(cell: string): number {
  return [...stripVTControlCharacters(cell)].length;
}
