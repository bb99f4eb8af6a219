/** What of a connection a command gets at its real place, and what is said where that is not possible. */
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { Option } from 'commander';
import { BowlineError } from '../../api/errors.ts';
import type { Connection } from '../../api/schema.ts';
import type { Io } from '../io.ts';
import { isHostName } from './hosts-text.ts';
import { impossible } from './linux.ts';
import { openPrivateFiles, type PodFile, type PrivateFiles } from './private-files.ts';

export type PrivateFilesMode = 'auto' | 'on' | 'off';

export const privateFilesOption = (): Option =>
  new Option(
    '--private-files <WHEN>',
    "the COMMAND has the pod's files at their real paths and a hosts file of its own (Linux); auto: where that is possible",
  )
    .choices(['auto', 'on', 'off'])
    .default('auto');

interface Wish {
  mode: PrivateFilesMode;
  /** The command's program, as it was found. */
  program: string | undefined;
  io: Io;
  warn: (code: string, message: string) => void;
}

/** Nothing where nothing is wanted, or with `auto` where it is not possible. Rejects with PRIVATE_FILES_IMPOSSIBLE. */
export async function privateFilesFor(connection: Connection, wish: Wish): Promise<PrivateFiles | undefined> {
  const { mode, io, warn } = wish;
  const files = podFiles(connection);
  const namesAreMissing = connection.services.some(({ hostNames }) => hostNames !== undefined);
  const hostName = hostNameOf(connection);
  const needless = files.length === 0 && !namesAreMissing;
  if (mode === 'off' || (mode === 'auto' && needless && hostName === undefined)) return undefined;
  if (io.facts.platform !== 'linux') {
    if (mode === 'auto') return undefined;
    throw impossible('only Linux has mount namespaces', 'Use the paths in the variables of `bowline env`.');
  }
  try {
    const opened = await open(files, connection, wish);
    const refused = [...opened.refused, ...lateFiles(connection)];
    if (refused.length > 0) {
      const list = refused.map(({ target, why }) => `${target} (${why})`).join(', ');
      warn('PATH_KEPT', `The machine's own stays at ${list}.`);
    }
    if (!opened.named)
      warn(
        'HOST_NAME_KEPT',
        `The machine's host name stays, not ${hostName}: there is no program \`hostname\` that sets it.`,
      );
    return { ...opened, refused };
  } catch (error) {
    const known = BowlineError.from(error);
    if (mode === 'on' || known.code !== 'PRIVATE_FILES_IMPOSSIBLE') throw error;
    if (needless) return undefined; // the host name alone is not worth a line
    warn(known.code, `${known.message} The command finds them by its variables. ${known.hint ?? ''}`.trim());
    return undefined;
  }
}

async function open(files: PodFile[], connection: Connection, { program, io }: Wish): Promise<PrivateFiles> {
  const { env, home, uid } = io.facts;
  return openPrivateFiles({
    files,
    services: connection.services,
    hostName: hostNameOf(connection),
    folder: join(io.paths.runtimeFolder, 'private-files'),
    user: { uid, gid: process.getgid?.() ?? -1, home },
    env,
    cwd: process.cwd(),
    needed: program === undefined ? [] : [program, await realpath(program)],
  });
}

/** Nothing is mounted for a command that runs: a volume that comes later lies where its copy is, and nowhere else. */
export function lateFiles({ files }: Pick<Connection, 'files'>): PrivateFiles['refused'] {
  return (files?.mounts ?? [])
    .filter(({ state }) => state === 'waiting' || state === 'downloading')
    .map(({ mountPath: target, local }) => ({
      target,
      why: `its volume has not come yet: it will be at ${local}, to which variables with its path lead`,
    }));
}

function hostNameOf({ target }: Connection): string | undefined {
  const name = target?.hostName;
  return name !== undefined && isHostName(name) ? name : undefined;
}

/** They look as kubelet writes them. */
const writtenByKubelet = new Set(['configMap', 'secret', 'projected', 'downwardAPI']);

function podFiles({ files }: Connection): PodFile[] {
  return (files?.mounts ?? [])
    .filter(({ state }) => state === 'ready')
    .map(({ local, mountPath, kind, readOnly }) => ({
      local,
      mountPath,
      readOnly,
      switched: writtenByKubelet.has(kind),
    }));
}
