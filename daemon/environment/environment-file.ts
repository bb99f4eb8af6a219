/**
 * What the project's environment file asks of a connection: read from the request, checked against the cluster before
 * anything is touched, and resolved with what answers on the machine. Reading its text is the business of env-parser/.
 */
import { isIP } from 'node:net';
import { homedir } from 'node:os';
import { dirname, resolve } from 'node:path';
import { BowlineError } from '../../api/errors.ts';
import { environmentFileWarning, type ConnectRequest, type NamedService, type Warning } from '../../api/schema.ts';
import type { EnvironmentFile, Problem, ServiceToken, VolumeToken } from '../../env-parser/environment-file.ts';
import { parseEnvironmentFile } from '../../env-parser/parse.ts';
import { checkReferences, matchVolumes, tokensOf, type Known } from '../../env-parser/references.ts';
import { resolveEntries } from '../../env-parser/resolve.ts';
import { hasNoCopy, type LocalFiles } from './local-paths.ts';
import { managedIdentityVariables, metadataService, wantsManagedIdentity } from './managed-identity.ts';

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
  const shown = problems.map(({ sourceLine: _sourceLine, ...rest }) => rest);
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
const placeOf = (file: EnvironmentFile, localPath: string): string =>
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

export interface Surroundings {
  services: NamedService[];
  namespace: string;
  files: LocalFiles | undefined;
  /** Places that have their files. */
  placed: readonly Placement[];
  inPlace: boolean;
  /** Paths of mounts at which the machine's own stays all the same. */
  kept?: readonly string[] | undefined;
}

/** The file's variables here, what is not as the file says, and what may be good to know. */
export interface ResolvedFile {
  variables: Record<string, string>;
  warnings: string[];
  notes: string[];
}

/** What cannot be resolved (any more) is left out, with a warning. */
export function resolveEnvironmentFile(file: EnvironmentFile | undefined, around: Surroundings): ResolvedFile {
  if (file === undefined) return { variables: {}, warnings: [], notes: [] };
  const warnings = new Set<string>();
  const notes = new Set(fileWarnings(file).map(({ message }) => message));
  const said = { warnings, notes };
  const { variables, missing } = resolveEntries(file, {
    volume: (token) => volumePath(file, token, around, said),
    service: (token) => serviceOf(token, around)?.address,
    external: ({ host }) => externalPlace(host, around, said),
  });
  for (const { line, column, message } of missing) {
    warnings.add(`${file.path}:${line}:${column}: ${message}; left out.`);
  }
  for (const warning of otherPorts(file, variables, around)) warnings.add(warning);
  if (wantsManagedIdentity(file)) {
    const found = managedIdentityVariables(around.services);
    if (Object.keys(found).length === 0) {
      warnings.add(`${file.path}: ManagedIdentity has no effect: ${metadataService.host} is not carried here.`);
    }
    return { variables: { ...found, ...variables }, warnings: [...warnings], notes: [...notes] };
  }
  return { variables, warnings: [...warnings], notes: [...notes] };
}

function serviceOf(
  { service, namespace }: ServiceToken,
  { services, namespace: own }: Surroundings,
): NamedService | undefined {
  return services.find((each) => each.service === service && each.namespace === (namespace ?? own));
}

/**
 * A variable holds the address of a Service alone, and whoever reads it adds the port that the Service has in the cluster.
 * Said for each variable where another number answers here.
 */
function otherPorts(file: EnvironmentFile, variables: Record<string, string>, around: Surroundings): string[] {
  const last = new Map(file.entries.map((entry) => [entry.name, entry]));
  return [...last.values()]
    .filter(({ name }) => variables[name] !== undefined)
    .flatMap(({ name, parts }) =>
      parts.flatMap((part) => {
        const service = typeof part !== 'string' && part.kind === 'service' ? serviceOf(part, around) : undefined;
        return (service?.ports ?? []).flatMap(({ port, local, problem }) => {
          if (local === port) return [];
          const what = `${name} is the address of ${service?.service}, where port ${port}`;
          if (local === undefined) return [`${what} is not carried: ${problem ?? 'it is not open'}`];
          const why = problem ?? 'One below 1024 needs the helper (`bowline helper install`).';
          return [`${what} answers at ${local}. ${why}`];
        });
      }),
    );
}

interface Said {
  warnings: Set<string>;
  notes: Set<string>;
}

/** The host's own name where that leads through the cluster; an address cannot be led anywhere else. */
function externalPlace(host: string, { services, inPlace }: Surroundings, said: Said): string | undefined {
  const found = services.find((each) => each.external === true && each.service === host);
  if (found?.address === undefined) return undefined;
  const isName = isIP(host) === 0;
  if (isName && (inPlace || found.names.includes(host))) return host;
  const where = `${host} answers through the cluster at ${describePorts(found)} only`;
  if (isName) said.warnings.add(`${where}: its name leads elsewhere here.`);
  else if (found.ports.some(({ port, local }) => port !== local)) said.warnings.add(`${where}.`);
  else said.notes.add(`${where}.`);
  return found.address;
}

function volumePath(
  file: EnvironmentFile,
  token: VolumeToken,
  { files, placed, inPlace, kept = [] }: Surroundings,
  said: Said,
): string | undefined {
  const { mounts = [], parts = [] } = files ?? {};
  const [name] = matchVolumes(
    token.name,
    [...mounts, ...parts].map(({ volume }) => volume),
  );
  const ofVolume = mounts.filter(({ volume }) => volume === name);
  // Where parts of it are mounted, the whole is the better answer.
  const mount = ofVolume.find(({ subPath }) => subPath === undefined) ?? ofVolume[0];
  const { path } = token;
  const copy = path === undefined ? mount : parts.find((part) => part.volume === name && part.path === path);
  if (copy === undefined) return undefined;
  if (hasNoCopy(copy)) {
    const what = path === undefined ? `The volume ${name}` : `${path} of the volume ${name}`;
    said.warnings.add(`${what} is not on this machine (${copy.state}): ${copy.reason ?? 'see `bowline status`'}`);
    return undefined;
  }
  if (path !== undefined && 'files' in copy && copy.files === 0) {
    said.warnings.add(`The volume ${name} has no ${path}.`);
    return undefined;
  }
  if (path !== undefined && copy.files === 0) {
    said.warnings.add(`The volume ${name} has no ${path}.`);
    return undefined;
  }
  // A pattern stands for several files, so the folder that has them is its path.
  const local = path === undefined || path.includes('*') ? copy.local : `${copy.local}/${path}`;
  if (token.localPath === undefined) return local;
  const to = placeOf(file, token.localPath);
  const isPodsOwn = mount !== undefined && to === resolve(mount.mountPath);
  if (inPlace && isPodsOwn && !kept.includes(mount.mountPath)) return to;
  if (placed.some((each) => each.to === to)) return to;
  const where = `The volume ${name} is not at ${to}, where the environment file wants it, but at ${copy.local}.`;
  // Where it lies in the pod, nothing is written on the machine, and the variable says so.
  (isPodsOwn ? said.notes : said.warnings).add(where);
  return local;
}

function describePorts({ address, ports }: NamedService): string {
  return ports.flatMap(({ local }) => (local === undefined ? [] : [`${address}:${local}`])).join(', ');
}
