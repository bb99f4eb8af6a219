/** Puts the parts of one cluster's access together. Reads files, but does not talk to the server: `version()` is the proof. */
import { createHash } from 'node:crypto';
import { BowlineError } from '../../api/errors.ts';
import { createCredentials } from './config/credentials.ts';
import { inClusterAccess, inClusterContext } from './config/incluster.ts';
import { kubeconfigNotFound, readKubeconfig, resolveContext } from './config/kubeconfig.ts';
import { createPluginCache } from './config/plugincache.ts';
import { execute, executeStream } from './exec.ts';
import { createPipeMemory, createPipeOpener } from './openpipe.ts';
import { pathOf, subjectOf } from './paths.ts';
import { portForward } from './portforward.ts';
import { missingRights } from './rights.ts';
import { createTransport } from './transport/transport.ts';
import { listAll, watchAll } from './watch.ts';
import type { KubernetesObject } from '@kubernetes/client-node';
import type { Log } from '../log.ts';
import type { CallOptions, Cluster, Patch } from './cluster.ts';
import type { ClusterAccess } from './config/access.ts';
import type { PluginCache } from './config/plugincache.ts';
import type { PipeMemory } from './openpipe.ts';
import type { Place } from './paths.ts';
import type { Resource } from './resources.ts';
import type { Call, Transport } from './transport/transport.ts';

export interface OpenClusterOptions {
  /** KUBECONFIG as the user's shell has it: a list of files. Without it `~/.kube/config`; the environment below is not asked. */
  kubeconfig?: string | undefined;
  context?: string | undefined;
  /** For proxies, added authorities, credential plugins and the in-cluster configuration. */
  env: NodeJS.ProcessEnv;
  home: string;
  log: Log;
  /** Shared by all clusters of a daemon; each has its own otherwise. */
  plugins?: PluginCache;
  pipes?: PipeMemory;
  /** Milliseconds until a context that needed port-forward is asked for `pods/proxy` again. */
  proxyRetryAfter?: number;
  /** The folder of the service account, for the in-cluster configuration. */
  serviceAccountFolder?: string;
}

const patchTypes: Record<Patch['type'], string> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
};

export async function openCluster(
  options: OpenClusterOptions,
  signal: AbortSignal,
): Promise<Cluster & AsyncDisposable> {
  signal.throwIfAborted();
  const { env, log } = options;
  const access = await readAccess(options);
  const credentials = createCredentials({
    user: access.user,
    server: access.server,
    env,
    plugins: options.plugins ?? createPluginCache(),
    reload: async () => (await readAccess({ ...options, context: access.context })).user,
  });
  const transport = await createTransport({ server: access.server, context: access.context, credentials, env, log });
  signal.throwIfAborted();
  return clusterOver(transport, access, options);
}

/** What decides where a context leads. */
export type AccessOptions = Pick<
  OpenClusterOptions,
  'kubeconfig' | 'context' | 'env' | 'home' | 'serviceAccountFolder'
>;

export async function readAccess(options: AccessOptions): Promise<ClusterAccess> {
  const config = await readKubeconfig(options);
  if (config !== undefined) return await resolveContext(config, options.context);
  const inCluster = options.kubeconfig ? undefined : await inClusterAccess(options.env, options.serviceAccountFolder);
  const wanted = options.context || inClusterContext;
  if (inCluster === undefined || wanted !== inClusterContext) throw kubeconfigNotFound(options);
  return inCluster;
}

