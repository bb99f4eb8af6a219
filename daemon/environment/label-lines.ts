/** All labels or annotations of a pod in one text, a line for each, as kubelet writes them into a file. Pure. */

/** https://github.com/kubernetes/kubernetes/blob/master/pkg/fieldpath/fieldpath.go (FormatMap) */
export const linesOf = (map: Record<string, string> = {}): string =>
  Object.keys(map)
    .sort()
    .map((key) => `${key}=${quoted(map[key]!)}`)
    .join('\n');

const escapes: Record<string, string> = {
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '"': '\\"',
  '\\': '\\\\',
};

/** As Go does with `%q`: https://pkg.go.dev/strconv#Quote */
const quoted = (text: string): string =>
  `"${text.replaceAll(/["\\]|[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu, (character) => escapes[character] ?? byNumber(character))}"`;

function byNumber(character: string): string {
  const code = character.codePointAt(0)!;
  const hexadecimal = (digits: number): string => code.toString(16).padStart(digits, '0');
  if (code < 0x80) return `\\x${hexadecimal(2)}`;
  return code > 0xffff ? `\\U${hexadecimal(8)}` : `\\u${hexadecimal(4)}`;
}
