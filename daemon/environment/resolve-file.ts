/** What an environment file comes to on this machine, with what answers here. */
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import type { NamedService } from '../../api/schema.ts';
import type { EnvironmentFile, ServiceToken, VolumeToken } from '../../env-parser/environment-file.ts';
import { matchVolumes } from '../../env-parser/references.ts';
import { resolveEntries } from '../../env-parser/resolve.ts';
import { fileWarnings, placeOf, type Placement } from './environment-file.ts';
import { hasNoCopy, type LocalFiles } from './local-paths.ts';
import { managedIdentityVariables, metadataService, wantsManagedIdentity } from './managed-identity.ts';

export interface Surroundings {
  services: NamedService[];
  namespace: string;
  /** The pod's. */
  serviceAccount?: string | undefined;
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
  const identity = wantsManagedIdentity(file) ? managedIdentityVariables(around.services) : undefined;
  if (identity !== undefined && Object.keys(identity).length === 0)
    warnings.add(`${file.path}: ManagedIdentity has no effect: ${metadataService.host} is not carried here.`);
  return { variables: { ...identity, ...variables }, warnings: [...warnings], notes: [...notes] };
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
  const isLed = isName && (inPlace || found.names.includes(host));
  const isMoved = found.ports.some(({ port, local }) => port !== local);
  const where = `${host} answers through the cluster at ${describePorts(found)} only`;
  if (isName && !isLed) said.warnings.add(`${where}: its name leads elsewhere here.`);
  else if (isMoved) said.warnings.add(`${where}.`);
  else if (!isLed) said.notes.add(`${where}.`);
  return isLed ? host : found.address;
}

function volumePath(
  file: EnvironmentFile,
  token: VolumeToken,
  { serviceAccount, files, placed, inPlace, kept = [] }: Surroundings,
  said: Said,
): string | undefined {
  const { mounts = [], parts = [] } = files ?? {};
  const [name] = matchVolumes(
    token.name,
    [...mounts, ...parts].map(({ volume }) => volume),
    serviceAccount,
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
