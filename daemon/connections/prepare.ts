/**
 * Everything that is known before anything is touched: the target, its ports, the caller's rights, the shape of each
 * object. `connect` and `--dry-run` start from the same answer, so the one cannot promise what the other does not do.
 */
import type { V1PodTemplateSpec } from '@kubernetes/client-node';
import { defaultControlPort, type AgentSession } from '../../agent-image/contract.ts';
import { BowlineError } from '../../api/errors.ts';
import type { ConnectRequest } from '../../api/schema.ts';
import { productVersion } from '../../api/version.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { leases, namespaces, services } from '../cluster/resources.ts';
import { checkEnvironmentFile, fileWarnings, readEnvironmentFile } from '../environment/environment-file.ts';
import type { EnvironmentFile } from '../../env-parser/environment-file.ts';
import { namespacesOf, perhapsNamespaces } from '../../env-parser/references.ts';
import { hostNameOf } from '../environment/host-name.ts';
import { knownServices } from '../environment/known-services.ts';
import type { ProcessFacts } from '../environment/process.ts';
import { originalOf, processFacts } from './facts.ts';
import { cloneWithAgent, gatewayPod, type AgentPodOptions } from '../redirect/agent-pod.ts';
import { makeCredentials } from '../redirect/credentials.ts';
import { didYouMean } from '../../api/nearest.ts';
import { holderOfSession, leaseName, sessionLabel, type Identity } from '../redirect/objects.ts';
import { keeperRights } from '../redirect/keeper.ts';
import { proofTargets } from '../redirect/proof.ts';
import type { SessionRecord } from '../redirect/record.ts';
import { alreadyRedirected, alreadyRedirectedBy } from '../redirect/refusals.ts';
import { checkRights, checkStopRights } from '../redirect/rights.ts';
import { routesOf, type Routes } from '../redirect/routes.ts';
import type { AgentCode } from '../redirect/session-objects.ts';
import { checkStoppable } from '../redirect/stop-original.ts';
import { planClaims } from '../redirect/volumes.ts';
import { describe, findWorkload, isReady, parseTarget, type Workload } from '../redirect/workload.ts';
import { newSessionId, type Session } from './session.ts';
import { headlessWarnings, surroundings } from './surroundings.ts';

export interface Prepared {
  session: Session;
  record: SessionRecord;
  workload?: Workload;
  routes?: Routes;
  template: V1PodTemplateSpec;
  /** Whether the caller may make a keeper for the namespace. */
  mayMakeKeeper: boolean;
  /** session.json of the agent, but for the originals' address, which the cluster gives. */
  agent: AgentSession;
  /** What the container's process said of itself; in memory only. */
  facts?: ProcessFacts;
}

export interface PrepareOptions extends CallOptions {
  signal: AbortSignal;
  defaultImage: string;
  code: AgentCode;
  identity: Identity;
  /** A name that is unique in this daemon, or throws ALREADY_CONNECTED. */
  nameFor: (namespace: string, workload: Workload | undefined, cluster: Cluster) => string;
}