function clusterOver(
  transport: Transport,
  access: ClusterAccess,
  options: OpenClusterOptions,
): Cluster & AsyncDisposable {
  const { log } = options;
  const opener = createPipeOpener({
    transport,
    key: `${access.context}@${access.server.url.host}`,
    memory: options.pipes ?? createPipeMemory(),
    log,
    ...(options.proxyRetryAfter === undefined ? {} : { retryAfter: options.proxyRetryAfter }),
  });

  const get = <T extends KubernetesObject>(
    resource: Resource<T>,
    name: string,
    namespace?: string,
    bounds: CallOptions = {},
  ): Promise<T> => {
    const place: Place = { name, namespace };
    return transport.json<T>({
      method: 'GET',
      path: pathOf(resource, place),
      subject: subjectOf('get', resource, place),
      signal: bounds.signal,
      timeout: bounds.timeout,
    });
  };
  const close = (): Promise<void> => {
    transport[Symbol.dispose]();
    return Promise.resolve();
  };

  return {
    context: access.context,
    server: transport.server,
    defaultNamespace: access.namespace,
    fingerprint: createHash('sha256').update(JSON.stringify(access)).digest('hex'),

    get,
    find: (resource, name, namespace, bounds) => get(resource, name, namespace, bounds).catch(undefinedIfMissing),

    list: async (resource, bounds = {}) => (await listAll(transport, resource, bounds)).objects,

    create(resource, body, { dryRun, signal, timeout } = {}) {
      const place: Place = { namespace: body.metadata?.namespace };
      return transport.json({
        method: 'POST',
        path: pathOf(resource, place),
        query: { dryRun: dryRun ? 'All' : undefined },
        body: typed(resource, body),
        subject: { ...subjectOf('create', resource, place), name: body.metadata?.name },
        signal,
        timeout,
      });
    },

    replace(resource, body, { signal, timeout } = {}) {
      const place: Place = { namespace: body.metadata?.namespace, name: body.metadata?.name };
      return transport.json({
        method: 'PUT',
        path: pathOf(resource, place),
        body: typed(resource, body),
        subject: subjectOf('update', resource, place),
        signal,
        timeout,
      });
    },

    patch(resource, name, namespace, patch, { subresource, signal, timeout } = {}) {
      const place: Place = { name, namespace, subresource };
      return transport.json({
        method: 'PATCH',
        path: pathOf(resource, place),
        body: patch.body,
        contentType: patchTypes[patch.type],
        subject: {
          ...subjectOf('patch', resource, place),
          tested: patch.type === 'json' && patch.body.some(({ op }) => op === 'test'),
        },
        signal,
        timeout,
      });
    },

    delete(resource, name, namespace, { preconditions, gracePeriodSeconds, propagationPolicy, signal, timeout } = {}) {
      const place: Place = { name, namespace };
      return transport
        .json({
          method: 'DELETE',
          path: pathOf(resource, place),
          body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions, gracePeriodSeconds, propagationPolicy },
          subject: subjectOf('delete', resource, place),
          signal,
          timeout,
        })
        .then(
          () => true,
          (error: unknown) => undefinedIfMissing(error) ?? false,
        );
    },

    watch: (resource, bounds) => watchAll(transport, resource, bounds),
    missingRights: (rights, bounds) => missingRights(transport, rights, bounds),
    exec: (pod, command, bounds) => execute(transport, pod, command, bounds),
    execStream: (pod, command, bounds) => executeStream(transport, pod, command, bounds),
    openPipe: (pod, path, bounds) => opener.open(pod, path, bounds),
    portForward: (pod, bounds) => portForward(transport, pod, bounds),

    async version(bounds = {}) {
      const version = await transport.json<{ gitVersion?: string }>(versionCall(bounds));
      return version.gitVersion ?? '';
    },

    async serverTime(bounds = {}) {
      const answer = await transport.stream(versionCall(bounds));
      answer.resume();
      return new Date(answer.headers.date ?? NaN);
    },

    close,
    [Symbol.asyncDispose]: close,
  };
}

const versionCall = ({ signal, timeout }: CallOptions): Call => ({
  method: 'GET',
  path: '/version',
  subject: { verb: 'get', group: '', resource: '/version' },
  signal,
  timeout,
});

/** Callers need not repeat what the resource says already. */
function typed<T extends KubernetesObject>({ group, version, kind }: Resource<T>, body: T): T {
  return { ...body, apiVersion: group === '' ? version : `${group}/${version}`, kind };
}

function undefinedIfMissing(error: unknown): undefined {
  if (error instanceof BowlineError && error.details?.['status'] === 404) return undefined;
  throw error;
}
