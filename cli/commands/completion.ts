/** `bowline completion`: a script by which a shell completes bowline's commands, options and connection names. */
import { Argument, Command, Option } from 'commander';
import { BowlineError } from '../../api/errors.ts';
import { bashCompletion } from '../completion/bash.ts';
import { fishCompletion } from '../completion/fish.ts';
import { completionModel } from '../completion/model.ts';
import { powershellCompletion } from '../completion/powershell.ts';
import { zshCompletion } from '../completion/zsh.ts';
import { findDaemon } from '../daemon-process.ts';
import { outJson, type Io } from '../io.ts';

const shells = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion, powershell: powershellCompletion };

export function completionCommand(io: Io): Command {
  return new Command('completion')
    .summary('a completion script for your shell')
    .description('Prints a script that makes your shell complete commands, options and the names of connections.')
    .addArgument(new Argument('[SHELL]', 'your shell').choices(Object.keys(shells)))
    .addOption(new Option('--connections', 'the names of the connections, for the scripts').hideHelp())
    .option('--json', 'the script in a JSON document')
    .addHelpText(
      'after',
      '\nExamples:\n  source <(bowline completion bash)      # in ~/.bashrc\n  bowline completion fish | source       # in config.fish\n',
    )
    .action(async (shell: keyof typeof shells | undefined, options: { connections?: boolean }) => {
      if (options.connections) {
        // A pressed Tab must not start a daemon.
        const client = await findDaemon(io);
        const found = client ? (await client.call('listConnections', {})).connections : [];
        io.out(found.map(({ name }) => `${name}\n`).join(''));
        return;
      }
      if (shell === undefined) {
        throw new BowlineError('BAD_ARGUMENT', 'Say for which shell.', {
          hint: `One of ${Object.keys(shells).join(', ')}.`,
        });
      }
      const { buildProgram } = await import('../program.ts');
      const script = shells[shell](completionModel(await buildProgram(io)));
      if (io.json) outJson(io, { shell, script });
      else io.out(script);
    });
}
