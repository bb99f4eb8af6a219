/**
 * A file that is there as long as its maker wants it and always whole: written beside and moved into place, readable by
 * its user only, and removed at the end, because what it holds are secrets. It never takes the place of a file that was
 * there before, and at the end removes nothing but its own.
 */
import { randomBytes } from 'node:crypto';
import { link, lstat, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { BowlineError } from '../../api/errors.ts';

export interface KeptFile extends AsyncDisposable {
  write(text: string): Promise<void>;
}

export function keepFile(path: string): KeptFile {
  /** What was written last: as long as it is open, no other file has its number. */
  let own: FileHandle | undefined;
  return {
    async write(text) {
      const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}`);
      let next: FileHandle | undefined;
      try {
        next = await open(temporary, 'wx', 0o600);
        await next.writeFile(text);
        // A link fails where the name is taken; a rename would not.
        if (own === undefined) await link(temporary, path);
        else await rename(temporary, path);
        await own?.close();
        own = next;
      } catch (error) {
        await next?.close();
        throw notWritten(path, error as NodeJS.ErrnoException);
      } finally {
        await rm(temporary, { force: true });
      }
    },
    async [Symbol.asyncDispose]() {
      if (own === undefined) return;
      const [found, { ino }] = await Promise.all([lstat(path).catch(() => undefined), own.stat()]);
      if (found?.ino === ino) await rm(path, { force: true });
      await own.close();
    },
  };
}

function notWritten(file: string, error: NodeJS.ErrnoException): BowlineError {
  if (error.code === 'EEXIST')
    return new BowlineError('BAD_ARGUMENT', `${file} is there already, and would be overwritten and removed.`, {
      hint: 'Choose another name, or remove it: it may be of a command that was killed.',
      cause: error,
    });
  return new BowlineError('BAD_ARGUMENT', `${file} cannot be written: ${error.message}.`, {
    hint: 'Choose a file in a folder that is yours.',
    cause: error,
  });
}
