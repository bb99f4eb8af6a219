/**
 * The environment of a program on the machine. For each variable the best source wins: the entry of the environment
 * file, then the Services as they answer here, then the container's own, with paths that exist here.
 */
import { join } from 'node:path';
import type { Environment, NamedService, Origin } from '../../api/schema.ts';
import { apiServerPlace } from './api-server.ts';
import { containerVariables, type ContainerInput } from './container.ts';
import { localPath, type LocalFiles } from './local-paths.ts';
import { serviceVariables } from './service-variables.ts';
import { isSameZone } from './time-zone.ts';

/** Holds the folder that has the pod's files at the pod's paths. */
const rootVariable = 'BOWLINE_ROOT';

export interface EnvironmentInput extends ContainerInput {
  services: NamedService[];
  namespace: string;
  mode: 'hosts' | 'env';
  /** URL of the API server as in the kubeconfig. */
  server: string;
  /** The program has the pod's files at their real paths, and a hosts file with all names. */
  inPlace: boolean;
  files: LocalFiles | undefined;
  /** Of the environment file, resolved, with what could not be done as it says. */
  file: { variables: Record<string, string>; notes: string[] };
  /** Of this machine: `Europe/Berlin`. */
  timeZone: string;
}

export async function environmentOf(input: EnvironmentInput): Promise<Environment> {
  const own = await containerVariables(input);
  const notes = [...own.notes, ...input.file.notes];
  const result = new Sources(withoutSessions(own.variables));
  if (input.redirected) result.add('machine', timeZoneVariable(own, input.timeZone), 'the time zone of the pod');
  if (!input.inPlace) {
    const moved = movedPaths(own.variables, input.files);
    result.add('container', moved, 'the same file on this machine');
    if (Object.keys(moved).length > 0)
      notes.push(`${Object.keys(moved).join(', ')}: a path of the pod, rewritten to the copy on this machine.`);
  }
  if (input.files !== undefined) result.add('machine', { [rootVariable]: join(input.files.folder, 'root') });
  const apiServer = apiServerPlace(input.services, input);
  const generated = serviceVariables(input.services, input.namespace, apiServer);
  const rewritten = result.add('service', generated, 'where the service answers on this machine');
  if (rewritten > 0) notes.push(`${rewritten} service variables say where the services answer on this machine.`);
  if (apiServer?.note !== undefined) notes.push(apiServer.note);
  if (input.mode === 'env' && !input.inPlace)
    notes.push(
      'Services answer at the addresses of these variables only; their names need the helper (`bowline helper install`).',
    );
  result.add('file', input.file.variables, 'the environment file says so');
  return {
    variables: result.variables,
    origins: result.origins,
    rewritten: result.rewritten,
    source: own.source,
    notes,
  };
}

/** What has come together so far; later sources win. */
class Sources {
  readonly variables: Record<string, string>;
  readonly origins: Record<string, Origin>;
  readonly rewritten: Record<string, string> = {};
  readonly #container: Readonly<Record<string, string>>;

  constructor(container: Record<string, string>) {
    this.#container = container;
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
      const before = this.#container[name];
      if (before === undefined || before === value) continue;
      this.rewritten[name] = why;
      replaced++;
    }
    return replaced;
  }
}

/** States of a mount that has no copy here and gets none. */
const absent = new Set(['skipped', 'unavailable', 'failed']);

/** Kubernetes announces every Service to the pods that start after it, those of a session too. */
const ours = /^BOWLINE_[A-Z0-9]+_ORIGINALS_(SERVICE|PORT)/;

export function withoutSessions(variables: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(variables).filter(([name]) => !ours.test(name)));
}

function timeZoneVariable(
  own: { variables: Record<string, string>; timeZone?: string | undefined },
  machine: string,
): Record<string, string> {
  const { timeZone } = own;
  if (own.variables['TZ'] !== undefined || timeZone === undefined || isSameZone(timeZone, machine)) return {};
  return { TZ: timeZone };
}

function movedPaths(variables: Record<string, string>, files: LocalFiles | undefined): Record<string, string> {
  const mounts = (files?.mounts ?? []).filter(({ state }) => !absent.has(state));
  const moved: Record<string, string> = {};
  for (const [name, value] of Object.entries(variables)) {
    const local = localPath(value, mounts);
    if (local !== undefined) moved[name] = local;
  }
  return moved;
}
