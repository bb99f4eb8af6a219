/**
 * What the project's environment file asks of a connection: read from the request, checked against the cluster before
 * anything is touched, and resolved with what answers on the machine. Reading its text is the business of env-parser/.
 */
import { homedir } from 'node:os';
import { dirname, resolve } from 'node:path';
import { BowlineError } from '../../api/errors.ts';
import type { ConnectRequest, NamedService, Warning } from '../../api/schema.ts';
import type { EnvironmentFile, Features, Problem, VolumeToken } from '../../env-parser/environment-file.ts';
import { parseEnvironmentFile } from '../../env-parser/parse.ts';
import { checkReferences, matchVolumes, tokensOf, type Known } from '../../env-parser/references.ts';
import { resolveEntries } from '../../env-parser/resolve.ts';
import { hasNoCopy, type LocalFiles } from './local-paths.ts';

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

/** Namespaces whose Services the file names. */
export function namespacesOf(file: EnvironmentFile): string[] {
  return [...new Set(tokensOf(file).flatMap((token) => (token.kind === 'service' ? (token.namespace ?? []) : [])))];
}

/** Hosts that shall be reached through the cluster, each once. */
export function externalsOf(file: EnvironmentFile): Array<{ host: string; ports: number[] }> {
  const ports = new Map<string, Set<number>>();
  for (const token of tokensOf(file)) {
    if (token.kind !== 'external') continue;
    ports.set(token.host, new Set([...(ports.get(token.host) ?? []), ...token.ports]));
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

/** What is switched on in the file and does nothing here, because what it was for is not needed. */
export function featureWarnings({ features, path }: EnvironmentFile): Warning[] {
  return (Object.keys(withoutEffect) as Array<keyof Features>)
    .filter((feature) => features[feature])
    .map((feature) => ({ code: 'FEATURE_WITHOUT_EFFECT', message: `${path}: ${withoutEffect[feature]}` }));
}

const withoutEffect: Record<keyof Features, string> = {
  probes: 'Probes has no effect: the original pods run on with their probes, and no probe is sent to your program.',
  lifecycleHooks: 'LifecycleHooks has no effect: the original pods keep their hooks, and your program runs without.',
  managedIdentity:
    'ManagedIdentity has no effect: a pod with workload identity has its variables and token here too; the metadata service of the node is not carried.',
};

export interface Surroundings {
  services: NamedService[];
  namespace: string;
  files: LocalFiles | undefined;
  /** Places that have their files. */
  placed: readonly Placement[];
  inPlace: boolean;
}

/** What cannot be resolved (any more) is left out and noted. */
export function resolveEnvironmentFile(
  file: EnvironmentFile | undefined,
  around: Surroundings,
): { variables: Record<string, string>; notes: string[] } {
  if (file === undefined) return { variables: {}, notes: [] };
  const notes = new Set<string>();
  const { variables, missing } = resolveEntries(file, {
    volume: (token) => volumePath(file, token, around, notes),
    service: ({ service, namespace = around.namespace }) =>
      around.services.find((each) => each.service === service && each.namespace === namespace)?.address,
    external({ host }) {
      const found = around.services.find((each) => each.external === true && each.service === host);
      if (found?.address === undefined) return undefined;
      if (around.inPlace || found.names.includes(host)) return host;
      notes.add(`${host} answers through the cluster at ${describePorts(found)} only: its name leads elsewhere here.`);
      return found.address;
    },
  });
  for (const { line, column, message } of missing) notes.add(`${file.path}:${line}:${column}: ${message}; left out.`);
  return { variables, notes: [...notes] };
}

function volumePath(
  file: EnvironmentFile,
  token: VolumeToken,
  { files, placed, inPlace }: Surroundings,
  notes: Set<string>,
): string | undefined {
  const mounts = files?.mounts ?? [];
  const [name] = matchVolumes(
    token.name,
    mounts.map(({ volume }) => volume),
  );
  const ofVolume = mounts.filter(({ volume }) => volume === name);
  // Where parts of it are mounted, the whole is the better answer.
  const mount = ofVolume.find(({ subPath }) => subPath === undefined) ?? ofVolume[0];
  if (mount === undefined) return undefined;
  if (hasNoCopy(mount)) {
    notes.add(`The volume ${name} is not on this machine (${mount.state}): ${mount.reason ?? 'see `bowline status`'}`);
    return undefined;
  }
  // A pattern stands for several files, so the folder that has them is its path.
  const below = token.path === undefined || token.path.includes('*') ? '' : `/${token.path}`;
  if (token.localPath === undefined) return mount.local + below;
  const to = placeOf(file, token.localPath);
  if (inPlace && to === resolve(mount.mountPath)) return to;
  if (placed.some((each) => each.to === to)) return to;
  notes.add(`The volume ${name} is not at ${to}, where the environment file wants it, but at ${mount.local}.`);
  return mount.local + below;
}

function describePorts({ address, ports }: NamedService): string {
  return ports.flatMap(({ local }) => (local === undefined ? [] : [`${address}:${local}`])).join(', ');
}
