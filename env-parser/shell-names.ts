/** Names of variables that a program can have and a shell cannot. */
import type { EnvironmentFile, Problem } from './environment-file.ts';
import { shellName } from './formats/line.ts';

/** A warning for each entry of the file with such a name. */
export function namesForNoShell({ entries, source }: EnvironmentFile): Problem[] {
  return entries
    .filter(({ name }) => !shellName.test(name))
    .map(({ name, position }) =>
      source.problem(
        position,
        `A shell cannot hold the name ${name}: programs get it from \`bowline connect ... -- COMMAND\` only`,
        {
          expected: 'letters, digits and _, not beginning with a digit',
        },
      ),
    );
}
