/**
 * From a KUBECONFIG list to the access of one context, by kubectl's rules: the first file that names something wins,
 * paths are relative to the file they stand in, missing files are skipped. Nothing is ever written, so the current
 * context on disk stays whose it is.
 */
import { readFile } from 'node:fs/promises';
import { delimiter, dirname, join, resolve, sep } from 'node:path';
import { BowlineError } from '../../../api/errors.ts';
import { nearest } from '../../../api/nearest.ts';
import { parseKubeconfig } from './schema.ts';
import type {
  ClientCertificate,
  ClusterAccess,
  Impersonation,
  PluginConfig,
  ServerConfig,
  UserConfig,
} from './access.ts';
import type { FileCluster, FileContext, FileUser } from './schema.ts';

/** An entry and the file it came from. */
interface Entry<T> {
  value: T;
  path: string;
}

export interface Kubeconfig {
  readonly paths: readonly string[];
  readonly currentContext: string | undefined;
  readonly clusters: ReadonlyMap<string, Entry<FileCluster>>;
  readonly users: ReadonlyMap<string, Entry<FileUser>>;
  readonly contexts: ReadonlyMap<string, Entry<FileContext>>;
}

export interface KubeconfigPlace {
  /** KUBECONFIG as the user's shell has it; empty or absent means `~/.kube/config`. */
  kubeconfig?: string | undefined;
  home: string;
}

export function kubeconfigPaths({ kubeconfig, home }: KubeconfigPlace): string[] {
  const listed = (kubeconfig ?? '').split(delimiter).filter((path) => path !== '');
  return listed.length > 0 ? [...new Set(listed.map((path) => resolve(path)))] : [join(home, '.kube', 'config')];
}

/** `undefined` when none of the files exists. */
export async function readKubeconfig(place: KubeconfigPlace): Promise<Kubeconfig | undefined> {
  const paths = kubeconfigPaths(place);
  const clusters = new Map<string, Entry<FileCluster>>();
  const users = new Map<string, Entry<FileUser>>();
  const contexts = new Map<string, Entry<FileContext>>();
  let currentContext: string | undefined;
  let found = false;
  for (const path of paths) {
    const content = await readIfThere(path);
    if (content === undefined) continue;
    found = true;
    const file = parseKubeconfig(content, path);
    currentContext ||= file.currentContext;
    addMissing(clusters, file.clusters, path);
    addMissing(users, file.users, path);
    addMissing(contexts, file.contexts, path);
  }
  return found ? { paths, currentContext, clusters, users, contexts } : undefined;
}

export function kubeconfigNotFound(place: KubeconfigPlace): BowlineError {
  const looked = kubeconfigPaths(place);
  return new BowlineError(
    'KUBECONFIG_NOT_FOUND',
    `There is no kubeconfig: ${looked.join(', ')} ${looked.length > 1 ? 'do' : 'does'} not exist.`,
    {
      hint: 'Set KUBECONFIG to the file of your cluster, or put it at ~/.kube/config.',
      details: { looked },
    },
  );
}

/** Everything that is needed for one context; `wanted` or else the current one. */
export async function resolveContext(config: Kubeconfig, wanted: string | undefined): Promise<ClusterAccess> {
  const name = wanted || config.currentContext;
  const known = [...config.contexts.keys()];
  if (!name) {
    throw new BowlineError(
      'CONTEXT_NOT_FOUND',
      `No context is chosen, and ${config.paths.join(', ')} has no current-context.`,
      {
        hint:
          known.length > 0
            ? `Name one with --context: ${known.join(', ')}.`
            : 'The kubeconfig has no contexts; check KUBECONFIG.',
        details: { contexts: known },
      },
    );
  }
  const context = config.contexts.get(name);
  if (context === undefined) {
    const near = nearest(name, known);
    throw new BowlineError('CONTEXT_NOT_FOUND', `There is no context "${name}" in ${config.paths.join(', ')}.`, {
      hint: near.length > 0 ? `Did you mean ${near.join(', ')}?` : `There are: ${known.join(', ') || 'none'}.`,
      details: { context: name, nearest: near, contexts: known },
    });
  }
  const cluster = config.clusters.get(context.value.cluster ?? '');
  if (cluster === undefined) throw dangling(context, name, 'cluster', context.value.cluster);
  const user = config.users.get(context.value.user ?? '');
  if (user === undefined && context.value.user) throw dangling(context, name, 'user', context.value.user);
  return {
    context: name,
    namespace: context.value.namespace || 'default',
    server: await readServer(cluster, context.value.cluster ?? ''),
    user: user === undefined ? { name: '' } : await readUser(user, context.value.user ?? ''),
  };
}

