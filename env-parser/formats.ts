/**
 * Variables as text for others to read: a shell, a dotenv file, JSON. Pure functions. What a format cannot hold is left
 * out and named, never altered: a changed value is worse than a missing one.
 */

export interface Formatted {
  text: string;
  /** Names that the format cannot hold, with the reason. */
  skipped: Array<{ name: string; reason: string }>;
}

export const formats = ['sh', 'dotenv', 'json'] as const;
export type Format = (typeof formats)[number];

export function formatVariables(variables: Readonly<Record<string, string>>, format: Format): Formatted {
  if (format === 'json') return { text: `${JSON.stringify(variables, null, 2)}\n`, skipped: [] };
  const line = format === 'sh' ? shLine : dotenvLine;
  const lines: string[] = [];
  const skipped: Formatted['skipped'] = [];
  for (const [name, value] of Object.entries(variables)) {
    const made = line(name, value);
    if ('reason' in made) skipped.push({ name, reason: made.reason });
    else lines.push(`${made.line}\n`);
  }
  return { text: lines.join(''), skipped };
}

type Line = { line: string } | { reason: string };

const shellName = /^[A-Za-z_][A-Za-z0-9_]*$/;

function shLine(name: string, value: string): Line {
  if (!shellName.test(name)) return { reason: 'a shell takes letters, digits and _ in names only' };
  if (value.includes('\0')) return { reason: 'a shell cannot hold the NUL character' };
  return { line: `export ${name}=${quoteForShell(value)}` };
}

/** Between single quotes a POSIX shell changes nothing, so only the single quote itself needs care. */
export function quoteForShell(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`;
}

/**
 * There is no standard for dotenv files. The forms are tried from the one that all readers take alike to the one that
 * the fewest know, and each only where it takes the value as it is.
 */
function dotenvLine(name: string, value: string): Line {
  if (!/^[\w.-]+$/.test(name)) return { reason: 'a dotenv file takes letters, digits, _, . and - in names only' };
  if (/[\r\0]/.test(value)) return { reason: 'readers of dotenv files lose carriage returns and NUL characters' };
  if (/^[A-Za-z0-9_./:@%+,=\\-]+$/.test(value)) return { line: `${name}=${value}` };
  if (!value.includes("'")) return { line: `${name}='${value}'` };
  if (!/["\\$`]/.test(value)) return { line: `${name}="${value}"` };
  if (!value.includes('`')) return { line: `${name}=\`${value}\`` };
  return { reason: 'a dotenv file cannot hold a value with all kinds of quotes' };
}
