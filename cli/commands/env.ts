/** `bowline env`: the variables of the connected container, for a shell, a file or a program. */
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { Client } from '../../api/client.ts';
import { BowlineError } from '../../api/errors.ts';
import { nearest } from '../../api/nearest.ts';
import type { Environment } from '../../api/schema.ts';
import { formats, formatVariables, quoteForShell, type Format } from '../../env-parser/formats.ts';
import { chooseConnection } from '../choose-connection.ts';
import { daemonIfAnything } from '../daemon-process.ts';
import { chooseVariables } from '../environment/choose-variables.ts';
import { compareVariables, masked, type Difference } from '../environment/compare-variables.ts';
import { keepFile } from '../environment/kept-file.ts';
import { watchEnvironment } from '../environment/watch-environment.ts';
import { onInterrupt } from '../interrupts.ts';
import { onErr, onOut, outJson, type Io } from '../io.ts';
import { envConvertCommand } from './env-convert.ts';
import { envSchemaCommand } from './env-schema.ts';
import { envValidateCommand } from './env-validate.ts';

interface EnvOptions {
  format: Format;
  all?: boolean;
  only?: string[];
  except?: string[];
  diff?: boolean;
  showValues?: boolean;
  verbose?: boolean;
  watch?: string;
}

export function envCommand(io: Io): Command {
  return new Command('env')
    .summary('the variables of the connected container')
    .description(
      'Prints the variables that the container has, with those of the services as they answer on this machine and those\n' +
        'of the environment file. They may hold secrets. What belongs to the machine (PATH, HOME, TERM, ...) is left out\n' +
        'unless --all is given.',
    )
    .argument('[NAME]', 'the connection (default: the only one)')
    .addOption(new Option('-f, --format <FORMAT>', 'how to write them').choices([...formats]).default('sh'))
    .option('--all', 'also the variables that belong to the machine; with --diff also those that only this shell has')
    .option('--only <NAMES>', 'only these, separated by commas; * stands for any text', parseNames('--only'))
    .option('--except <NAMES>', 'all but these', parseNames('--except'))
    .option('--diff', 'what is different in this shell, with values masked')
    .option('--show-values', 'with --diff: the values too')
    .option('--verbose', 'say all that was changed for this machine, and why')
    .addOption(
      new Option(
        '--watch <FILE>',
        'write them to FILE, for your eyes only, and keep it current; ends with the connection or Ctrl-C, and removes FILE',
      ).conflicts('diff'),
    )
    .option('--json', 'variables, where each came from and notes, as one JSON document')
    .addHelpText('after', details)
    .addCommand(envValidateCommand(io))
    .addCommand(envConvertCommand(io))
    .addCommand(envSchemaCommand(io))
    .action(async (name: string | undefined, options: EnvOptions) => {
      if (options.showValues === true && options.diff !== true)
        throw new BowlineError('BAD_ARGUMENT', '--show-values belongs to --diff; without it values are shown anyway.');
      await run(io, name, options).catch((error: unknown) => {
        throw perhapsSubcommand(error, name);
      });
    });
}

async function run(io: Io, name: string | undefined, options: EnvOptions): Promise<void> {
  const client = await daemonIfAnything(io);
  const chosen = await chooseConnection(client, name);
  if (options.watch !== undefined) return watch(io, client!, chosen.name, resolve(options.watch), options);
  const environment = await client!.call('environment', { params: { name: chosen.name } });
  const variables = choose(io, environment, options);
  if (options.diff === true) return diff(io, variables, options);
  if (io.json) return outJson(io, onlyThose(environment, variables));
  io.out(written(io, environment, variables, options));
}

/** `bowline env validat` asks for a connection, because nothing else is named like that. */
function perhapsSubcommand(error: unknown, name = ''): unknown {
  const { code, message, hint, details } = BowlineError.from(error);
  const [near] = name.length < 4 ? [] : nearest(name, ['validate', 'convert', 'schema']);
  if (code !== 'CONNECTION_NOT_FOUND' || near === undefined) return error;
  return new BowlineError(code, message, {
    hint: [`Did you mean \`bowline env ${near}\`?`, hint].filter(Boolean).join(' '),
    ...(details && { details }),
  });
}

const details = `
Examples:
  eval "$(bowline env)"
  bowline env shop/stats-api --format dotenv --only 'DATABASE_*,REDIS_URL' > .env
  bowline env --diff
  bowline env --format docker --watch /tmp/shop.env
`;

