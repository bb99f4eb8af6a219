/** From the text of an environment file to its entries and to all that is wrong in it. Never throws. */
import { readAzdsFile } from './azds-file.ts';
import { readBridgeFile } from './bridge-file.ts';
import type { Dialect, Parsed } from './environment-file.ts';
import { Source } from './source.ts';

/** Characters. What is larger is some other file that was taken by mistake. */
const largest = 4 * 1024 * 1024;

/** The dialect of a file by its name: YAML by its extension, everything else is of the other kind. */
export function dialectOf(path: string): Dialect {
  return /\.ya?ml$/i.test(path) ? 'bridge' : 'azds';
}

/** `path` is for messages and, where no dialect is given, for the choice of it. */
export function parseEnvironmentFile(text: string, options: { file: string; dialect?: Dialect }): Parsed {
  const dialect = options.dialect ?? dialectOf(options.file);
  const tooLarge = text.length > largest;
  const source = new Source(options.file, tooLarge ? '' : text);
  const none = {
    path: options.file,
    source,
    dialect,
    entries: [],
    volumeMounts: [],
    features: [],
    warnings: [],
  };
  if (tooLarge) {
    const message = `This file has ${text.length} characters; an environment file has at most ${largest}`;
    const expected = 'a file that somebody wrote by hand';
    return { file: none, problems: [source.problem(source.span(0, 0), message, { expected })] };
  }
  const { findings, ...read } = dialect === 'azds' ? readAzdsFile(source) : readBridgeFile(source);
  return {
    file: { ...none, ...read, warnings: findings.warnings.all() },
    problems: findings.problems.all(),
  };
}
