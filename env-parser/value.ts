/** The value of an entry: literal text with tokens in it. Common to both dialects, which differ in brackets and words. */
import type { Entry, Span, Token } from './environment-file.ts';
import type { Findings } from './source.ts';

export interface TokenSyntax {
  open: '{' | '(';
  close: '}' | ')';
  /** For messages: how a token looks. */
  expected: string;
  /** For messages: what else may have ended a value within a token. */
  ends: string;
  /** A dollar that begins nothing: itself, or an error. */
  loneDollar: 'literal' | 'problem';
  /** Reads what stands between the brackets; undefined after it has said what is wrong. */
  read: (body: string, token: { text: string; position: Span }, findings: Findings) => Token | undefined;
}

/**
 * Splits a value. `$$` is a dollar. `spanOf` says where a part of the value stands in the file. Every character is looked
 * at a fixed number of times.
 */
export function readValue(
  value: string,
  syntax: TokenSyntax,
  spanOf: (offset: number, length: number) => Span,
  findings: Findings,
): Entry['parts'] {
  const parts: Entry['parts'] = [];
  let literal = '';
  let at = 0;
  while (at < value.length) {
    const dollar = value.indexOf('$', at);
    if (dollar < 0) break;
    literal += value.slice(at, dollar);
    const next = value[dollar + 1];
    at = dollar + 2;
    if (next === '$') {
      literal += '$';
    } else if (next !== syntax.open) {
      if (syntax.loneDollar === 'problem') {
        findings.problem(spanOf(dollar, 1), 'A dollar sign that begins no token', {
          expected: `$$ for a dollar sign, or ${syntax.expected}`,
        });
      }
      literal += '$';
      at = dollar + 1;
    } else {
      const end = value.indexOf(syntax.close, at);
      if (end < 0) {
        findings.problem(spanOf(dollar, value.length - dollar), `A token without its closing ${syntax.close}`, {
          expected: `${syntax.expected}; $$ for a dollar sign${syntax.ends}`,
        });
        return parts;
      }
      const text = value.slice(dollar, end + 1);
      const token = syntax.read(value.slice(at, end), { text, position: spanOf(dollar, text.length) }, findings);
      if (token !== undefined) {
        if (literal !== '') parts.push(literal);
        literal = '';
        parts.push(token);
      }
      at = end + 1;
    }
  }
  literal += value.slice(at);
  if (literal !== '') parts.push(literal);
  return parts;
}

/** Takes the mark of an optional token off its body. */
export function optionalMark(body: string): { body: string; optional: boolean } {
  return body.endsWith('?') ? { body: body.slice(0, -1), optional: true } : { body, optional: false };
}
