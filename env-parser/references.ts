/** Whether what the file names is there: volumes of the pod, Services of the cluster. */
import { nearest } from '../api/nearest.ts';
import type { EnvironmentFile, Problem, ServiceToken, Token, VolumeToken } from './environment-file.ts';
import { ProblemList } from './source.ts';

/** For messages: how a name is written that is not there everywhere. */
export const ofOptional = '? before the closing bracket where it may be missing';

export interface Known {
  /** Names of the container's volumes. Absent: not known, so none is judged. */
  volumes?: readonly string[] | undefined;
  /** The pod's. Absent: the namespace's default one, or not known. */
  serviceAccount?: string | undefined;
  services: ReadonlyArray<{ namespace: string; name: string }>;
  /** The workload's own. */
  namespace: string;
  /** Namespaces whose Services are all in `services`; Services of others are not judged. */
  namespaces: readonly string[];
  /** Namespaces that are known not to be there. */
  absent?: readonly string[];
}

/** Every token that names what is not there and is not marked optional, with the names that are near. */
export function checkReferences(file: EnvironmentFile, known: Known): Problem[] {
  const problems = new ProblemList(file.source);
  for (const token of tokensOf(file)) {
    const missing = token.optional ? undefined : whatIsMissing(token, file, known);
    if (missing !== undefined) problems.add(token.position, missing.message, missing);
  }
  return problems.all();
}

export function tokensOf({ entries }: Pick<EnvironmentFile, 'entries'>): Token[] {
  return entries.flatMap(({ parts }) => parts.filter((part) => typeof part !== 'string'));
}

/** Namespaces whose Services the file names. */
export function namespacesOf(file: EnvironmentFile): string[] {
  return [...new Set(tokensOf(file).flatMap((token) => (token.kind === 'service' ? (token.namespace ?? []) : [])))];
}

/** What may be meant as namespaces where the named ones are `absent`: names in the order of the other dialect. */
export function perhapsNamespaces(file: EnvironmentFile, absent: readonly string[]): string[] {
  const found = tokensOf(file).flatMap((token) =>
    token.kind === 'service' && token.namespace !== undefined && absent.includes(token.namespace)
      ? [token.service]
      : [],
  );
  return [...new Set(found)];
}

/** The message for a token that stands for nothing here; also for who finds out only later. `namespace`: of the workload. */
export function missingMessage(token: Token, namespace?: string): string {
  if (token.kind === 'volume') {
    const what = token.name.includes('*') ? 'no volume with a name like' : 'no volume';
    return `The container has ${what} ${token.name}`;
  }
  if (token.kind === 'external') return `The host ${token.host} cannot be reached through the cluster`;
  const where = token.namespace ?? namespace;
  const place = where === undefined ? "the workload's namespace" : `the namespace ${where}`;
  return `There is no Service ${token.service} in ${place}`;
}

type Missing = Pick<Problem, 'message' | 'expected' | 'nearest'> | undefined;

function whatIsMissing(token: Token, file: EnvironmentFile, known: Known): Missing {
  if (token.kind === 'volume') return missingVolume(token, known);
  return token.kind === 'service' ? missingService(token, file, known) : undefined;
}

function missingVolume(token: VolumeToken, { volumes, serviceAccount }: Known): Missing {
  if (volumes === undefined || matchVolumes(token.name, volumes, serviceAccount).length > 0) return undefined;
  const near = nearest(token.name.replaceAll('*', ''), volumes);
  return {
    message: missingMessage(token),
    expected: volumes.length === 0 ? ofOptional : `one of ${few(volumes)}`,
    nearest: near,
  };
}

function missingService(token: ServiceToken, file: EnvironmentFile, known: Known): Missing {
  const namespace = token.namespace ?? known.namespace;
  const has = (where: string, name: string): boolean =>
    known.services.some((service) => service.namespace === where && service.name === name);
  if (has(namespace, token.service)) return undefined;
  // The two dialects have the two names in opposite order, so the other order is what is meant most likely.
  const swapped = token.namespace !== undefined && has(token.service, token.namespace);
  const absent = known.absent?.includes(namespace) === true;
  if (!swapped && !absent && !known.namespaces.includes(namespace)) return undefined;
  const write = (service: { namespace: string; name: string }): string => {
    if (service.namespace === known.namespace) return service.name;
    return file.dialect === 'azds' ? `${service.namespace}.${service.name}` : `${service.name}.${service.namespace}`;
  };
  if (swapped) {
    const order = file.dialect === 'azds' ? 'the namespace first' : 'the namespace last';
    return {
      message: missingMessage(token),
      expected: `${order} in this dialect`,
      nearest: [write({ namespace: token.service, name: token.namespace! })],
    };
  }
  if (absent) {
    const near = known.services.filter((service) => service.name === token.service).map(write);
    return {
      message: `There is no namespace ${namespace}`,
      expected: 'a namespace of the cluster',
      nearest: near.slice(0, 3),
    };
  }
  const there = known.services.filter((service) => service.namespace === namespace);
  const byName = new Map(there.map((service) => [service.name, write(service)]));
  const elsewhere = known.services.filter((service) => service.name === token.service).map(write);
  return {
    message: missingMessage(token, known.namespace),
    expected: there.length === 0 ? ofOptional : `one of ${few([...byName.values()])}`,
    nearest: [...elsewhere, ...nearest(token.service, byName.keys()).map((name) => byName.get(name)!)].slice(0, 3),
  };
}

function few(names: readonly string[]): string {
  const shown = names.toSorted().slice(0, 10);
  return `${shown.join(', ')}${names.length > shown.length ? ', ...' : ''}`;
}

/**
 * Names of the volumes that a name or pattern means: an exact one alone, else all that the pattern fits, in the order of
 * the pod. Case does not count. Clusters before 1.24 called the token's volume after the ServiceAccount, `default-token-*`;
 * it is a projected one named `kube-api-access-*` now, so a pattern or name that fits the old one finds the new one where
 * there is no old one. Files were written for the default account, so its name is always taken.
 */
export function matchVolumes(pattern: string, volumes: readonly string[], serviceAccount = 'default'): string[] {
  const wanted = pattern.toLowerCase();
  const exact = volumes.filter((volume) => volume.toLowerCase() === wanted);
  if (exact.length > 0) return exact;
  const fitting = volumes.filter((volume) => fits(wanted, volume.toLowerCase()));
  const account = /^([a-z0-9*-]*)-token-[a-z0-9*]+$/.exec(wanted)?.[1];
  if (fitting.length > 0 || account === undefined) return fitting;
  // The dots of an account's name were dashes in that of the volume.
  const isToken = ['default', serviceAccount.replaceAll('.', '-')].some((name) => fits(account, name));
  return isToken ? volumes.filter((volume) => volume.startsWith('kube-api-access-')) : [];
}

/** `*` is any text. Goes back to the last star only, so it takes at most the product of both lengths. */
function fits(pattern: string, text: string): boolean {
  let at = 0;
  let star = -1;
  let resume = 0;
  let p = 0;
  while (at < text.length) {
    if (pattern[p] === '*') {
      star = p++;
      resume = at;
    } else if (pattern[p] === text[at]) {
      p++;
      at++;
    } else if (star >= 0) {
      p = star + 1;
      at = ++resume;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
