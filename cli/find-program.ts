/** Finds the program of a COMMAND before anything is tied for it: by the caller's PATH, as the system will at the start. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { BowlineError } from '../api/errors.ts';
import type { PlatformFacts } from '../api/paths.ts';

/**
 * Its file. Rejects with COMMAND_NOT_STARTED. Windows has more ways to find a program, so there is no answer; there the
 * start itself tells.
 */
export async function findProgram(program: string, { platform, env }: PlatformFacts): Promise<string | undefined> {
  const path = env['PATH'];
  if (platform === 'win32' || (path === undefined && !program.includes('/'))) return undefined;
  const places = program.includes('/')
    ? [program]
    : (path ?? '').split(delimiter).map((folder) => join(folder || '.', program));
  let found: string | undefined;
  for (const place of program === '' ? [] : places) {
    const file = await stat(place).catch(() => undefined);
    if (file === undefined || !file.isFile()) continue;
    found ??= place;
    if (await mayExecute(place)) return place;
  }
  throw notStarted(program, found === undefined ? 'there is no such program' : 'it may not be executed');
}

async function mayExecute(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

export function notStarted(program: string, why: string, cause?: unknown): BowlineError {
  return new BowlineError('COMMAND_NOT_STARTED', `${program || 'The empty command'} could not be started: ${why}.`, {
    hint: 'Give the command as you would type it; shell syntax needs `sh -c "..."`.',
    cause,
  });
}
