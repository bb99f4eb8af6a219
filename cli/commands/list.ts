/** `bowline list`: one line for each connection. */
import { Command } from 'commander';
import { daemonIfAnything } from '../daemon-process.ts';
import { outJson, type Io } from '../io.ts';
import { describeList, noConnection } from '../texts.ts';

export function listCommand(io: Io): Command {
  return new Command('list')
    .summary('the connections of this machine')
    .description('Lists the connections of this machine, one a line; `bowline status` shows more of each.')
    .option('--json', 'one JSON document')
    .action(async () => {
      const client = await daemonIfAnything(io);
      const connections = client ? (await client.call('listConnections', {})).connections : [];
      if (io.json) outJson(io, { connections });
      else if (connections.length > 0) io.out(describeList(connections));
      else io.err(`${noConnection}\n`);
    });
}
