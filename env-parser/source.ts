/** A file's text with line ends made one, and the places in it: offsets are inside, lines and columns are said. */
import type { Problem, Span } from './environment-file.ts';

export class Source {
  readonly path: string;
  /** Without byte order mark; every line end is `\n`. */
  readonly text: string;
  /** Offset of the first character of each line. */
  readonly #starts: number[] = [0];

  constructor(path: string, text: string) {
    this.path = path;
    this.text = text.replace(/^\uFEFF/, '').replaceAll(/\r\n?/g, '\n');
    for (let at = this.text.indexOf('\n'); at >= 0; at = this.text.indexOf('\n', at + 1)) this.#starts.push(at + 1);
  }

  /** The span from `offset` on, cut at the end of its line. An offset outside of the text counts as its nearest end. */
  span(offset: number, length: number): Span {
    const inside = Math.min(Math.max(0, offset), this.text.length);
    const line = this.#lineOf(inside);
    const left = this.#endOf(line) - inside;
    return { line: line + 1, column: inside - this.#starts[line]! + 1, length: Math.max(0, Math.min(length, left)) };
  }

  problem(span: Span, message: string, more: Pick<Problem, 'expected' | 'nearest'> = {}): Problem {
    const line = span.line - 1;
    return {
      file: this.path,
      ...span,
      sourceLine: this.text.slice(this.#starts[line], this.#endOf(line)),
      message,
      ...(more.expected === undefined ? {} : { expected: more.expected }),
      ...(more.nearest === undefined || more.nearest.length === 0 ? {} : { nearest: more.nearest }),
    };
  }

  #endOf(line: number): number {
    const next = this.#starts[line + 1];
    return next === undefined ? this.text.length : next - 1;
  }

  #lineOf(offset: number): number {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** Collects what is wrong; the reader goes on. */
export class Findings {
  readonly source: Source;
  readonly problems: Problem[] = [];
  readonly warnings: Problem[] = [];

  constructor(source: Source) {
    this.source = source;
  }

  problem(span: Span, message: string, more?: Pick<Problem, 'expected' | 'nearest'>): void {
    this.problems.push(this.source.problem(span, message, more));
  }

  warning(span: Span, message: string, more?: Pick<Problem, 'expected' | 'nearest'>): void {
    this.warnings.push(this.source.problem(span, message, more));
  }
}

export function byPlace(a: Span, b: Span): number {
  return a.line - b.line || a.column - b.column;
}
