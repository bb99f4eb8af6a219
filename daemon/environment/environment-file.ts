/**
 * What the project's environment file asks of a connection: read from the request, and checked against the cluster before
 * anything is touched. Reading its text is the business of env-parser/, what it comes to here that of resolve-file.ts.
 */
import { homedir } from 'node:os';
import { dirname, resolve } from 'node:path';
import { BowlineError } from '../../api/errors.ts';
import { environmentFileWarning, type ConnectRequest, type Warning } from '../../api/schema.ts';
import type { EnvironmentFile, Problem, VolumeToken } from '../../env-parser/environment-file.ts';
import { parseEnvironmentFile } from '../../env-parser/parse.ts';
import { checkReferences, tokensOf, type Known } from '../../env-parser/references.ts';
import { metadataService, wantsManagedIdentity } from './managed-identity.ts';

/** A volume that the file wants at a place of its own. */
export interface Placement {
  token: VolumeToken;
  /** Absolute. */
  to: string;
}

/** Throws ENVIRONMENT_FILE_INVALID with all problems; the command has looked before, but it is not the only client. */
export function readEnvironmentFile(given: ConnectRequest['environmentFile']): EnvironmentFile | undefined {
  if (given === undefined) return undefined;
  const { file, problems } = parseEnvironmentFile(given.text, { file: given.path });
  if (problems.length > 0) throw invalid(given.path, problems);
  return file;
}

/** Of a session that exists: what was accepted when it was made is not refused later. */
export function savedEnvironmentFile(given: ConnectRequest['environmentFile']): EnvironmentFile | undefined {
  return given && parseEnvironmentFile(given.text, { file: given.path }).file;
}

/** Throws ENVIRONMENT_FILE_INVALID for what is not there and not optional. */
export function checkEnvironmentFile(file: EnvironmentFile, known: Known): void {
  const problems = checkReferences(file, known);
  if (problems.length > 0) throw invalid(file.path, problems);
}

/** Without the source lines: they may hold values, and the caller has the file. */
function invalid(path: string, problems: Problem[]): BowlineError {
  const shown = problems.map(({ sourceLine: _line, sourceColumn: _column, ...rest }) => rest);
  const places = problems
    .map(({ line, column, message, nearest = [] }) => {
      const near = nearest.length === 0 ? '' : ` (did you mean ${nearest.join(' or ')}?)`;
      return `${line}:${column}: ${message}${near}`;
    })
    .join('; ');
  return new BowlineError('ENVIRONMENT_FILE_INVALID', `${path} cannot be used: ${places}.`, {
    hint: 'Nothing was changed. `bowline env validate` shows each place; --no-env-file leaves the file out.',
    details: { file: path, problems: shown },
  });
}

/** Services of the workload's own namespace that the file names. */
export function ownServicesOf(file: EnvironmentFile, own: string): string[] {
  return tokensOf(file).flatMap((token) =>
    token.kind === 'service' && (token.namespace ?? own) === own ? [token.service] : [],
  );
}

/** Hosts that shall be reached through the cluster, each once. */
export function externalsOf(file: EnvironmentFile): Array<{ host: string; ports: number[] }> {
  const ports = new Map<string, Set<number>>();
  for (const token of tokensOf(file)) {
    if (token.kind !== 'external') continue;
    ports.set(token.host, new Set([...(ports.get(token.host) ?? []), ...token.ports]));
  }
  if (wantsManagedIdentity(file)) {
    const { host, port } = metadataService;
    ports.set(host, new Set([...(ports.get(host) ?? []), port]));
  }
  return [...ports].map(([host, all]) => ({ host, ports: [...all] }));
}

/** Relative local paths start at the folder of the file, and `~` is the home of the user whose daemon this is. */
export const placeOf = (file: EnvironmentFile, localPath: string): string =>
  resolve(
    dirname(file.path),
    localPath.replace(/^~(?=\/|$)/, () => homedir()),
  );

export function placementsOf(file: EnvironmentFile): Placement[] {
  const placements = tokensOf(file).flatMap((token) =>
    token.kind === 'volume' && token.localPath !== undefined ? [{ token, to: placeOf(file, token.localPath) }] : [],
  );
  return [...new Map(placements.map((each) => [`${each.token.name}\0${each.token.path}\0${each.to}`, each])).values()];
}

/** What is odd in the file, each with its place and without its line, which may hold a value. */
export function fileWarnings({ warnings }: EnvironmentFile): Warning[] {
  return warnings.map(({ file, line, column, message }) => ({
    code: environmentFileWarning,
    message: `${file}:${line}:${column}: ${message}.`,
  }));
}
