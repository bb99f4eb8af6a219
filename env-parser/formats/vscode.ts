/** For VS Code's launch.json: the `env` of a configuration. */
import type { Line } from './line.ts';

/** VS Code replaces `${...}` in values before the program starts, and has no escape for it. */
export function vscodeReason(value: string): Extract<Line, { reason: string }> | undefined {
  if (/\$\{[^}]*\}/.test(value)) return { reason: 'VS Code would replace ${...}; --format dotenv and envFile hold it' };
  return value.includes('\0') ? { reason: 'a variable cannot hold the NUL character' } : undefined;
}
