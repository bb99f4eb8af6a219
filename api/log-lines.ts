/**
 * Reads the daemon's log: the last lines, then those to come, across rotation. Here and not in the daemon because the
 * command must be able to read it when no daemon runs.
 */
import { open, stat } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';

export interface LogLinesOptions {
  lines: number;
  follow: boolean;
  signal?: AbortSignal;
}

const pollMilliseconds = 250;
const tailBytes = 4 * 1024 * 1024;

/** Values of the log's lines; a line that is not JSON comes as `{ text }`. Ends silently on abort. */
export async function* readLogLines(file: string, options: LogLinesOptions): AsyncGenerator<Record<string, unknown>> {
  let position = { inode: 0, offset: 0 };
  const previous = await readFrom(`${file}.1`, 0);
  const current = await readFrom(file, 0);
  position = { inode: current.inode, offset: current.end };
  const tail = [...previous.lines, ...current.lines].slice(options.lines === 0 ? Infinity : -options.lines);
  for (const line of tail) yield parse(line);
  while (options.follow && !options.signal?.aborted) {
    await setTimeout(pollMilliseconds, undefined, options.signal && { signal: options.signal }).catch(() => undefined);
    if (options.signal?.aborted) return;
    if ((await inodeOf(file)) !== position.inode) {
      // Rotated: what was written to the old file after our last look comes first.
      if ((await inodeOf(`${file}.1`)) === position.inode) {
        for (const line of (await readFrom(`${file}.1`, position.offset)).lines) yield parse(line);
      }
      position = { inode: 0, offset: 0 };
    }
    const news = await readFrom(file, position.offset);
    position = { inode: news.inode, offset: news.end };
    for (const line of news.lines) yield parse(line);
  }
}

/** Whole lines from `offset` (at most the last few MiB); `end` is behind the last whole line. */
async function readFrom(file: string, offset: number): Promise<{ lines: string[]; end: number; inode: number }> {
  let handle;
  try {
    handle = await open(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { lines: [], end: 0, inode: 0 };
    throw error;
  }
  await using closing = handle;
  const { size, ino } = await closing.stat();
  const from = Math.max(Math.min(offset, size), size - tailBytes);
  const buffer = Buffer.alloc(size - from);
  const { bytesRead } = await closing.read(buffer, 0, buffer.length, from);
  const whole = buffer.subarray(0, bytesRead).lastIndexOf(10) + 1;
  const lines = buffer.toString('utf8', 0, whole).split('\n').slice(0, -1);
  return { lines, end: from + whole, inode: ino };
}

async function inodeOf(file: string): Promise<number> {
  return (await stat(file).catch(() => undefined))?.ino ?? 0;
}

function parse(line: string): Record<string, unknown> {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return { text: line };
  }
}
