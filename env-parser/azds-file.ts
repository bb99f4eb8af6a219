/**
 * azds-local.env: `NAME=text`, comments, blank lines. Quotes, `export`, values of several lines and line ends are read as
 * the npm package dotenv (18) reads them; where dotenv passes over a line in silence or guesses, this says what is wrong.
 * The scanner never looks at a character more than a few times.
 */
import { azdsTokens } from './azds-tokens.ts';
import type { Entry } from './environment-file.ts';
import { Findings, type Source } from './source.ts';
import { readValue } from './value.ts';

const isSpace = (character: string | undefined): boolean => character !== undefined && /\s/.test(character);
const isNameCharacter = (character: string | undefined): boolean => character !== undefined && /[\w.-]/.test(character);

export function readAzdsFile(source: Source): { entries: Entry[]; findings: Findings } {
  const findings = new Findings(source);
  const entries = new Reader(source, findings).read();
  const seen = new Map<string, number>();
  for (const { name, position } of entries) {
    const first = seen.get(name);
    if (first !== undefined)
      findings.warning(position, `The name ${name} stands in line ${first} too; the last one counts`, {
        expected: 'each name once',
      });
    seen.set(name, position.line);
  }
  return { entries, findings };
}

class Reader {
  readonly #source: Source;
  readonly #text: string;
  readonly #findings: Findings;
  #at = 0;

  constructor(source: Source, findings: Findings) {
    this.#source = source;
    this.#text = source.text;
    this.#findings = findings;
  }