export async function prepare(cluster: Cluster, request: ConnectRequest, options: PrepareOptions): Promise<Prepared> {
  const { signal } = options;
  const call: CallOptions = { signal };
  const namespace = request.namespace ?? cluster.defaultNamespace;
  const file = readEnvironmentFile(request.environmentFile);
  await cluster.version(call); // server, certificate and credentials, said clearly before anything else is asked
  await checkNamespace(cluster, namespace, call);
  if (
    request.target === undefined &&
    (request.ports.length > 0 || request.stopOriginal || request.container !== undefined)
  ) {
    throw new BowlineError('BAD_ARGUMENT', '--port, --container and --stop-original need a TARGET.', {
      hint: 'For example `bowline connect deploy/stats-api --port 3001`. Without a TARGET only names are carried.',
    });
  }
  if (!request.redirect && (request.ports.length > 0 || request.stopOriginal || request.takeOver)) {
    throw new BowlineError('BAD_ARGUMENT', 'Without a redirect there is no --port, --stop-original or --take-over.', {
      hint: 'They say how the traffic of the workload comes here; leave --no-redirect away for that.',
    });
  }
  const id = newSessionId();
  const target = request.target === undefined ? undefined : parseTarget(request.target);
  const [credentials] = await Promise.all([
    makeCredentials(id, new Date()),
    checkRights(cluster, namespace, target && { kind: target.kind, redirect: request.redirect }, call),
  ]);
  const workload =
    request.target === undefined ? undefined : await findWorkload(cluster, namespace, request.target, call);
  const since = new Date().toISOString();
  const image = { name: request.agentImage ?? options.defaultImage, hasAgent: request.agentImageHasAgent };
  const name = options.nameFor(namespace, workload, cluster);
  const record: SessionRecord = {
    session: id,
    ...options.identity,
    version: productVersion,
    since,
  };
  const session: Session = {
    schema: 1,
    id,
    name,
    phase: 'connecting',
    since,
    request: { ...request, context: cluster.context, namespace },
    context: cluster.context,
    server: cluster.server,
    namespace,
    leaseName: leaseName(id, request.redirect ? workload : undefined),
    holder: holderOfSession(options.identity, id),
    controlPort: defaultControlPort,
    image,
    credentials,
    ports: [],
    passedOn: [],
    proofs: [],
    originals: undefined,
    warnings: file === undefined ? [] : fileWarnings(file),
  };
  const podOptions: AgentPodOptions = {
    session: id,
    image,
    codeHash: options.code.hash,
    takeHostname: request.stopOriginal,
    claims: {},
  };
  if (workload === undefined) {
    if (file !== undefined) await checkFile(cluster, file, { namespace, volumes: [], call });
    return {
      session,
      record,
      mayMakeKeeper: false,
      template: gatewayPod(podOptions),
      agent: { session: id, controlPort: defaultControlPort, ports: [] },
    };
  }
  return prepareRedirect(cluster, request, { session, record, workload, podOptions, file, call });
}

interface RedirectInput {
  session: Session;
  record: SessionRecord;
  workload: Workload;
  podOptions: AgentPodOptions;
  file: EnvironmentFile | undefined;
  call: CallOptions;
}

async function prepareRedirect(cluster: Cluster, request: ConnectRequest, input: RedirectInput): Promise<Prepared> {
  const { session, workload, podOptions, file, call } = input;
  const { namespace } = workload;
  const holder = request.redirect ? await cluster.find(leases, session.leaseName, namespace, call) : undefined;
  if (holder !== undefined) throw alreadyRedirected(workload, holder, await serverTime(cluster, call));
  if (request.stopOriginal) {
    checkStoppable(workload);
    await checkStopRights(cluster, namespace, workload.kind, call);
  }
  if (!request.stopOriginal && workload.pods.length === 0) {
    throw new BowlineError(
      'WORKLOAD_HAS_NO_PODS',
      `${describe(workload)} in namespace ${namespace} has no running pod${workload.replicas === 0 ? ' (0 replicas)' : ''}.`,
      {
        hint: `Scale it up (\`kubectl scale ${describe(workload)} --replicas=1 -n ${namespace}\`), or take its place with --stop-original.`,
      },
    );
  }
  const [allServices, claims, missing] = await Promise.all([
    cluster.list(services, { ...call, namespace }),
    planClaims(cluster, workload, call),
    cluster.missingRights(keeperRights(namespace), call),
  ]);
  const routes = await withHolder(cluster, namespace, call, () =>
    routesOf(workload, allServices, {
      container: request.container,
      ports: request.ports,
      redirect: request.redirect,
      ifDown: request.ifDown,
      stopOriginal: request.stopOriginal,
    }),
  );
  const running = originalOf(workload, routes.container.name)?.container;
  if (file !== undefined) {
    // A running pod has the token's volume too, which its template does not show.
    const volumes = ((running ?? routes.container).volumeMounts ?? []).map(({ name }) => name);
    const serviceAccount = workload.template.spec?.serviceAccountName;
    await checkFile(cluster, file, { namespace, volumes, serviceAccount, call });
  }
  const original = workload.pods.find(isReady) ?? workload.pods[0];
  // Volumes of a StatefulSet are those of its first pod.
  const mounting = workload.pods.find((pod) => pod.metadata?.name === workload.firstPod) ?? original;
  const facts = await processFacts(cluster, workload, routes.container.name, call);
  const controlPort = freeControlPort(workload);
  const node = (claims.sameNode ? mounting : original)?.spec?.nodeName;
  const template = cloneWithAgent({ ...workload, template: claims.template }, routes.container, {
    ...podOptions,
    claims: claims.claims,
    ...(facts === undefined ? { shareImageFolder: true } : { user: { uid: facts.uid, gid: facts.gid } }),
    ...(node === undefined ? {} : { node: { name: node, required: claims.sameNode } }),
    ...(running === undefined ? {} : { running }),
  });
  const warnings = [
    ...session.warnings,
    ...routes.warnings,
    ...claims.warnings,
    ...headlessWarnings(routes),
    ...(await surroundings(cluster, workload, routes, call)),
  ];
  return {
    session: {
      ...session,
      controlPort,
      target: {
        kind: workload.kind,
        name: workload.name,
        container: routes.container.name,
        hostName: original && hostNameOf(original),
        serviceAccount: workload.template.spec?.serviceAccountName,
      },
      ports: routes.ports,
      passedOn: routes.passedOn,
      proofs: proofTargets(
        routes.services,
        routes.ports.map((port) => port.remote),
      ),
      originals: { replicas: workload.replicas, stopped: false },
      warnings,
    },
    // What a Lease says here is what others are kept from.
    record: request.redirect
      ? { ...input.record, workload: { kind: workload.kind, name: workload.name } }
      : input.record,
    workload,
    routes,
    mayMakeKeeper: missing.length === 0,
    template,
    agent: { session: session.id, controlPort, ports: routes.agentPorts },
    ...(facts === undefined ? {} : { facts }),
  };
}

