/** What a command has of the outside: its streams, the platform, and what stood behind `--`. Made once, in main.ts. */
import { styleText } from 'node:util';
import type { BowlineError } from '../api/errors.ts';
import { pathsOf, platformFacts, type Paths, type PlatformFacts } from '../api/paths.ts';

export interface Io {
  facts: PlatformFacts;
  paths: Paths;
  /** Asked for with `--json`. */
  json: boolean;
  /** What stood behind `--`. */
  command: string[] | undefined;
  /** Someone watches standard error. */
  watched: boolean;
  /** Steps are shown: someone watches, or asked for them with `--progress`. */
  steps: boolean;
  /** Exit status of a command that did not fail: of the program that was run, of a failed check. */
  status: number;
  out: (text: string) => void;
  err: (text: string) => void;
}

export function standardIo(args: string[], command: string[] | undefined): Io {
  const facts = platformFacts();
  // `bowline logs | head` ends when nobody reads any more, with the status of a program that SIGPIPE ends.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(128 + 13);
    throw error;
  });
  return {
    facts,
    paths: pathsOf(facts),
    json: args.includes('--json'),
    command,
    watched: process.stderr.isTTY,
    steps: process.stderr.isTTY || args.includes('--progress'),
    status: 0,
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
  };
}

export function outJson(io: Io, value: unknown): void {
  io.out(`${JSON.stringify(value, null, 2)}\n`);
}

/** With --json, the last line of a stream that failed. */
export function errorLine(error: BowlineError): string {
  return `${JSON.stringify({ type: 'error', error: error.toShape() })}\n`;
}

type Style = Parameters<typeof styleText>[0];

/** Coloured where the stream is a terminal and NO_COLOR is not set. */
export const onErr = (style: Style, text: string): string => styleText(style, text, { stream: process.stderr });
export const onOut = (style: Style, text: string): string => styleText(style, text, { stream: process.stdout });
