/**
 * What tests read again and again, asked of the API server directly: a `kubectl get` costs a tenth of a second of
 * processor before its first byte leaves, and a test waits by asking. One `kubectl proxy` for each process knows the
 * credentials, of whatever kind they are; it ends with the process that started it.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitUntil } from './wait.ts';

/** An object of any kind, as the API server gives it. */
export interface ApiObject {
  apiVersion: string;
  kind: string;
  metadata: Record<string, unknown> & { name: string; annotations?: Record<string, unknown> };
  [field: string]: unknown;
}

/** One kind, as discovery lists it. */
export interface Resource {
  /** Plural, with the group where there is one: `pods`, `deployments.apps`. */
  name: string;
  /** Every word for it that kubectl takes. */
  words: string[];
  apiVersion: string;
  kind: string;
  /** Of its objects in a namespace: `/api/v1/namespaces/NAME/pods`. */
  path(namespace: string): string;
}

export interface Api {
  /** Any path of the API server. Throws `ApiRefusal` for an answer that is an error. */
  call<T>(method: string, path: string, body?: object): Promise<T>;
  /** Everything of namespaces that can be listed, in the order of discovery. Asked once. */
  resources(): Promise<Resource[]>;
  /** Objects of one kind, with kind and version, which a list leaves out. */
  list(resource: Resource, namespace: string, selector?: string): Promise<ApiObject[]>;
}

export class ApiRefusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export function openApi(kubectlPath: string, kubeconfig: string): Api {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  let socket: Promise<string> | undefined;
  const call = async <T>(method: string, path: string, body?: object): Promise<T> => {
    socket ??= startProxy(kubectlPath, kubeconfig);
    const socketPath = await socket;
    return ask<T>({ agent, socketPath, method, path }, body);
  };
  let resources: Promise<Resource[]> | undefined;
  return {
    call,
    resources: () => (resources ??= discover(call)),
    async list(resource, namespace, selector) {
      const query = selector === undefined ? '' : `?labelSelector=${encodeURIComponent(selector)}`;
      const { items } = await call<{ items: ApiObject[] }>('GET', `${resource.path(namespace)}${query}`);
      const { apiVersion, kind } = resource;
      return items.map((item) => ({ ...item, apiVersion, kind }));
    },
  };
}

/** Resolves with its socket. `setpriv` lets it end with this process, however that ends. */
async function startProxy(kubectlPath: string, kubeconfig: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'bowline-api-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'socket');
  const proxy = [kubectlPath, '--kubeconfig', kubeconfig, 'proxy', `--unix-socket=${path}`];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...proxy], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  let ended = false;
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  child.once('error', (error) => (said += error.message)).once('close', () => (ended = true));
  await waitUntil(
    () => {
      if (ended) throw new Error(`kubectl proxy ended: ${said.trim()}`);
      return said.includes('Starting to serve');
    },
    { what: 'kubectl proxy', interval: 20 },
  );
  // It must not keep a test from ending.
  for (const each of [child, child.stdout, child.stderr] as Array<{ unref?: () => void }>) each.unref?.();
  return path;
}

function ask<T>(
  options: { agent: Agent; socketPath: string; method: string; path: string },
  body?: object,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const bytes = Buffer.from(body === undefined ? '' : JSON.stringify(body));
  // Said by hand: Node frames no body of a DELETE by itself.
  const headers = { host: 'localhost', 'content-type': 'application/json', 'content-length': bytes.length };
  const outgoing = request({ ...options, headers, timeout: 60_000 }, (answer) => {
    const chunks: Buffer[] = [];
    answer.on('data', (chunk: Buffer) => chunks.push(chunk));
    answer.once('error', reject).once('end', () => {
      const text = Buffer.concat(chunks).toString();
      const status = answer.statusCode ?? 0;
      if (status < 300) return resolve(JSON.parse(text) as T);
      reject(new ApiRefusal(status, `${options.method} ${options.path}: ${status} ${messageOf(text)}`));
    });
  });
  outgoing.once('timeout', () => outgoing.destroy(new Error(`${options.method} ${options.path}: no answer in 60 s`)));
  outgoing.once('error', reject).end(bytes);
  return promise;
}

function messageOf(text: string): string {
  try {
    return (JSON.parse(text) as { message?: string }).message ?? text;
  } catch {
    return text;
  }
}

interface GroupList {
  groups: Array<{ versions: Array<{ groupVersion: string }>; preferredVersion: { groupVersion: string } }>;
}

interface ResourceList {
  resources: Array<{
    name: string;
    singularName: string;
    kind: string;
    namespaced: boolean;
    shortNames?: string[];
    verbs: string[];
  }>;
}

/** Each kind once, in the version that the API server prefers. */
async function discover(call: Api['call']): Promise<Resource[]> {
  const { groups } = await call<GroupList>('GET', '/apis');
  const others = groups.flatMap(({ versions, preferredVersion }) => {
    const all = versions.map(({ groupVersion }) => groupVersion);
    return [preferredVersion.groupVersion, ...all.filter((each) => each !== preferredVersion.groupVersion)];
  });
  const found = new Map<string, Resource>();
  const lists = await Promise.all(
    ['v1', ...others].map(async (apiVersion) => {
      const root = apiVersion === 'v1' ? '/api/v1' : `/apis/${apiVersion}`;
      return { apiVersion, root, list: await call<ResourceList>('GET', root) };
    }),
  );
  for (const { apiVersion, root, list } of lists) {
    const group = apiVersion.includes('/') ? `.${apiVersion.split('/')[0]}` : '';
    for (const { name, singularName, kind, namespaced, shortNames, verbs } of list.resources) {
      if (!namespaced || !verbs.includes('list') || name.includes('/') || found.has(name + group)) continue;
      found.set(name + group, {
        name: name + group,
        words: [name + group, name, singularName, kind.toLowerCase(), ...(shortNames ?? [])],
        apiVersion,
        kind,
        path: (namespace) => `${root}/namespaces/${namespace}/${name}`,
      });
    }
  }
  return [...found.values()];
}
