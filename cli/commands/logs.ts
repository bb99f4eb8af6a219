/** `bowline logs`: the daemon's log, read from its file, because it is wanted most when no daemon runs. */
import { Command, Option } from 'commander';
import { BowlineError } from '../../api/errors.ts';
import { readLogLines } from '../../api/log-lines.ts';
import { onInterrupt } from '../interrupts.ts';
import { onOut, type Io } from '../io.ts';

const levels = ['debug', 'info', 'warn', 'error'];

export function logsCommand(io: Io): Command {
  return new Command('logs')
    .summary("the daemon's log")
    .description("Prints the last lines of the daemon's log. It never holds a secret.")
    .option('-f, --follow', 'wait for more')
    .addOption(
      new Option('--lines <NUMBER>', 'how many of the last lines; 0 is all').default(100).argParser((text) => {
        if (!/^\d{1,9}$/.test(text))
          throw new BowlineError('BAD_ARGUMENT', `${JSON.stringify(text)} is not a number of lines.`);
        return Number(text);
      }),
    )
    .addOption(new Option('--level <LEVEL>', 'lines of this level and above').choices(levels).default('debug'))
    .option('--json', 'NDJSON, as it is in the file')
    .action(async ({ follow = false, lines, level }: { follow?: boolean; lines: number; level: string }) => {
      const over = new AbortController();
      using _ = onInterrupt(() => over.abort());
      const least = levels.indexOf(level);
      for await (const line of readLogLines(io.paths.logFile, { lines, follow, signal: over.signal })) {
        if (levels.indexOf(asText(line['level'] ?? 'error')) < least) continue;
        io.out(io.json ? `${JSON.stringify(line)}\n` : readable(line));
      }
    });
}

function readable({ time, level, event, text, ...facts }: Record<string, unknown>): string {
  if (event === undefined && text !== undefined) return `${asText(text)}\n`;
  const mark =
    level === 'error' ? onOut('red', 'error') : level === 'warn' ? onOut('yellow', 'warn ') : asText(level).padEnd(5);
  const rest = Object.entries(facts).map(([key, value]) => {
    const shown = asText(value);
    return ` ${onOut('dim', `${key}=`)}${/[\s"]/.test(shown) && typeof value === 'string' ? JSON.stringify(shown) : shown}`;
  });
  return `${onOut('dim', asText(time))} ${mark} ${asText(event)}${rest.join('')}\n`;
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}