  read(): Entry[] {
    const entries: Entry[] = [];
    while (this.#at < this.#text.length) {
      this.#skipSpace('everywhere');
      if (this.#at >= this.#text.length) break;
      if (this.#text[this.#at] === '#') this.#at = this.#endOfLine();
      else this.#readEntry(entries);
    }
    return entries;
  }

  #readEntry(entries: Entry[]): void {
    const start = this.#at;
    const name = this.#readName();
    if (name === undefined) {
      const length = this.#endOfLine() - start;
      this.#findings.problem(this.#source.span(start, length), 'This line is no entry', {
        expected: 'NAME=text, a # comment or a blank line',
      });
      this.#at = this.#endOfLine();
      return;
    }
    const parts = this.#readQuoted() ?? this.#readPlain();
    if (parts !== undefined) {
      entries.push({ name: name.text, parts, position: this.#source.span(name.start, name.text.length) });
    }
  }

  /** `NAME=`, `export NAME=` or `NAME: `; afterwards the reader stands behind it. */
  #readName(): { text: string; start: number } | undefined {
    const word = this.#readWord();
    if (word.text === 'export' && isSpace(this.#text[this.#at])) {
      this.#skipSpace('in the line');
      if (isNameCharacter(this.#text[this.#at])) return this.#readAssignment(this.#readWord());
    }
    return this.#readAssignment(word);
  }

  #readWord(): { text: string; start: number } {
    const start = this.#at;
    while (isNameCharacter(this.#text[this.#at])) this.#at++;
    return { text: this.#text.slice(start, this.#at), start };
  }

  #readAssignment(word: { text: string; start: number }): { text: string; start: number } | undefined {
    if (word.text === '') return undefined;
    const next = this.#text[this.#at + 1];
    if (this.#text[this.#at] === ':' && isSpace(next) && next !== '\n') {
      this.#at += 2;
      return word;
    }
    this.#skipSpace('in the line');
    if (this.#text[this.#at] !== '=') return undefined;
    this.#at++;
    return word;
  }

  /** A value between quotes; undefined where it does not begin with one. The parts are none after a problem. */
  #readQuoted(): Entry['parts'] | undefined {
    const line = this.#at;
    this.#skipSpace('in the line');
    const open = this.#at;
    const quote = this.#text[open];
    if (quote !== "'" && quote !== '"' && quote !== '`') {
      this.#at = line;
      return undefined;
    }
    const close = this.#closingQuote(open, quote);
    if (typeof close === 'object') {
      this.#findings.problem(this.#source.span(close.offset, close.length), close.message, {
        expected: close.expected,
      });
      this.#at = this.#endOfLine();
      return [];
    }
    this.#at = this.#endOfLine(close);
    return this.#quotedParts(open + 1, close, quote);
  }

  /**
   * The quote that ends the value: the first without a backslash before it, if nothing but a comment follows; else the
   * last one before that of which this is true. So a path may end with a backslash.
   */
  #closingQuote(
    open: number,
    quote: string,
  ): number | { offset: number; length: number; message: string; expected: string } {
    let fallback: number | undefined;
    for (let at = this.#text.indexOf(quote, open + 1); at >= 0; at = this.#text.indexOf(quote, at + 1)) {
      const ends = this.#nothingBehind(at + 1);
      if (ends) fallback = at;
      if (this.#text[at - 1] === '\\') continue;
      if (fallback !== undefined) return fallback;
      return {
        offset: at + 1,
        length: this.#endOfLine(at) - at - 1,
        message: 'There is text behind the closing quote',
        expected: 'the whole value between the quotes, or other quotes around it',
      };
    }
    if (fallback !== undefined) return fallback;
    return {
      offset: open,
      length: 1,
      message: `The closing ${quote} is missing`,
      expected: `${quote} at the end of the value`,
    };
  }

  #nothingBehind(offset: number): boolean {
    let at = offset;
    while (at < this.#text.length && this.#text[at] !== '\n' && isSpace(this.#text[at])) at++;
    return at >= this.#text.length || this.#text[at] === '\n' || this.#text[at] === '#';
  }

  #quotedParts(start: number, end: number, quote: string): Entry['parts'] {
    const value = this.#text.slice(start, end);
    if (quote === "'") {
      this.#refuseNul(start, value);
      const token = /\$\{(?:volumes|services)\./.exec(value);
      if (token !== null) {
        this.#findings.warning(
          this.#source.span(start + token.index, token[0].length),
          'Between single quotes this is text, not a token',
          { expected: 'double quotes around a value with tokens' },
        );
      }
      return value === '' ? [] : [value];
    }
    const parts = this.#split(start, value);
    if (quote === '`') return parts;
    return parts.map((part) =>
      typeof part === 'string' ? part.replaceAll('\\n', '\n').replaceAll('\\r', '\r') : part,
    );
  }

  /** Up to the end of the line or a `#`, without the spaces around it. */
  #readPlain(): Entry['parts'] {
    const line = this.#endOfLine();
    const start = this.#at;
    const hash = this.#text.slice(start, line).indexOf('#');
    const value = this.#text.slice(start, hash < 0 ? line : start + hash);
    this.#at = line;
    return this.#split(start + (value.length - value.trimStart().length), value.trim());
  }

  #split(start: number, value: string): Entry['parts'] {
    this.#refuseNul(start, value);
    const foreign = /(?<!\$)\$\((?:services|volumes|volumeMounts|externalEndpoints)[:.]/i.exec(value);
    if (foreign !== null) {
      this.#findings.warning(
        this.#source.span(start + foreign.index, foreign[0].length),
        'This is text here, not a token: round brackets belong to KubernetesLocalProcessConfig.yaml',
        { expected: azdsTokens.expected },
      );
    }
    return readValue(value, azdsTokens, (offset, length) => this.#source.span(start + offset, length), this.#findings);
  }

  #refuseNul(start: number, value: string): void {
    const at = value.indexOf('\0');
    if (at < 0) return;
    this.#findings.problem(this.#source.span(start + at, 1), 'A variable cannot hold the NUL character', {
      expected: 'text without it',
    });
  }

  #skipSpace(where: 'in the line' | 'everywhere'): void {
    const end = where === 'everywhere' ? this.#text.length : this.#endOfLine();
    while (this.#at < end && isSpace(this.#text[this.#at])) this.#at++;
  }

  #endOfLine(from = this.#at): number {
    const end = this.#text.indexOf('\n', from);
    return end < 0 ? this.#text.length : end;
  }
}
