/**
 * The environment of a program on the machine. For each variable the best source wins: the entry of the environment
 * file, then the Services as they answer here, then the container's own, with paths that exist here.
 */
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Environment, NamedService, Origin } from '../../api/schema.ts';
import { apiServerPlace } from './api-server.ts';
import { containerVariables, type ContainerInput } from './container.ts';
import { hasNoCopy, localPath, type LocalFiles } from './local-paths.ts';
import type { ResolvedFile } from './resolve-file.ts';
import { serviceVariables, type ServiceVariables } from './service-variables.ts';
import { isSameZone } from './time-zone.ts';

/** Holds the folder that has the pod's files at the pod's paths. */
const rootVariable = 'BOWLINE_ROOT';

/** How a program stands that asks for its environment. */
export interface EnvironmentUse {
  /** It has the pod's files at their real paths, and a hosts file with all names. */
  inPlace: boolean;
  /** Paths of mounts at which the machine's own stays all the same. */
  kept?: readonly string[] | undefined;
}

export interface EnvironmentInput extends ContainerInput, EnvironmentUse {
  services: NamedService[];
  namespace: string;
  mode: 'hosts' | 'env';
  /** URL of the API server as in the kubeconfig. */
  server: string;
  files: LocalFiles | undefined;
  /** Of the environment file, resolved, with what could not be done as it says. */
  file: ResolvedFile;
  /** Of this machine: `Europe/Berlin`. */
  timeZone: string;
}

export async function environmentOf(input: EnvironmentInput): Promise<Environment> {
  const own = await containerVariables(input);
  const notes = [...own.notes, ...input.file.notes];
  const warnings = [...own.warnings, ...input.file.warnings];
  const result = new Sources(withoutSessions(own.variables));
  if (input.redirected) result.add('machine', timeZoneVariable(own, input.timeZone), 'the time zone of the pod');
  const moved = movedPaths(own.variables, input);
  result.add('container', moved, 'the same file on this machine');
  if (Object.keys(moved).length > 0)
    notes.push(`${Object.keys(moved).join(', ')}: a path of the pod, rewritten to the copy on this machine.`);
  if (input.files !== undefined) result.add('machine', { [rootVariable]: join(input.files.folder, 'root') });
  const apiServer = apiServerPlace(input.services, input);
  // Without names the variables are the only way to a Service, also where kubelet announces none.
  const nameless = input.mode === 'env' && !input.inPlace;
  const services = serviceVariables(input.services, input.namespace, { apiServer, headless: nameless });
  const generated = announcedHere(services, own.variables, { redirected: input.redirected, nameless });
  const rewritten = result.add('service', generated, 'where the service answers on this machine');
  if (Object.keys(own.variables).length > 0)
    result.explainAdded('service', (name) => {
      if (isApiServers(name)) return 'clients look for the API server there';
      return nameless ? 'names do not resolve here, so the address is there' : 'the service came after the container';
    });
  if (rewritten > 0) notes.push(`${rewritten} service variables say where the services answer on this machine.`);
  if (apiServer?.note !== undefined) notes.push(apiServer.note);
  if (apiServer?.warning !== undefined) warnings.push(apiServer.warning);
  if (nameless)
    notes.push(
      'Services answer at the addresses of these variables only; their names need the helper (`bowline helper install`).',
    );
  result.add('file', input.file.variables, 'the environment file says so');
  const notCarried = leftAsInPod(services, result);
  for (const [why, names] of Map.groupBy(Object.keys(notCarried), (name) => notCarried[name]!))
    warnings.push(`${named(names)} as in the pod, where nothing answers from here: ${why}`);
  return {
    variables: result.variables,
    origins: result.origins,
    rewritten: result.rewritten,
    notCarried,
    source: own.source,
    warnings,
    notes,
  };
}

/** Kubernetes has up to ten for a port; `notCarried` has them all. */
const named = ([first = '', ...more]: string[]): string =>
  more.length === 0 ? `${first} is` : `${first} and ${more.length} more are`;

/** Of the names that are not carried those that the container has from kubelet, and nobody else has set. */
function leftAsInPod(services: ServiceVariables, { container, origins }: Sources): Record<string, string> {
  return Object.fromEntries(
    Object.entries(services.notCarried).filter(
      ([name]) => origins[name] === 'container' && isKubelets(name, container, services),
    ),
  );
}

