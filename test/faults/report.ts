/**
 * docs/reliability.md: each matrix is a section of it between two markers, `<!-- NAME -->` and `<!-- end of NAME -->`, as the
 * test has measured it. Written by a whole run only; a sample measures less than the page says.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const page = join(import.meta.dirname, '../../docs/reliability.md');

/** Replaces the section; throws where the page has no such markers. */
export function writeSection(name: string, text: string): void {
  const written = readFileSync(page, 'utf8');
  const [begin, end] = [`<!-- ${name} -->\n`, `<!-- end of ${name} -->\n`];
  const [from, to] = [written.indexOf(begin), written.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/reliability.md has no section "${name}"`);
  const next = `${written.slice(0, from)}${begin}\n${text.trim()}\n\n${written.slice(to)}`;
  writeFileSync(`${page}.new`, next);
  renameSync(`${page}.new`, page);
}

/** A Markdown table; a bar in a cell is escaped. */
export function table(head: string[], rows: ReadonlyArray<ReadonlyArray<string | number>>): string {
  const line = (cells: ReadonlyArray<string | number>): string =>
    `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}
