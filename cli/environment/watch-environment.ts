/**
 * Calls back with the environment of a connection, at once and whenever it may have changed, until the connection is gone
 * or the signal aborts. Lives through a restart of the daemon.
 */
import { setTimeout } from 'node:timers/promises';
import type { Client } from '../../api/client.ts';
import { BowlineError } from '../../api/errors.ts';
import type { Connection, Environment, EventLine } from '../../api/schema.ts';
import { daemonIfAnything } from '../daemon-process.ts';
import type { Io } from '../io.ts';
import { isOver } from '../texts.ts';

const retryInterval = 500;

export async function watchEnvironment(
  io: Io,
  { client: first, name }: { client: Client; name: string },
  onEnvironment: (environment: Environment) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  let client: Client | undefined = first;
  while (client !== undefined && !signal.aborted) {
    try {
      for await (const line of client.stream('events', {}, signal)) {
        const found = stateIn(line, name);
        if (found === 'other') continue;
        if (found === 'gone') return;
        await onEnvironment(await client.call('environment', { params: { name } }, signal));
      }
    } catch (error) {
      if (signal.aborted) return;
      const { code } = BowlineError.from(error);
      if (code === 'CONNECTION_NOT_FOUND') return;
      if (code !== 'DAEMON_UNREACHABLE') throw error;
    }
    // The daemon went away; it, or the next one, takes the connection up again, if there is still one.
    await setTimeout(retryInterval, undefined, { signal }).catch(() => undefined);
    client = signal.aborted ? undefined : await daemonIfAnything(io);
  }
}

/** `other`: not about this connection, or nothing that a variable depends on. */
function stateIn(line: EventLine, name: string): Connection | 'gone' | 'other' {
  if ('reset' in line) return alive(line.reset.connections.find((each) => each.name === name));
  if (line.removed === name) return 'gone';
  return line.connection?.name === name ? alive(line.connection) : 'other';
}

function alive(connection: Connection | undefined): Connection | 'gone' {
  return connection === undefined || isOver(connection) ? 'gone' : connection;
}
