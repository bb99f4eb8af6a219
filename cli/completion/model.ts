/** What a shell needs to know to complete a command line: taken from the commands themselves, so it cannot be outdated. */
import type { Command } from 'commander';

export interface CompletionOption {
  long: string;
  short: string | undefined;
  description: string;
  /** It is followed by a value. */
  value: boolean;
  choices: string[];
  /** The value is a file. */
  file: boolean;
  /** It may be given several times. */
  repeat: boolean;
}

export interface CompletionCommand {
  /** `[]` for bowline itself, `['daemon', 'start']` for a subcommand. */
  path: string[];
  description: string;
  options: CompletionOption[];
  subcommands: Array<{ name: string; description: string }>;
  /** Its argument is the name of a connection. */
  takesConnection: boolean;
  /** Fixed values of its argument. */
  argumentChoices: string[];
  /** It takes a command behind `--`. */
  takesCommand: boolean;
}

export function completionModel(program: Command): CompletionCommand[] {
  return describe(program, []);
}

function describe(command: Command, path: string[]): CompletionCommand[] {
  const argument = command.registeredArguments[0];
  const own: CompletionCommand = {
    path,
    description: firstLine(command.summary() || command.description()),
    options: [...command.createHelp().visibleOptions(command)].map((option) => ({
      long: option.long ?? '',
      short: option.short,
      description: firstLine(option.description),
      value: option.required || option.optional,
      choices: option.argChoices ?? [],
      file: option.flags.includes('<FILE>'),
      repeat: option.variadic || Array.isArray(option.defaultValue),
    })),
    subcommands: command.commands.map((sub) => ({
      name: sub.name(),
      description: firstLine(sub.summary() || sub.description()),
    })),
    takesConnection: argument?.name() === 'NAME',
    argumentChoices: argument?.argChoices ?? [],
    takesCommand: command.name() === 'connect',
  };
  return [own, ...command.commands.flatMap((sub) => describe(sub, [...path, sub.name()]))];
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}
