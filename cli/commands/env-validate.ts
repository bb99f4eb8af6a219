/** `bowline env validate`: everything that is wrong in the environment file, at once, each with its place. */
import { Command } from 'commander';
import { exitStatus } from '../../api/errors.ts';
import type { KnownNames } from '../../api/schema.ts';
import type { EnvironmentFile, Problem } from '../../env-parser/environment-file.ts';
import { formatProblem } from '../../env-parser/format-problem.ts';
import { checkReferences, tokensOf } from '../../env-parser/references.ts';
import { namesForNoShell } from '../../env-parser/shell-names.ts';
import { byPlace, countProblems } from '../../env-parser/source.ts';
import { findDaemon } from '../daemon-process.ts';
import { findEnvironmentFiles } from '../environment/found-files.ts';
import { knownNames, notChecked } from '../environment/known-names.ts';
import { onOut, outJson, type Io } from '../io.ts';
import { isOver } from '../texts.ts';

interface ValidateOptions {
  offline?: boolean;
  connection?: string;
}

export function envValidateCommand(io: Io): Command {
  return new Command('validate')
    .summary('what is wrong in an environment file')
    .description(
      'Reads an environment file and shows all problems with their places. While a workload is connected, also whether\n' +
        'the volumes and Services that it names are there, as a connect checks it. Changes nothing.',
    )
    .argument('[FILE]', 'azds-local.env or a YAML file (default: those of the two names in this folder)')
    .option('--offline', 'do not ask a connection about volumes and Services')
    .option('--connection <NAME>', 'the connection that is asked (default: the only one)')
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExit status: 0 nothing wrong, 2 the file is wrong, 5 the file names what is not there.\n')
    .action((file: string | undefined, options: ValidateOptions) => validate(io, file, options));
}

async function validate(io: Io, named: string | undefined, options: ValidateOptions): Promise<void> {
  const found = await findEnvironmentFiles(process.cwd(), named);
  const asked = found.map(({ file }) => file);
  const known = options.offline === true ? undefined : await askConnection(io, options.connection, asked);
  const files = found.map(({ file, problems }) => ({
    file: file.path,
    dialect: file.dialect,
    variables: new Set(file.entries.map(({ name }) => name)).size,
    tokens: tokensOf(file).length,
    problems,
    missing: known === undefined ? [] : checkReferences(file, known),
    warnings: [
      ...file.warnings,
      ...namesForNoShell(file),
      ...(known === undefined ? [] : notChecked(file, known)),
    ].sort(byPlace),
  }));
  if (files.some(({ missing }) => missing.length > 0)) io.status = exitStatus.cluster;
  if (files.some(({ problems }) => problems.length > 0)) io.status = exitStatus.usage;
  if (io.json) return outJson(io, { checkedAgainst: known?.connection ?? null, files });
  for (const { file, problems, missing, warnings, variables, tokens } of files) {
    show(io, 'red', 'error:', [...problems, ...missing]);
    show(io, 'yellow', 'warning:', warnings);
    const count = countProblems([...problems, ...missing]);
    const contents = `${counted(variables, 'variable')}, ${counted(tokens, 'token')}`;
    const verdict = count === 0 ? `nothing wrong (${contents})` : counted(count, 'problem');
    const checked =
      known === undefined ? '; volumes and Services were not checked' : `; checked against ${known.connection}`;
    io.out(`${file}: ${verdict}${checked}\n`);
  }
}

/** Without a connection there is nothing to check against; a named one must be there. */
async function askConnection(
  io: Io,
  name: string | undefined,
  files: EnvironmentFile[],
): Promise<KnownNames | undefined> {
  const client = await findDaemon(io);
  if (client === undefined && name === undefined) return undefined;
  if (name === undefined) {
    const { connections } = await client!.call('listConnections', {});
    if (connections.every(isOver)) return undefined;
  }
  return knownNames(client, name, files);
}

function show(io: Io, colour: 'red' | 'yellow', word: string, problems: Problem[]): void {
  for (const problem of problems) io.out(`${onOut(colour, word)} ${formatProblem(problem)}\n\n`);
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
