/**
 * Splits what a caller sends into lines, within bounds: no line is longer than allowed, and one that was begun is completed
 * in time, so that nobody fills the memory of a process that runs as root.
 */
import type { Socket } from 'node:net';

export interface RequestLinesOptions {
  /** Characters that a line may have. */
  longest: number;
  /** Milliseconds from the first character of a line to its end. */
  patience: number;
  /** The next line is read when it resolves. */
  onLine(line: string): Promise<void>;
  onTooLong(): void;
}

/** Answers a function that stops it: what has arrived since is thrown away. */
export function readRequestLines(socket: Socket, options: RequestLinesOptions): () => void {
  let parts: string[] = [];
  let length = 0;
  let stopped = false;
  let slow: NodeJS.Timeout | undefined;
  let work = Promise.resolve();

  const stop = (): void => {
    stopped = true;
    parts = [];
    clearTimeout(slow);
  };
  const take = (line: string): void => {
    socket.pause();
    work = work.then(() => (stopped ? undefined : options.onLine(line))).then(() => void socket.resume());
  };

  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    if (stopped) return;
    const [first = '', ...others] = chunk.split('\n');
    parts.push(first);
    length += first.length;
    for (const next of others) {
      if (length > options.longest) break;
      take(parts.join(''));
      clearTimeout(slow);
      slow = undefined;
      parts = [next];
      length = next.length;
    }
    if (length > options.longest) {
      stop();
      options.onTooLong();
    } else if (length > 0) {
      slow ??= setTimeout(() => socket.destroy(), options.patience);
    }
  });
  socket.once('close', stop);
  return stop;
}
