/** The environment files that a command about them means: the named one, else those that lie in the folder. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { BowlineError } from '../../api/errors.ts';
import { fileNames } from '../../env-parser/environment-file.ts';
import { readEnvironmentFile, type FoundFile } from './read-environment-file.ts';

/** At least one. Throws ENVIRONMENT_FILE_INVALID when there is none or one cannot be read. */
export async function findEnvironmentFiles(folder: string, named: string | undefined): Promise<FoundFile[]> {
  const names =
    named === undefined ? Object.values(fileNames).filter((name) => existsSync(resolve(folder, name))) : [named];
  const hint = `Without FILE those in this folder are read: ${Object.values(fileNames).join(', ')}.`;
  const found = await Promise.all(names.map((name) => readEnvironmentFile(folder, name, hint)));
  if (found.length > 0) return found.filter((each) => each !== undefined);
  throw new BowlineError('ENVIRONMENT_FILE_INVALID', `There is no environment file in ${folder}.`, {
    hint: `It is called ${Object.values(fileNames).join(' or ')}; a file of another name is given as FILE.`,
  });
}
