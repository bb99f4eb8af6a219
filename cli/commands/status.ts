/** `bowline status`: the daemon, the helper and each connection in full. */
import { Command } from 'commander';
import { BowlineError } from '../../api/errors.ts';
import { daemonIfAnything } from '../daemon-process.ts';
import { outJson, type Io } from '../io.ts';
import { describeStatus } from '../texts.ts';

export function statusCommand(io: Io): Command {
  return new Command('status')
    .summary('what is connected, and how it stands')
    .description(
      'Shows the daemon, the helper, and of each connection its state, ports, agent, names and what is not carried.',
    )
    .argument('[NAME]', 'only this connection')
    .option('--json', 'one JSON document')
    .action(async (name: string | undefined) => {
      const client = await daemonIfAnything(io);
      if (client === undefined) {
        if (name !== undefined) throw notThere(name);
        if (io.json) outJson(io, { daemon: null, saved: 0, connections: [] });
        else io.out('No daemon runs, and there is no connection.\n');
        return;
      }
      const status = await client.call('status', {});
      const chosen = status.connections.filter(
        (each) => name === undefined || each.name === name || each.name.endsWith(`/${name}`),
      );
      if (name !== undefined && chosen.length === 0) throw notThere(name);
      const shown = { ...status, connections: chosen };
      if (io.json) outJson(io, shown);
      else io.out(describeStatus(shown));
    });
}

function notThere(name: string): BowlineError {
  return new BowlineError('CONNECTION_NOT_FOUND', `There is no connection "${name}".`, {
    hint: '`bowline list` shows them.',
  });
}
