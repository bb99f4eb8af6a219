/** `bowline disconnect`: unties, and waits until cluster and machine are as before. */
import { Command } from 'commander';
import type { Client } from '../../api/client.ts';
import { BowlineError, exitStatus } from '../../api/errors.ts';
import { chooseConnection } from '../choose-connection.ts';
import { daemonIfAnything } from '../daemon-process.ts';
import { errorLine, type Io } from '../io.ts';
import { follow } from '../operation.ts';
import { progressOption } from '../progress.ts';
import { describeAlsoMeant, describeForgotten, describeUntied, isOver, noConnection } from '../texts.ts';

export function disconnectCommand(io: Io): Command {
  return new Command('disconnect')
    .summary('untie, and put everything back')
    .description(
      'Lets open requests finish, leads new ones to the originals, and removes what was made in the cluster and on this machine.\n' +
        'One that has failed is only listed no more.',
    )
    .argument('[NAME]', 'the connection, as `bowline list` shows it (default: the only one)')
    .option('-a, --all', 'all connections of this machine')
    .addOption(progressOption())
    .option('--json', 'NDJSON: steps, then the result')
    .addHelpText('after', '\nExamples:\n  bowline disconnect shop/stats-api\n  bowline disconnect --all\n')
    .action(async (name: string | undefined, options: { all?: boolean }) => {
      if (name !== undefined && options.all) throw new BowlineError('BAD_ARGUMENT', 'Either NAME or --all, not both.');
      const client = await daemonIfAnything(io);
      if (options.all) await disconnectAll(client, io);
      else await disconnectOne(client, (await chooseConnection(client, name, { orOver: true })).name, io);
    });
}

async function disconnectOne(client: Client | undefined, name: string, io: Io): Promise<void> {
  if (!client) return;
  const { connection } = await follow(client, 'disconnect', { params: { name } }, { io, cancellable: false });
  if (io.json) return;
  if (connection?.state === 'failed') return io.err(describeForgotten(connection));
  io.err(describeUntied(connection?.name ?? name));
  const { connections } = await client.call('listConnections', {});
  for (const other of connections.filter((each) => isOver(each) && each.name.endsWith(`/${name}`)))
    io.err(describeAlsoMeant(other));
}

/** One that cannot be released does not keep the others tied. */
async function disconnectAll(client: Client | undefined, io: Io): Promise<void> {
  const all = client ? (await client.call('listConnections', {})).connections : [];
  const failures: BowlineError[] = [];
  for (const { name } of all) {
    try {
      await disconnectOne(client, name, io);
    } catch (thrown) {
      const error = BowlineError.from(thrown);
      if (error.code === 'CONNECTION_NOT_FOUND') continue; // Somebody else was faster.
      failures.push(error);
      if (io.json) io.out(errorLine(error));
      else io.err(`${name}: ${error.message}\n`);
    }
  }
  const [first] = failures;
  if (first) io.status = exitStatus[first.category];
  if (all.length === 0 && !io.json) io.err(`${noConnection}\n`);
}
