/**
 * A connection that lives as long as this process: the open stream is the hold. Watches it while the command runs, says
 * what changes, and takes the hold up again at a daemon that was restarted.
 */
import { setTimeout } from 'node:timers/promises';
import type { Client } from '../api/client.ts';
import { BowlineError, type ErrorCategory } from '../api/errors.ts';
import type { Connection, HoldLine } from '../api/schema.ts';
import { ensureDaemon } from './daemon-process.ts';
import { onErr, type Io } from './io.ts';

export interface HeldConnection {
  /** The command has ended: what becomes of the connection is no news for it any more. */
  commandEnded(): void;
  /** Calls `listener` with the connection as it is now, where that is known, and after each change. */
  onChange(listener: (connection: Connection) => void): void;
  /** Stops watching; the connection must be released before, or ends with this process. */
  letGo(): Promise<void>;
  /** Set where somebody else has the workload now. */
  readonly failure: ErrorCategory | undefined;
}

const retryInterval = 500;

/** `lines` is the rest of the connect's stream, after its result. */
export function watchHeld(
  io: Io,
  first: { client: Client; name: string; lines: AsyncIterator<unknown> },
): HeldConnection {
  const { name } = first;
  let { client } = first;
  const over = new AbortController();
  let state = 'connected';
  let commandRuns = true;
  let failure: ErrorCategory | undefined;
  let why = 'was disconnected';
  let latest: Connection | undefined;
  let listener: ((connection: Connection) => void) | undefined;
  const isGone = (): boolean => state === 'gone';

  const tell = (text: string): void => {
    if (!io.json && commandRuns && !over.signal.aborted) io.err(`${onErr('yellow', 'bowline:')} ${text}\n`);
  };
  /** Local ports whose program has stopped listening, as was said. */
  let stopped = new Set<number>();
  const seePorts = ({ down = [] }: Connection): void => {
    const now = down.filter((port) => port.stopped);
    for (const { local, callers } of now) {
      if (stopped.has(local)) continue;
      const instead = callers === 'reset' ? 'callers are reset' : 'the originals answer instead';
      tell(`nothing listens on localhost:${local} any more; ${instead}`);
    }
    stopped = new Set(now.map(({ local }) => local));
  };
  const see = (line: HoldLine): void => {
    if (line.type !== 'gone') {
      listener?.((latest = line.connection));
      seePorts(line.connection);
    }
    if (line.type === 'gone') {
      state = 'gone';
      tell(`${name} ${why}; the command goes on without it`);
    } else if (line.connection.state !== state) {
      state = line.connection.state;
      if (state === 'reconnecting')
        tell(`${name} is reconnecting${line.connection.reason ? `: ${line.connection.reason}` : ''}`);
      if (state === 'connected') tell(`${name} is connected again`);
      const { error } = line.connection;
      if (state === 'failed' && error !== undefined) {
        if (error.category === 'conflict') failure = error.category;
        why = `ended: ${error.message.replace(/\.$/, '')}`;
      }
    }
  };
  const read = async (lines: AsyncIterator<unknown>): Promise<void> => {
    for (let next = await lines.next(); !next.done; next = await lines.next()) see(next.value as HoldLine);
  };
  const watch = async (): Promise<void> => {
    let lines = first.lines;
    while (!over.signal.aborted && !isGone()) {
      try {
        await read(lines);
      } catch (error) {
        if (over.signal.aborted) return;
        if (BowlineError.from(error).code === 'CONNECTION_NOT_FOUND') {
          see({ type: 'gone', name });
          return;
        }
      }
      if (over.signal.aborted || isGone()) return;
      // The daemon went away under us. It, or the next one, takes the connection up again.
      await setTimeout(retryInterval, undefined, { signal: over.signal }).catch(() => undefined);
      if (over.signal.aborted) return;
      client = await ensureDaemon(io).catch(() => client);
      lines = client.stream('hold', { params: { name } }, over.signal);
    }
  };
  const watching = watch();

  return {
    get failure() {
      return failure;
    },
    onChange(wanted) {
      listener = wanted;
      if (latest !== undefined) wanted(latest);
    },
    commandEnded() {
      commandRuns = false;
    },
    async letGo() {
      over.abort();
      // The stream of the connect ends by itself once the connection is gone.
      await Promise.race([watching, setTimeout(1_000, undefined, { ref: false })]);
    },
  };
}