/** What has come together so far; later sources win. */
class Sources {
  readonly variables: Record<string, string>;
  readonly origins: Record<string, Origin>;
  readonly rewritten: Record<string, string> = {};
  readonly container: Readonly<Record<string, string>>;

  constructor(container: Record<string, string>) {
    this.container = container;
    this.variables = { ...container };
    this.origins = Object.fromEntries(Object.keys(container).map((name) => [name, 'container']));
  }

  /** `why` a value of the container is replaced. Returns how many are. */
  add(origin: Origin, variables: Record<string, string>, why = ''): number {
    let replaced = 0;
    for (const [name, value] of Object.entries(variables)) {
      this.variables[name] = value;
      this.origins[name] = origin;
      delete this.rewritten[name];
      const before = this.container[name];
      if (before === undefined || before === value) continue;
      this.rewritten[name] = why;
      replaced++;
    }
    return replaced;
  }

  /** Why there are variables of `origin` that the container has not. */
  explainAdded(origin: Origin, why: (name: string) => string): void {
    for (const [name, from] of Object.entries(this.origins))
      if (from === origin && this.container[name] === undefined) this.rewritten[name] = why(name);
  }
}

/** Kubernetes announces every Service to the pods that start after it, those of a session too. */
const ours = /^BOWLINE_[A-Z0-9]+_ORIGINALS_(SERVICE|PORT)/;

export function withoutSessions(variables: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(variables).filter(([name]) => !ours.test(name)));
}

/**
 * Of the variables of Services those that kubelet gave the container, and those of Services that came later. What the
 * workload sets itself under such a name (`REDIS_PORT: 6379`) wins in the pod and here. Where the container has none at all
 * (`enableServiceLinks: false`), it has none here, unless they are the only way to the Services.
 */
function announcedHere(
  services: ServiceVariables,
  container: Readonly<Record<string, string>>,
  { redirected, nameless }: { redirected: boolean; nameless: boolean },
): Record<string, string> {
  const made = Object.entries(services.variables);
  const linked = made.some(([name]) => !isApiServers(name) && isKubelets(name, container, services));
  const adds = !redirected || linked || nameless || Object.keys(container).length === 0;
  return Object.fromEntries(
    made.filter(([name]) =>
      container[name] === undefined ? adds || isApiServers(name) : isKubelets(name, container, services),
    ),
  );
}

const isApiServers = (name: string): boolean => /^KUBERNETES_(SERVICE|PORT)(_HOST|_PORT|_443|$)/.test(name);

/**
 * Whether kubelet has given the container this value, or may have: the workload's own is another, a server of outside or the
 * port on which it listens itself. A port says nothing alone: it is kubelet's where the address is to which it belongs.
 */
function isKubelets(
  name: string,
  container: Readonly<Record<string, string>>,
  { inCluster }: Pick<ServiceVariables, 'inCluster'>,
): boolean {
  const value = container[name];
  const given = inCluster[name];
  if (value === undefined) return false;
  // A user of one namespace may not read the Service of the API server; kubelet says an address, others a name.
  if (given === undefined) return isApiServers(name) && isIP(container['KUBERNETES_SERVICE_HOST'] ?? '') !== 0;
  if (given.addressIn !== undefined && container[given.addressIn] !== inCluster[given.addressIn]?.value) return false;
  return value === given.value;
}

function timeZoneVariable(
  own: { variables: Record<string, string>; timeZone?: string | undefined },
  machine: string,
): Record<string, string> {
  const { timeZone } = own;
  if (own.variables['TZ'] !== undefined || timeZone === undefined || isSameZone(timeZone, machine)) return {};
  return { TZ: timeZone };
}

/** Paths of volumes that the program does not find where the pod has them. */
function movedPaths(
  variables: Record<string, string>,
  { files, inPlace, kept = [] }: Pick<EnvironmentInput, 'files' | 'inPlace' | 'kept'>,
): Record<string, string> {
  const mounts = (files?.mounts ?? [])
    .filter((mount) => !hasNoCopy(mount))
    .map((mount) => (inPlace && !kept.includes(mount.mountPath) ? { ...mount, local: mount.mountPath } : mount));
  const moved: Record<string, string> = {};
  for (const [name, value] of Object.entries(variables)) {
    const local = localPath(value, mounts);
    if (local !== undefined && local !== value) moved[name] = local;
  }
  return moved;
}
