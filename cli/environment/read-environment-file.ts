/**
 * The environment file of the project: the one that is named, else the one in the folder where the command is typed. It is
 * read and checked here, before anything is touched; the daemon reads the same text again.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { BowlineError } from '../../api/errors.ts';
import type { ConnectInput } from '../../api/schema.ts';
import { fileNames, type Parsed, type Problem } from '../../env-parser/environment-file.ts';
import { parseEnvironmentFile } from '../../env-parser/parse.ts';
import { formatProblem } from '../../env-parser/format-problem.ts';
import { countProblems, Source } from '../../env-parser/source.ts';
import { onErr, type Io } from '../io.ts';

/** Bytes; a file that somebody wrote by hand has a hundredth of it. */
const limit = 256 * 1024;

export interface FoundFile extends Parsed {
  given: NonNullable<ConnectInput['environmentFile']>;
}

/** `undefined` where there is none and none was named. `hint`: how another one is named to the command. */
export async function readEnvironmentFile(
  folder: string,
  named?: string,
  hint = '--env-file FILE names another one, --no-env-file leaves it out.',
): Promise<FoundFile | undefined> {
  const names = named === undefined ? Object.values(fileNames) : [named];
  const all = await Promise.all(
    names.map((name) => readText(resolve(folder, name), { mustBeThere: named !== undefined, hint })),
  );
  const [first, ...others] = all.filter((each) => each !== undefined);
  if (first === undefined) return undefined;
  if (others.length > 0)
    throw new BowlineError('BAD_ARGUMENT', `${folder} has two environment files: ${names.join(' and ')}.`, {
      hint: `Say which one is meant: --env-file ${names[0]}, or --no-env-file for none.`,
    });
  return { given: first, ...parseEnvironmentFile(first.text, { file: first.path }) };
}

async function readText(
  path: string,
  { mustBeThere, hint }: { mustBeThere: boolean; hint: string },
): Promise<{ path: string; text: string } | undefined> {
  try {
    await using file = await open(path);
    const read = await readUpTo(file, limit + 1);
    if (read.length > limit) throw unreadable(path, `it is larger than ${limit / 1024} KiB`, hint);
    return { path, text: read.toString('utf8') };
  } catch (error) {
    if (error instanceof BowlineError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && !mustBeThere) return undefined;
    throw unreadable(path, code === 'ENOENT' ? 'there is no such file' : message, hint);
  }
}

/** From where the file stands, so that it may be a pipe (`--env-file <(sops -d secret.env)`), which comes in pieces. */
async function readUpTo(file: FileHandle, most: number): Promise<Buffer> {
  const buffer = Buffer.alloc(most);
  let length = 0;
  while (length < most) {
    const { bytesRead } = await file.read(buffer, length, most - length, null);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return buffer.subarray(0, length);
}

function unreadable(path: string, why: string, hint: string): BowlineError {
  return new BowlineError('ENVIRONMENT_FILE_INVALID', `${path} cannot be read: ${why}.`, { hint });
}

/** For a connection; `false` is for none. Whatever is wrong with it is said in full, and then nothing is touched. */
export async function givenEnvironmentFile(
  io: Io,
  named: string | false | undefined,
): Promise<ConnectInput['environmentFile']> {
  if (named === false) return undefined;
  const found = await readEnvironmentFile(process.cwd(), named);
  if (found === undefined) return undefined;
  if (!io.json)
    for (const warning of found.file.warnings) io.err(`${onErr('yellow', 'warning:')} ${formatProblem(warning)}\n`);
  if (found.problems.length > 0) throw badEnvironmentFile(found);
  return found.given;
}

/** All problems, each with its place; for the owner of the file, who may see its lines. */
export function badEnvironmentFile({ given, problems }: Pick<FoundFile, 'given' | 'problems'>): BowlineError {
  const all = countProblems(problems);
  const count = all === 1 ? 'a problem' : `${all} problems`;
  return new BowlineError(
    'ENVIRONMENT_FILE_INVALID',
    [`${given.path} has ${count}:`, ...problems.map(formatProblem)].join('\n'),
    { hint: 'Nothing was changed. --no-env-file leaves it out.', details: { file: given.path, problems } },
  );
}

/** An error of the daemon about names that the file has and the cluster has not: with the lines, which the daemon does not tell. */
export function withLines(error: unknown, given: ConnectInput['environmentFile']): unknown {
  const { code, details } = BowlineError.from(error);
  const places = (details?.['problems'] ?? []) as Array<Omit<Problem, 'sourceLine' | 'sourceColumn'>>;
  if (given === undefined || code !== 'ENVIRONMENT_FILE_INVALID' || places.length === 0) return error;
  const source = new Source(given.path, given.text);
  return badEnvironmentFile({
    given,
    problems: places.map((each) => ({ ...source.problem(each, each.message, each), ...each })),
  });
}
