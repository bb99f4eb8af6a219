/** `bowline env`: the variables of the connected container, for a shell, a dotenv file or a program. */
import { Command, Option } from 'commander';
import { formats, formatVariables, type Format } from '../../env-parser/formats.ts';
import { forMachine } from '../../env-parser/machine-variables.ts';
import { chooseConnection } from '../choose-connection.ts';
import { daemonIfAnything } from '../daemon-process.ts';
import { onErr, outJson, type Io } from '../io.ts';

export function envCommand(io: Io): Command {
  return new Command('env')
    .summary('the variables of the connected container')
    .description(
      'Prints the variables that the container has, with those of the services as they answer on this machine.\n' +
        'They may hold secrets. What belongs to the machine (PATH, HOME, TERM, ...) is left out unless --all is given.',
    )
    .argument('[NAME]', 'the connection (default: the only one)')
    .addOption(new Option('-f, --format <FORMAT>', 'how to write them').choices([...formats]).default('sh'))
    .option('--all', 'also the variables that belong to the machine')
    .option('--json', 'variables, where they came from and notes, as one JSON document')
    .addHelpText('after', '\nExamples:\n  eval "$(bowline env)"\n  bowline env shop/stats-api --format dotenv > .env\n')
    .action(async (name: string | undefined, options: { format: Format; all?: boolean }) => {
      const client = await daemonIfAnything(io);
      const chosen = await chooseConnection(client, name);
      const environment = await client!.call('environment', { params: { name: chosen.name } });
      const variables = options.all ? environment.variables : forMachine(environment.variables);
      if (io.json) return outJson(io, { ...environment, variables });
      const { text, skipped } = formatVariables(variables, options.format);
      io.out(text);
      for (const { name, reason } of skipped) io.err(`${onErr('yellow', 'left out:')} ${name}: ${reason}\n`);
      for (const note of environment.notes) io.err(`${onErr('dim', 'note:')} ${note}\n`);
    });
}
