/** A problem as people read it: where and what, the line itself, a caret below, what was expected. */
import type { Problem } from './environment-file.ts';

/** More of a long line is not shown; the caret's place stays in view. */
const widest = 120;
const before = 60;

/** Several lines without a last line end. Holds the source line, so it is for the file's owner, never for a log. */
export function formatProblem(problem: Problem): string {
  const { file, line, column, length, sourceLine, sourceColumn, message, expected, nearest = [] } = problem;
  const place = column - sourceColumn;
  const start = sourceLine.length <= widest ? 0 : Math.max(0, Math.min(place - before, sourceLine.length - widest));
  const shown = visible(sourceLine.slice(start, start + widest));
  const head = sourceColumn > 1 || start > 0 ? '... ' : '';
  const tail = start + widest < sourceLine.length ? ' ...' : '';
  // Tabs stay tabs, so that the caret stands below its place whatever their width.
  const lead = shown.slice(0, place - start).replaceAll(/[^\t]/g, ' ');
  const carets = '^'.repeat(Math.max(1, Math.min(length, shown.length - (place - start))));
  const gutter = `  ${line} | `;
  return [
    `${file}:${line}:${column}: ${message}`,
    `${gutter}${head}${shown}${tail}`,
    `${' '.repeat(gutter.length - 2)}| ${' '.repeat(head.length)}${lead}${carets}`,
    `  expected: ${expected}`,
    ...(nearest.length === 0 ? [] : [`  did you mean ${nearest.join(', ')}?`]),
  ].join('\n');
}

/** Control characters must not reach a terminal. */
function visible(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u2028\u2029]/g, '\u00B7');
}
