/** `bowline env convert`: an environment file in the other dialect. */
import { Command, Option } from 'commander';
import { BowlineError } from '../../api/errors.ts';
import { convertEnvironmentFile } from '../../env-parser/convert.ts';
import { fileNames, type Dialect } from '../../env-parser/environment-file.ts';
import { formatProblem } from '../../env-parser/format-problem.ts';
import { findEnvironmentFiles } from '../environment/found-files.ts';
import { onErr, outJson, type Io } from '../io.ts';

export function envConvertCommand(io: Io): Command {
  return new Command('convert')
    .summary('an environment file in the other dialect')
    .description('Prints the file in the other dialect, and what that cannot say. Comments are not carried over.')
    .argument('[FILE]', 'azds-local.env or a YAML file (default: the one in this folder)')
    .addOption(
      new Option(
        '--to <DIALECT>',
        `azds: ${fileNames.azds}; bridge: ${fileNames.bridge} (default: the other one)`,
      ).choices(Object.keys(fileNames)),
    )
    .option('--json', 'text and warnings as one JSON document')
    .addHelpText('after', `\nExample:\n  bowline env convert ${fileNames.bridge} > ${fileNames.azds}\n`)
    .action(async (named: string | undefined, options: { to?: Dialect }) => {
      const [found, ...others] = await findEnvironmentFiles(process.cwd(), named);
      if (others.length > 0) {
        throw new BowlineError('BAD_ARGUMENT', 'Both environment files are in this folder.', {
          hint: `Name the one to convert: ${Object.values(fileNames).join(' or ')}.`,
        });
      }
      const { file, problems } = found!;
      if (problems.length > 0) {
        if (!io.json) for (const problem of problems) io.err(`${formatProblem(problem)}\n\n`);
        throw new BowlineError(
          'ENVIRONMENT_FILE_INVALID',
          `${file.path} cannot be converted: it is not right itself.`,
          {
            hint: '`bowline env validate` shows what is wrong.',
            details: { file: file.path, problems },
          },
        );
      }
      const { text, warnings } = convertEnvironmentFile(
        file,
        options.to ?? (file.dialect === 'azds' ? 'bridge' : 'azds'),
      );
      if (io.json) return outJson(io, { text, warnings });
      io.out(text);
      for (const warning of warnings) io.err(`${onErr('yellow', 'warning:')} ${formatProblem(warning)}\n`);
    });
}
