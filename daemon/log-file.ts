/**
 * The daemon's log: NDJSON in a file of the state folder, by pino, with the oldest lines given up by size. Owns the file
 * and its predecessors `.1`, `.2`. Written synchronously: a line is in the file before the daemon can die of what it says.
 */
import { openSync, closeSync, renameSync, writeSync, fstatSync, rmSync } from 'node:fs';
import { pino, type Logger } from 'pino';
import { redact } from '../api/redaction.ts';
import type { Log } from './log.ts';

export interface LogFileOptions {
  file: string;
  level?: 'debug' | 'info' | 'warn' | 'error';
  /** Bytes after which a new file is begun. */
  maxBytes?: number;
  /** Files in all, the current one counted. */
  files?: number;
}

export function openLogFile({
  file,
  level = 'info',
  maxBytes = 5 * 1024 * 1024,
  files = 3,
}: LogFileOptions): Log & Disposable {
  const output = rotatingOutput(file, maxBytes, files);
  const logger = pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'event',
    },
    output,
  );
  return { ...logOf(logger), [Symbol.dispose]: () => output.close() };
}

function logOf(logger: Logger): Log {
  const write =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (event: string, facts: Record<string, unknown> = {}): void => {
      if (logger.isLevelEnabled(level)) logger[level](redact(facts), event);
    };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (facts) => logOf(logger.child(redact(facts) as Record<string, unknown>)),
  };
}

function rotatingOutput(file: string, maxBytes: number, files: number): { write(line: string): void; close(): void } {
  const begin = (): { fd: number; size: number } => {
    const fd = openSync(file, 'a', 0o600);
    return { fd, size: fstatSync(fd).size };
  };
  let current = begin();
  let closed = false;
  const rotate = (): void => {
    rmSync(nameOf(files - 1), { force: true });
    for (let number = files - 2; number >= 0; number--) {
      try {
        renameSync(nameOf(number), nameOf(number + 1));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
    const old = current.fd;
    current = begin();
    closeSync(old);
  };
  const nameOf = (number: number): string => (number === 0 ? file : `${file}.${number}`);
  return {
    write(line) {
      if (closed) return;
      const bytes = Buffer.from(line);
      try {
        if (current.size > 0 && current.size + bytes.length > maxBytes) rotate();
        for (let at = 0; at < bytes.length;) at += writeSync(current.fd, bytes, at);
        current.size += bytes.length;
      } catch {
        // A full disk must not take the connections with it; the line is lost.
      }
    },
    close() {
      if (!closed) closeSync(current.fd);
      closed = true;
    },
  };
}
