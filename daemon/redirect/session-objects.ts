/**
 * The objects of one session in the cluster beside its owners (session-record.ts), which come first, so that nothing outlives
 * them even when our own cleaning never comes.
 */
import type {
  V1ConfigMap,
  V1OwnerReference,
  V1PodTemplateSpec,
  V1ReplicaSet,
  V1Secret,
  V1Service,
} from '@kubernetes/client-node';
import type { AgentSession } from '../../agent-image/contract.ts';
import { BowlineError } from '../../api/errors.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { configMaps, replicaSets, secrets, services } from '../cluster/resources.ts';
import type { SessionCredentials } from './credentials.ts';
import {
  codeConfigMapName,
  managedBy,
  metadata,
  originalsServiceName,
  sessionObjectName,
  sessionSelector,
} from './objects.ts';
import type { Routes } from './routes.ts';

export interface AgentCode {
  code: string;
  hash: string;
}

/**
 * The way to the originals: their selector, and every TCP and UDP port of the agent under its own number. `address`: the cluster
 * IP that the agent knows, where it is made again.
 */
export function originalsService(
  session: string,
  namespace: string,
  selector: Record<string, string>,
  { agentPorts }: Pick<Routes, 'agentPorts'>,
  owners?: V1OwnerReference[],
  address?: string,
): V1Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadata(session, namespace, originalsServiceName(session), owners),
    spec: {
      ...(address === undefined ? {} : { clusterIP: address }),
      selector,
      ports: agentPorts.map(({ port, protocol }) => ({
        name: `${protocol.toLowerCase()}-${port}`,
        port,
        targetPort: port,
        protocol,
      })),
    },
  };
}

export function sessionSecret(
  session: string,
  namespace: string,
  credentials: SessionCredentials,
  agent: AgentSession,
  owners?: V1OwnerReference[],
): V1Secret {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: metadata(session, namespace, sessionObjectName(session), owners),
    type: 'Opaque',
    stringData: {
      'agent.key': credentials.agentKey,
      'agent.crt': credentials.agentCert,
      'daemon.crt': credentials.daemonCert,
      'session.json': JSON.stringify(agent),
    },
  };
}

/** One pod. A ReplicaSet of ours, so that the clone has a controller and no other adopts it, and comes back on any node. */
export function agentReplicaSet(
  session: string,
  namespace: string,
  template: V1PodTemplateSpec,
  owners?: V1OwnerReference[],
): V1ReplicaSet {
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: metadata(session, namespace, sessionObjectName(session), owners),
    spec: { replicas: 1, selector: { matchLabels: sessionSelector(session) }, template },
  };
}

export function codeConfigMap(namespace: string, agent: AgentCode, owners: V1OwnerReference[] = []): V1ConfigMap {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name: codeConfigMapName(agent.hash),
      namespace,
      labels: { ...managedBy },
      ...(owners.length === 0 ? {} : { ownerReferences: owners }),
    },
    immutable: true,
    data: { 'agent.mjs': agent.code },
  };
}

/**
 * The ConfigMap with the agent's code, shared by the sessions of a namespace: each one adds its own as owners, so it
 * lives as long as the last. Content-addressed and immutable, but anybody with rights may have made it: it is compared.
 */
export async function ensureCode(
  cluster: Cluster,
  namespace: string,
  agent: AgentCode,
  owners: V1OwnerReference[],
  options: CallOptions,
): Promise<void> {
  const name = codeConfigMapName(agent.hash);
  for (let attempt = 0; ; attempt++) {
    const existing = await cluster.find(configMaps, name, namespace, options);
    if (existing !== undefined && (existing.data?.['agent.mjs'] !== agent.code || existing.immutable !== true)) {
      throw new BowlineError(
        'CHANGED_MEANWHILE',
        `ConfigMap ${name} in namespace ${namespace} does not hold the agent that belongs to its name.`,
        {
          hint: `Somebody else made or changed it. Look at it, then \`kubectl delete configmap ${name} -n ${namespace}\`.`,
        },
      );
    }
    try {
      if (existing === undefined) {
        await cluster.create(configMaps, codeConfigMap(namespace, agent, owners), options);
        return;
      }
      const others = existing.metadata?.ownerReferences ?? [];
      await cluster.patch(
        configMaps,
        name,
        namespace,
        {
          type: 'json',
          body: [
            { op: 'test', path: '/metadata/resourceVersion', value: existing.metadata?.resourceVersion },
            { op: 'add', path: '/metadata/ownerReferences', value: [...others, ...owners] },
          ],
        },
        options,
      );
      return;
    } catch (error) {
      if (attempt >= 5) throw error; // another session made or changed it at the same moment
    }
  }
}

/** Takes this session off the shared ConfigMaps, and deletes those that no other session owns. */
export async function releaseCode(
  cluster: Cluster,
  namespace: string,
  ownUids: ReadonlySet<string>,
  options: CallOptions,
): Promise<void> {
  const all = await cluster.list(configMaps, {
    ...options,
    namespace,
    labelSelector: 'app.kubernetes.io/managed-by=bowline',
  });
  for (const map of all) {
    const owners = map.metadata?.ownerReferences ?? [];
    if (!owners.some(({ uid }) => ownUids.has(uid))) continue;
    const others = owners.filter(({ uid }) => !ownUids.has(uid));
    const { name = '', resourceVersion = '' } = map.metadata ?? {};
    if (others.length === 0) {
      // A session that takes it up at this moment changes the version: then it stays, and the garbage collector decides.
      await cluster
        .delete(configMaps, name, namespace, { ...options, preconditions: { resourceVersion } })
        .catch(() => false);
      continue;
    }
    const body = [
      { op: 'test' as const, path: '/metadata/resourceVersion', value: resourceVersion },
      { op: 'replace' as const, path: '/metadata/ownerReferences', value: others },
    ];
    await cluster.patch(configMaps, name, namespace, { type: 'json', body }, options).catch(() => undefined); // the owner's end does the same
  }
}

export async function createOriginalsService(
  cluster: Cluster,
  service: V1Service,
  options: CallOptions,
): Promise<string> {
  const made = await cluster.create(services, service, options);
  return made.spec?.clusterIP ?? '';
}

export const createSecret = async (cluster: Cluster, secret: V1Secret, options: CallOptions): Promise<void> =>
  void (await cluster.create(secrets, secret, options));

export const createReplicaSet = async (cluster: Cluster, set: V1ReplicaSet, options: CallOptions): Promise<void> =>
  void (await cluster.create(replicaSets, set, options));
