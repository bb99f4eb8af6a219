/** Which entries of a volume travel. The agent asks it before it reads, the daemon again for what it did not ask an agent for. */
import { matchesGlob } from 'node:path/posix';

export interface FileChoice {
  /** Globs; one without `/` is matched with the name alone, another one with the path from the volume's root. */
  include: string[];
  exclude: string[];
  /** Folders of the volume at which others are mounted, relative to its root. */
  except: string[];
  /** Only this path of the volume with all in it, or where it holds `*`, each that it fits. */
  part?: string | undefined;
}

/** Deeper and more than any honest volume has; what has more is refused as a whole. */
export const maxDepth = 64;
export const maxEntries = 50_000;

/** `path` is relative to the volume's root, its parts joined by `/`. `include` is asked for files only. */
export function isChosen(
  path: string,
  kind: 'file' | 'folder',
  { include, exclude, except, part }: FileChoice,
): boolean {
  if (part !== undefined && !isInPart(path, kind, part)) return false;
  if (except.some((each) => path === each || path.startsWith(`${each}/`))) return false;
  // What lies in an excluded folder is excluded with it.
  if ([path, ...parents(path)].some((each) => matches(exclude, each))) return false;
  return kind === 'folder' || include.length === 0 || matches(include, path);
}

/** Only some of the files. */
export const isPartial = ({ include, part }: FileChoice): boolean => include.length > 0 || part !== undefined;

function matches(globs: string[], path: string): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1);
  return globs.some((glob) => matchesGlob(glob.includes('/') ? path : name, glob.replace(/^\/+/, '')));
}

/** Of the folders, those on the way to it too. */
function isInPart(path: string, kind: 'file' | 'folder', part: string): boolean {
  const wanted = part.split('/');
  if (wanted.includes('**'))
    return kind === 'folder' || [path, ...parents(path)].some((each) => matchesGlob(each, literal(part)));
  const names = path.split('/');
  if (kind === 'file' && names.length < wanted.length) return false;
  return wanted.slice(0, names.length).every((name, index) => matchesGlob(names[index]!, literal(name)));
}

/** Of all that globs can say, such a pattern has the star alone. */
const literal = (pattern: string): string => pattern.replaceAll(/[?[{(]/g, '[$&]');

function parents(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
}