/** A Service that another workload's session redirects is refused with its holder. */
async function withHolder<T>(cluster: Cluster, namespace: string, call: CallOptions, look: () => T): Promise<T> {
  try {
    return look();
  } catch (error) {
    const { code, details } = BowlineError.from(error);
    if (code !== 'ALREADY_REDIRECTED') throw error;
    const labelSelector = `${sessionLabel}=${String(details?.['session'])}`;
    const [lease] = await cluster.list(leases, { ...call, namespace, labelSelector });
    if (lease === undefined) throw error;
    throw alreadyRedirectedBy(lease, String(details?.['service']), await serverTime(cluster, call));
  }
}

const serverTime = (cluster: Cluster, call: CallOptions): Promise<Date | undefined> =>
  cluster.serverTime(call).catch(() => undefined);

/** What the file names, against what is there, before anything is touched. */
async function checkFile(
  cluster: Cluster,
  file: EnvironmentFile,
  {
    namespace,
    volumes,
    serviceAccount,
    call,
  }: { namespace: string; volumes: string[]; serviceAccount?: string | undefined; call: CallOptions },
): Promise<void> {
  const named = await knownServices(cluster, [namespace, ...namespacesOf(file)], call);
  const [unchecked] = named.unchecked;
  if (unchecked !== undefined) throw unchecked.error;
  const more = await knownServices(cluster, perhapsNamespaces(file, named.absent), call);
  checkEnvironmentFile(file, {
    ...named,
    namespace,
    volumes: [...new Set(volumes)],
    serviceAccount,
    services: [...named.services, ...more.services],
  });
}

async function checkNamespace(cluster: Cluster, namespace: string, call: CallOptions): Promise<void> {
  const found = await cluster.find(namespaces, namespace, undefined, call).catch((error: unknown) => {
    // Users who may not look at namespaces still work in theirs; what is missing shows at the next step.
    if (error instanceof BowlineError && error.code === 'RIGHTS_MISSING') return 'unknown' as const;
    throw error;
  });
  if (found !== undefined) return;
  const all = await cluster.list(namespaces, call).catch(() => []);
  const names = all.map((each) => each.metadata?.name ?? '');
  throw new BowlineError(
    'NAMESPACE_NOT_FOUND',
    `There is no namespace "${namespace}" in context ${cluster.context} (${cluster.server}).`,
    {
      hint: didYouMean(namespace, names, 'namespaces'),
      details: { alternatives: names },
    },
  );
}

/** The agent's control port beside all ports of the pod. */
function freeControlPort(workload: Workload): number {
  const spec = workload.template.spec;
  const taken = new Set(
    [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].flatMap((each) =>
      (each.ports ?? []).map((port) => port.containerPort),
    ),
  );
  let port = defaultControlPort;
  while (taken.has(port)) port++;
  return port;
}