/** For commander. */
function parseNames(option: string): (text: string) => string[] {
  return (text) => {
    const names = text.split(',').map((name) => name.trim());
    if (names.every((name) => name !== '')) return names;
    throw new BowlineError('BAD_ARGUMENT', `${option} has an empty name.`, { hint: `For example: ${option} 'A,B_*'` });
  };
}

function choose(io: Io, environment: Environment, { all = false, only, except }: EnvOptions): Record<string, string> {
  const { variables, unmatched } = chooseVariables(environment, {
    all,
    ...(only && { only }),
    ...(except && { except }),
  });
  for (const pattern of unmatched) io.err(`${onErr('yellow', 'warning:')} no variable is named ${pattern}\n`);
  return variables;
}

function onlyThose(environment: Environment, variables: Record<string, string>): Environment {
  const keep = <T>(all: Record<string, T>): Record<string, T> =>
    Object.fromEntries(Object.entries(all).filter(([name]) => Object.hasOwn(variables, name)));
  const { origins, rewritten, notCarried } = environment;
  return {
    ...environment,
    variables,
    origins: keep(origins),
    rewritten: keep(rewritten),
    notCarried: keep(notCarried),
  };
}

/** The text; what is to be said beside it goes to standard error. */
function written(
  io: Io,
  environment: Environment,
  variables: Record<string, string>,
  { format, verbose = false }: EnvOptions,
): string {
  const { text, skipped } = formatVariables(variables, format);
  for (const { name, reason } of skipped) io.err(`${onErr('yellow', 'left out:')} ${name}: ${reason}\n`);
  const { warnings, notes } = environment;
  for (const warning of warnings) io.err(`${onErr('yellow', 'warning:')} ${warning}\n`);
  const hints = format === 'docker' ? [ofThisMachine] : [];
  const more = `${notes.length} more with --verbose`;
  for (const note of verbose ? [...hints, ...notes] : [...hints, ...(notes.length === 0 ? [] : [more])])
    io.err(`${onErr('dim', 'note:')} ${note}\n`);
  return text;
}

/** A container of its own has another loopback. */
const ofThisMachine = 'The addresses are those of this machine: docker run --network host --env-file FILE IMAGE';

function diff(
  io: Io,
  variables: Record<string, string>,
  { showValues = false, all = false }: Pick<EnvOptions, 'showValues' | 'all'>,
): void {
  const difference = compareVariables(variables, io.facts.env, { all });
  if (io.json) return outJson(io, showValues ? difference : masked(difference));
  io.out(describeDifference(showValues ? difference : masked(difference), showValues));
}

function describeDifference({ added, changed, onlyHere, onlyHereCount }: Difference, quoted: boolean): string {
  const shown = (value: string): string => (quoted ? quoteForShell(value) : value);
  const lines = [
    ...added.map(({ name, pod }) => onOut('green', `+ ${name}=${shown(pod)}`)),
    ...changed.map(({ name, here, pod }) => onOut('yellow', `~ ${name}=${shown(pod)}  (here ${shown(here)})`)),
    ...onlyHere.map(({ name, here }) => onOut('red', `- ${name}=${shown(here)}`)),
  ];
  if (lines.length === 0) lines.push('This shell has the variables of the pod.');
  const unseen = onlyHereCount - onlyHere.length;
  if (unseen > 0) lines.push(onOut('dim', `${unseen} that only this shell has are not shown; --all shows them`));
  return `${lines.join('\n')}\n`;
}

async function watch(io: Io, client: Client, given: string, path: string, options: EnvOptions): Promise<void> {
  // Events have the whole name.
  const { connections } = await client.call('listConnections', {});
  const { name } = connections.find((each) => each.name === given || each.name.endsWith(`/${given}`)) ?? {
    name: given,
  };
  const over = new AbortController();
  using _ = onInterrupt(() => over.abort());
  await using file = keepFile(path);
  let last: string | undefined;
  await watchEnvironment(
    io,
    { client, name },
    async (environment) => {
      const first = last === undefined;
      const quiet: Io = first ? io : { ...io, err: () => undefined };
      const text = written(quiet, environment, choose(quiet, environment, options), options);
      if (text === last) return;
      await file.write(text);
      last = text;
      if (io.json) io.out(`${JSON.stringify({ type: 'written', file: path })}\n`);
      else io.err(first ? `${path} is kept current until ${name} is disconnected.\n` : `${path} was written anew.\n`);
    },
    over.signal,
  );
}
