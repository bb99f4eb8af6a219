/** The files below the mounts of a container, as a command in it says: `sha256sum`, with names as `find` has them. */
import { BowlineError } from '../../api/errors.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';

export interface OriginalFile {
  /** Absolute. */
  path: string;
  /** Hexadecimal. */
  sha256: string;
  executable: boolean;
  /** When it was written, in seconds since 1970 by the node's clock; absent where the container has no `stat`. */
  modified?: number;
}

/**
 * Fixed text; the paths are arguments. What kubelet keeps beside the names that are meant to be read begins with two
 * dots. A file that cannot be read is no reason to stop; the last line says that all was looked at.
 */
const script = `
command -v find >/dev/null && command -v sha256sum >/dev/null || exit 127
for path do
  find -L "$path" -name '..?*' -prune -o -type f -exec sha256sum {} +
  echo executable
  find -L "$path" -name '..?*' -prune -o -type f -perm -100 -print
  echo times
  find -L "$path" -name '..?*' -prune -o -type f -exec stat -L -c '%Y %n' {} +
  echo files
done 2>/dev/null
echo end
`;

/** `problem`: why the container cannot be asked, as the end of a sentence. */
export type OriginalFiles = { files: OriginalFile[] } | { problem: string };

export async function originalFiles(
  cluster: Cluster,
  place: { namespace: string; name: string; container: string },
  paths: string[],
  options: CallOptions,
): Promise<OriginalFiles> {
  try {
    const { stdout, exitCode } = await cluster.exec(place, ['sh', '-c', script, 'sh', ...paths], options);
    const lines = stdout.toString('utf8').split('\n');
    if (lines.at(-2) === 'end') return { files: parse(lines.slice(0, -2)) };
    if (exitCode === 127) return { problem: 'its image has no `find` or no `sha256sum`' };
    return { problem: `the command that reads it ended with status ${exitCode}` };
  } catch (error) {
    options.signal?.throwIfAborted();
    return { problem: BowlineError.from(error).message };
  }
}

export function parse(lines: string[]): OriginalFile[] {
  const files: OriginalFile[] = [];
  const executable = new Set<string>();
  const times = new Map<string, number>();
  let part: 'files' | 'executable' | 'times' = 'files';
  for (const line of lines) {
    const [, sha256, path] = /^([0-9a-f]{64}) [ *](.+)$/.exec(line) ?? [];
    const [, seconds, timed] = /^(\d+) (.+)$/.exec(line) ?? [];
    if (line === 'files' || line === 'executable' || line === 'times') part = line;
    else if (part === 'executable') executable.add(line);
    else if (part === 'times' && timed !== undefined) times.set(timed, Number(seconds));
    else if (sha256 !== undefined && path !== undefined) files.push({ path, sha256, executable: false });
  }
  return files.map((file) => {
    const modified = times.get(file.path);
    return { ...file, executable: executable.has(file.path), ...(modified === undefined ? {} : { modified }) };
  });
}
