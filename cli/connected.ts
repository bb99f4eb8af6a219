/** Makes a connection for a command and lets it go again, with its steps shown. */
import type { Client } from '../api/client.ts';
import { BowlineError, exitStatus } from '../api/errors.ts';
import type { Connection, ConnectInput, Progress } from '../api/schema.ts';
import { daemonIfAnything } from './daemon-process.ts';
import { withLines } from './environment/read-environment-file.ts';
import { errorLine, type Io } from './io.ts';
import { cancelOnInterrupt, follow, withoutResult } from './operation.ts';
import { createProgressView } from './progress.ts';
import { describeUntied, isOver } from './texts.ts';

export interface Connected {
  connection: Connection;
  /** The rest of the stream, which is the hold where one was asked for. */
  lines: AsyncIterator<unknown>;
}

/** `hold`: the connection ends with this process, and its files are here when it is answered. */
export async function connect(
  client: Client,
  request: ConnectInput,
  { io, hold, jsonTo }: { io: Io; hold: boolean; jsonTo: (text: string) => void },
): Promise<Connected> {
  const view = createProgressView(io, jsonTo);
  const cancel = new AbortController();
  using _ = cancelOnInterrupt(view, cancel, { io, cancellable: true });
  const lines = client.stream('connect', { body: { ...request, awaitFiles: hold }, query: { hold } }, cancel.signal);
  try {
    for (let next = await lines.next(); !next.done; next = await lines.next()) {
      const line = next.value as Progress;
      view.line(line);
      if (line.type === 'result' && line.connection) {
        view.end('done');
        return { connection: line.connection, lines };
      }
    }
  } catch (error) {
    view.end('failed');
    throw withLines(error, request.environmentFile);
  }
  throw withoutResult();
}

/** The exit status of the release; that somebody else was faster is fine. */
export async function release(name: string, io: Io): Promise<number> {
  try {
    // The daemon may be another one than that of the connect.
    const client = await daemonIfAnything(io);
    if (!client) return 0;
    // One that has failed stays listed, for whoever asks why.
    const { connections } = await client.call('listConnections', {});
    if (connections.some((each) => each.name === name && isOver(each))) return 0;
    await follow(client, 'disconnect', { params: { name } }, { io, cancellable: false, jsonTo: io.err });
    if (io.steps && !io.json) io.err(describeUntied(name));
    return 0;
  } catch (thrown) {
    const error = BowlineError.from(thrown);
    if (error.code === 'CONNECTION_NOT_FOUND') return 0;
    io.err(io.json ? errorLine(error) : `${name} was not released: ${error.message}\n`);
    return exitStatus[error.category];
  }
}
