/**
 * Variables as text for others to read: a shell, a file, an editor. Pure functions. What a format cannot hold is left out
 * and named, never altered: a changed value is worse than a missing one.
 */
import { dockerLine, dotenvLine } from './formats/env-files.ts';
import type { Line } from './formats/line.ts';
import { cmdLine, fishLine, powershellLine, shLine } from './formats/shells.ts';
import { vscodeReason } from './formats/vscode.ts';

export { quoteForShell } from './formats/shells.ts';

export interface Formatted {
  text: string;
  /** Names that the format cannot hold, with the reason. */
  skipped: Array<{ name: string; reason: string }>;
}

export const formats = ['sh', 'fish', 'powershell', 'cmd', 'dotenv', 'json', 'docker', 'vscode'] as const;
export type Format = (typeof formats)[number];

type LineFormat = Exclude<Format, 'json' | 'vscode'>;

const lineFormats: Record<LineFormat, { make: (name: string, value: string) => Line; end: string }> = {
  sh: { make: shLine, end: '\n' },
  fish: { make: fishLine, end: '\n' },
  powershell: { make: powershellLine, end: '\n' },
  cmd: { make: cmdLine, end: '\r\n' },
  dotenv: { make: dotenvLine, end: '\n' },
  docker: { make: dockerLine, end: '\n' },
};

export function formatVariables(variables: Readonly<Record<string, string>>, format: Format): Formatted {
  if (format === 'json') return { text: jsonText(variables), skipped: [] };
  if (format === 'vscode') return forVscode(variables);
  const { make, end } = lineFormats[format];
  const lines: string[] = [];
  const skipped: Formatted['skipped'] = [];
  for (const [name, value] of Object.entries(variables)) {
    const made = make(name, value);
    if ('reason' in made) skipped.push({ name, reason: made.reason });
    else lines.push(`${made.line}${end}`);
  }
  return { text: lines.join(''), skipped };
}

/** `{ "env": { NAME: value } }`, to stand in a configuration of launch.json. */
function forVscode(variables: Readonly<Record<string, string>>): Formatted {
  const reasons = Object.entries(variables).map(([name, value]) => ({ name, value, wrong: vscodeReason(value) }));
  const env = Object.fromEntries(reasons.flatMap(({ name, value, wrong }) => (wrong ? [] : [[name, value]])));
  const skipped = reasons.flatMap(({ name, wrong }) => (wrong ? [{ name, reason: wrong.reason }] : []));
  return { text: jsonText({ env }), skipped };
}

function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
