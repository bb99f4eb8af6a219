/** Files of `NAME=value` lines: dotenv, and the stricter kind of `docker run --env-file`. */
import type { Line } from './line.ts';

/**
 * There is no standard for dotenv files. The forms are tried from the one that all readers take alike to the one that
 * the fewest know, and each only where it takes the value as it is.
 */
export function dotenvLine(name: string, value: string): Line {
  if (!/^[\w.-]+$/.test(name)) return { reason: 'a dotenv file takes letters, digits, _, . and - in names only' };
  if (/[\r\0]/.test(value)) return { reason: 'readers of dotenv files lose carriage returns and NUL characters' };
  if (/^[A-Za-z0-9_./:@%+,=\\-]+$/.test(value)) return { line: `${name}=${value}` };
  // A backslash before the closing quote hides it from some readers.
  if (!value.endsWith('\\')) {
    if (!value.includes("'")) return { line: `${name}='${value}'` };
    if (!/["\\$`]/.test(value)) return { line: `${name}="${value}"` };
    if (!value.includes('`')) return { line: `${name}=\`${value}\`` };
  }
  return { reason: 'a dotenv file cannot hold a value with all kinds of quotes, or quotes and a backslash at the end' };
}

/** Bytes of a line, from which on the scanner of Docker's command gives up. */
const longestDockerLine = 65_535;

/**
 * `docker run --env-file`, as Docker's command reads it: everything behind the first = is the value, without quotes and
 * escapes; a line is a variable; spaces before the name are lost.
 */
export function dockerLine(name: string, value: string): Line {
  // \s of Unicode: Docker refuses the whole file for a space in a name.
  if (name === '' || /[\s\0=]/.test(name)) return { reason: 'Docker takes no spaces and no = in names' };
  if (name.startsWith('#')) return { reason: 'Docker takes a line that begins with # for a comment' };
  if (/[\r\n\0]/.test(value)) return { reason: "Docker's files cannot hold line ends" };
  const line = `${name}=${value}`;
  if (new TextEncoder().encode(line).length >= longestDockerLine) {
    return { reason: `Docker reads lines of less than ${longestDockerLine} bytes` };
  }
  return { line };
}
