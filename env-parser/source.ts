/** A file's text with line ends made one, and the places in it: offsets are inside, lines and columns are said. */
import type { Problem, Span } from './environment-file.ts';

/** Characters of a line that a problem holds: a line has as many problems as it likes, and each is told with its text. */
const widestSource = 240;
/** Of one kind in one file. Nobody reads more, and a file can have one for each of its characters. */
const mostProblems = 200;

type Remedy = Pick<Problem, 'expected' | 'nearest'>;

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

  problem(span: Span, message: string, { expected, nearest = [] }: Remedy): Problem {
    const start = this.#starts[span.line - 1]!;
    const end = this.#endOf(span.line - 1);
    // Whole where it is short. Else the place has as much of it on both sides, as far as there is.
    const from = Math.max(start, Math.min(start + span.column - 1 - widestSource / 2, end - widestSource));
    return {
      file: this.path,
      ...span,
      sourceLine: this.text.slice(from, Math.min(end, from + widestSource)),
      sourceColumn: from - start + 1,
      message,
      expected,
      ...(nearest.length === 0 ? {} : { nearest }),
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

/** Collects what is wrong, as many as anybody reads; of the rest only how many there are. */
export class ProblemList {
  readonly #source: Source;
  readonly #shown: Problem[] = [];
  #next: Span | undefined;
  #unshown = 0;

  constructor(source: Source) {
    this.#source = source;
  }

  get isEmpty(): boolean {
    return this.#shown.length === 0;
  }

  /** `remedy` may take long to find, so it is not asked for where the problem is not shown. */
  add(span: Span, message: string, remedy: Remedy | (() => Remedy)): void {
    if (this.#shown.length < mostProblems) {
      this.#shown.push(this.#source.problem(span, message, typeof remedy === 'function' ? remedy() : remedy));
    } else {
      this.#next ??= span;
      this.#unshown++;
    }
  }

  /** In the order of the file; at the end the one that stands for those that are not shown. */
  all(): Problem[] {
    const shown = this.#shown.toSorted(byPlace);
    if (this.#next === undefined) return shown;
    const message = `There are ${this.#unshown} more that are not shown`;
    const rest = this.#source.problem(this.#next, message, { expected: 'those before it mended first' });
    return [...shown, { ...rest, count: this.#unshown }];
  }
}

/** How many there are, with those that are not shown. */
export function countProblems(problems: ReadonlyArray<Pick<Problem, 'count'>>): number {
  return problems.reduce((sum, { count = 1 }) => sum + count, 0);
}

/** What a reader has found; it goes on. */
export class Findings {
  readonly problems: ProblemList;
  readonly warnings: ProblemList;

  constructor(source: Source) {
    this.problems = new ProblemList(source);
    this.warnings = new ProblemList(source);
  }

  problem(span: Span, message: string, remedy: Remedy): void {
    this.problems.add(span, message, remedy);
  }

  warning(span: Span, message: string, remedy: Remedy): void {
    this.warnings.add(span, message, remedy);
  }
}

export function byPlace(a: Span, b: Span): number {
  return a.line - b.line || a.column - b.column;
}
