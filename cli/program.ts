/**
 * The table of commands, and the one place where an error becomes text and exit status. Only the command that is called
 * is loaded; help, completion and unknown names load all.
 */
import { Command, CommanderError, Help, type Option } from 'commander';
import { BowlineError, exitStatus } from '../api/errors.ts';
import { productVersion } from '../api/version.ts';
import { errorLine, onErr, outJson, type Io } from './io.ts';
import { usageError } from './usage-error.ts';

type MakeCommand = (io: Io) => Command;

const commands: Record<string, () => Promise<MakeCommand>> = {
  connect: async () => (await import('./commands/connect.ts')).connectCommand,
  list: async () => (await import('./commands/list.ts')).listCommand,
  status: async () => (await import('./commands/status.ts')).statusCommand,
  env: async () => (await import('./commands/env.ts')).envCommand,
  disconnect: async () => (await import('./commands/disconnect.ts')).disconnectCommand,
  restore: async () => (await import('./commands/restore.ts')).restoreCommand,
  keeper: async () => (await import('./commands/keeper.ts')).keeperCommand,
  logs: async () => (await import('./commands/logs.ts')).logsCommand,
  doctor: async () => (await import('./commands/doctor.ts')).doctorCommand,
  diagnostics: async () => (await import('./commands/diagnostics.ts')).diagnosticsCommand,
  daemon: async () => (await import('./commands/daemon.ts')).daemonCommand,
  helper: async () => (await import('./commands/helper.ts')).helperCommand,
  completion: async () => (await import('./commands/completion.ts')).completionCommand,
};

/** Runs a command line; resolves with the exit status. */
export async function run(args: string[], io: Io): Promise<number> {
  try {
    const name = args[0] ?? '';
    const wanted = Object.hasOwn(commands, name) ? [name] : Object.keys(commands);
    const program = await buildProgram(io, wanted);
    if (args.length === 0) {
      io.out(program.helpInformation());
      return 0;
    }
    if (io.command !== undefined && name !== 'connect') {
      throw new BowlineError('BAD_ARGUMENT', `Only \`bowline connect\` takes a command behind --.`);
    }
    await program.parseAsync(args, { from: 'user' });
    return io.status;
  } catch (error) {
    return report(error, args, io);
  }
}

/** The whole program, for help and completion, or the part that is needed. */
export async function buildProgram(io: Io, names = Object.keys(commands)): Promise<Command> {
  const program = new Command('bowline')
    .description('Ties this machine to a Kubernetes cluster fast, and unties clean.')
    .version(productVersion, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand(names.length > 1)
    .addHelpText('after', examples)
    .configureHelp({ optionDescription: describeOption })
    .exitOverride()
    .configureOutput({ writeOut: io.out, writeErr: io.err, outputError: () => undefined });
  for (const name of names) {
    const make = await commands[name]?.();
    if (make) program.addCommand(inherit(make(io), program));
  }
  return program;
}

/** A flag that is not given is off, which nobody has to be told. */
function describeOption(option: Option): string {
  return new Help().optionDescription(option).replace(' (default: false)', '');
}

/** Commands made on their own do not take over the program's way to end and to print. */
function inherit(command: Command, from: Command): Command {
  command.copyInheritedSettings(from);
  command.helpOption('-h, --help', 'show this help');
  for (const sub of command.commands) inherit(sub, command);
  return command;
}

function report(thrown: unknown, args: string[], io: Io): number {
  if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
  // A command that only has subcommands showed its help.
  if (thrown instanceof CommanderError && thrown.code === 'commander.help') return exitStatus.usage;
  const error = thrown instanceof CommanderError ? usageError(thrown, commandOf(args)) : BowlineError.from(thrown);
  if (io.json && answersInLines(args)) (io.command ? io.err : io.out)(errorLine(error));
  else if (io.json) outJson(io, error.toShape());
  else io.err(describeError(error));
  return exitStatus[error.category];
}

const commandOf = ([name = '']: string[]): string | undefined => (Object.hasOwn(commands, name) ? name : undefined);

/** Commands whose --json is NDJSON end with an error line. */
function answersInLines([name = '', sub, ...rest]: string[]): boolean {
  if (name === 'daemon') return sub === 'stop';
  return ['connect', 'disconnect', 'restore'].includes(name) && ![sub, ...rest].includes('--dry-run');
}

export function describeError(error: BowlineError): string {
  const hint = error.hint === undefined ? '' : `  hint: ${error.hint}\n`;
  const trace = error.category === 'bug' ? `  This is a fault of Bowline; \`bowline logs\` has the details.\n` : '';
  return `${onErr('red', `error[${error.code}]:`)} ${error.message}\n${hint}${trace}`;
}

const examples = `
Examples:
  bowline connect deploy/stats-api --port 3001 -- npm start   requests for stats-api arrive at port 3001, until npm ends
  bowline connect -n shop                                      the services of shop answer by their names here
  bowline status                                               what is connected, and how it stands
  bowline disconnect --all                                     puts everything back

\`bowline COMMAND --help\` says what a command changes in the cluster and on this machine.
`;
