/**
 * The endpoint file: where the daemon listens and the token that a caller must show. Written by the daemon before it
 * listens, readable by its user only; whoever can read it is the user.
 */
import { readFile } from 'node:fs/promises';
import * as z from 'zod/mini';
import type { Paths } from './paths.ts';
import { checkPrivateFolder } from './private-folder.ts';

export const Endpoint = z.object({
  /** Socket path or `\\.\pipe\...`. */
  socket: z.string(),
  token: z.string(),
  pid: z.number(),
  version: z.string(),
});
export type Endpoint = z.infer<typeof Endpoint>;

/** `undefined` while there is no (whole) file, which is how a daemon that does not run looks. */
export async function readEndpoint(paths: Paths, uid: number): Promise<Endpoint | undefined> {
  try {
    await checkPrivateFolder(paths.runtimeFolder, uid);
    const parsed = Endpoint.safeParse(JSON.parse(await readFile(paths.endpoint, 'utf8')));
    return parsed.success ? parsed.data : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