async function readServer({ value, path }: Entry<FileCluster>, name: string): Promise<ServerConfig> {
  const url = parseServer(value.server, `cluster "${name}" of ${path}`);
  const ca = await dataOrFile(
    value['certificate-authority-data'],
    value['certificate-authority'],
    path,
    'certificate-authority',
  );
  const extension = (value.extensions ?? []).find((each) => each.name === 'client.authentication.k8s.io/exec');
  return {
    url,
    insecure: isTrue(value['insecure-skip-tls-verify']),
    ...(ca === undefined ? {} : { ca }),
    ...(value['tls-server-name'] ? { tlsServerName: value['tls-server-name'] } : {}),
    ...(value['proxy-url'] ? { proxy: value['proxy-url'] } : {}),
    ...(extension === undefined ? {} : { pluginConfig: extension.extension }),
  };
}

function parseServer(server: string | null | undefined, where: string): URL {
  const url = URL.parse(server && !server.includes('://') ? `http://${server}` : (server ?? ''));
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new BowlineError('KUBECONFIG_INVALID', `The server of ${where} is not an http or https URL.`, {
      hint: 'It looks like https://HOST:6443.',
    });
  }
  return url;
}

async function readUser({ value, path }: Entry<FileUser>, name: string): Promise<UserConfig> {
  const cert = await dataOrFile(
    value['client-certificate-data'],
    value['client-certificate'],
    path,
    'client-certificate',
  );
  const key = await dataOrFile(value['client-key-data'], value['client-key'], path, 'client-key');
  if ((cert === undefined) !== (key === undefined)) {
    throw new BowlineError(
      'KUBECONFIG_INVALID',
      `User "${name}" of ${path} has a client certificate or key without the other.`,
    );
  }
  const certificate: ClientCertificate | undefined =
    cert === undefined || key === undefined ? undefined : { cert, key };
  const provider = value['auth-provider'];
  const impersonate = readImpersonation(value);
  return {
    name,
    ...(value.token ? { token: value.token } : {}),
    ...(value.tokenFile ? { tokenFile: resolve(dirname(path), value.tokenFile) } : {}),
    ...(value.username ? { username: value.username, password: value.password ?? '' } : {}),
    ...(certificate === undefined ? {} : { certificate }),
    ...(provider ? { authProvider: { name: provider.name, config: provider.config ?? {} } } : {}),
    ...(value.exec ? { exec: readPlugin(value.exec, path) } : {}),
    ...(impersonate === undefined ? {} : { impersonate }),
  };
}

function readPlugin(exec: NonNullable<FileUser['exec']>, path: string): PluginConfig {
  // A bare name is looked up in PATH; anything with a separator is a path, and relative to its file.
  const command =
    exec.command.includes(sep) || exec.command.includes('/') ? resolve(dirname(path), exec.command) : exec.command;
  return {
    apiVersion: exec.apiVersion ?? '',
    command,
    args: exec.args ?? [],
    env: Object.fromEntries((exec.env ?? []).map((each) => [each.name, each.value])),
    provideClusterInfo: isTrue(exec.provideClusterInfo),
    interactiveMode: exec.interactiveMode ?? 'IfAvailable',
    ...(exec.installHint ? { installHint: exec.installHint } : {}),
  };
}

function readImpersonation(value: FileUser): Impersonation | undefined {
  const groups = value['as-groups'] ?? [];
  const extra = value['as-user-extra'] ?? {};
  if (!value.as && !value['as-uid'] && groups.length === 0 && Object.keys(extra).length === 0) return undefined;
  return {
    groups,
    extra,
    ...(value.as ? { user: value.as } : {}),
    ...(value['as-uid'] ? { uid: value['as-uid'] } : {}),
  };
}

/** `…-data` (base64) wins over the file, as in kubectl. */
async function dataOrFile(
  data: string | null | undefined,
  file: string | null | undefined,
  path: string,
  what: string,
): Promise<string | undefined> {
  if (data) return Buffer.from(data, 'base64').toString('utf8');
  if (!file) return undefined;
  const full = resolve(dirname(path), file);
  try {
    return await readFile(full, 'utf8');
  } catch (error) {
    throw new BowlineError(
      'KUBECONFIG_INVALID',
      `${path} names ${full} as ${what}, which cannot be read (${codeOf(error)}).`,
      { cause: error },
    );
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new BowlineError('KUBECONFIG_INVALID', `The kubeconfig ${path} cannot be read (${code}).`, {
      cause: error,
      hint: 'Check that it is a file that you may read.',
    });
  }
}

function addMissing<T>(into: Map<string, Entry<T>>, entries: Array<[string, T]>, path: string): void {
  for (const [name, value] of entries) {
    if (!into.has(name)) into.set(name, { value, path });
  }
}

function dangling(
  context: Entry<FileContext>,
  name: string,
  kind: string,
  missing: string | null | undefined,
): BowlineError {
  return new BowlineError(
    'KUBECONFIG_INVALID',
    `Context "${name}" of ${context.path} names the ${kind} "${missing ?? ''}", which is in none of the files.`,
    {
      hint: 'Check that KUBECONFIG lists all files that belong together.',
    },
  );
}

function isTrue(value: string | null | undefined): boolean {
  return /^(true|yes|on|y)$/i.test(value ?? '');
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}
