/**
 * The pod's side of a fidelity report. Asked of the original's container where something can be run in it, else of the
 * agent, which is its clone: names and ports always, because it has the pod's place in the network.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path/posix';
import type { V1Container, V1Pod } from '@kubernetes/client-node';
import type { AgentCalls } from '../../agent-image/contract.ts';
import { digestOf, type Endpoint } from '../../agent-image/inspection.ts';
import type { NamedService, PodInspection } from '../../api/schema.ts';
import type { OutboundTunnel } from '../../tunnel/tunnel.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { services as serviceResource } from '../cluster/resources.ts';
import type { ContainerVariables } from '../environment/container.ts';
import { withoutSessions } from '../environment/environment.ts';
import { hostNameOf } from '../environment/host-name.ts';
import { sessionLabel } from '../redirect/objects.ts';
import { originalFiles, type OriginalFiles } from './original-files.ts';
import { fieldFiles, type FieldFile } from '../volumes/field-files.ts';
import { perPodFiles } from './per-pod-files.ts';

export interface PodInspectionInput {
  cluster: Cluster;
  namespace: string;
  container: string;
  original: { pod: V1Pod; container: V1Container } | undefined;
  tunnel: OutboundTunnel;
  /** As they answer on the machine: of other namespaces, and hosts of outside, those are looked at too. */
  carried: NamedService[];
  /** Namespaces beside its own that the environment file names. */
  namespaces: string[];
  clusterDomain: string;
  variables: ContainerVariables;
  uid: number | undefined;
  key: string;
}

/** Milliseconds to hash all files of all mounts. */
const patience = 60_000;

export async function inspectPod(input: PodInspectionInput, signal: AbortSignal): Promise<PodInspection> {
  const { original, container, key, variables } = input;
  const mounts = (original?.container.volumeMounts ?? []).map(({ mountPath }) => join(mountPath));
  const account = mounts.find((path) => path.endsWith('/run/secrets/kubernetes.io/serviceaccount'));
  const [wanted, token] = await Promise.all([
    endpointsOf(input, { signal }),
    account === undefined ? undefined : originalToken(input, account, { signal, timeout: patience }),
  ]);
  const request: AgentCalls['inspect']['request'] = {
    key,
    mounts: mounts.map((path) => ({ path, at: path })),
    endpoints: wanted.map(({ names, ports }) => ({ names, ports })),
    account,
    token,
  };
  const [seen, files] = await Promise.all([
    input.tunnel.call('inspect', request, signal) as Promise<AgentCalls['inspect']['answer']>,
    filesOf(input, mounts, { signal, timeout: patience }),
  ]);
  return {
    ...(original && { pod: original.pod.metadata?.name }),
    container,
    variables: {
      source: variables.source,
      digests: Object.fromEntries(
        Object.entries(withoutSessions(variables.variables)).map(([name, value]) => [name, digestOf(key, value)]),
      ),
      notes: [...variables.warnings, ...variables.notes],
    },
    ...filesSeen(input, files, seen),
    endpoints: wanted.map(({ service, namespace, external, names }, index) => ({
      service,
      namespace,
      external,
      names,
      ...seen.endpoints[index]!,
    })),
    account,
    identity: seen.identity,
    ...(account !== undefined && { identityFrom: token === undefined ? ('agent' as const) : ('original' as const) }),
    timeZone: variables.variables['TZ'] ?? variables.timeZone,
    hostName: original && hostNameOf(original.pod),
    uid: input.uid ?? original?.container.securityContext?.runAsUser ?? original?.pod.spec?.securityContext?.runAsUser,
  };
}

/** What the original's program would be to the API server; `undefined` where nothing can be run in it. Never logged. */
async function originalToken(
  { cluster, namespace, container, original }: PodInspectionInput,
  account: string,
  options: CallOptions,
): Promise<string | undefined> {
  const name = original?.pod.metadata?.name;
  if (name === undefined) return undefined;
  const place = { namespace, name, container };
  const read = await cluster.exec(place, ['cat', join(account, 'token')], options).catch(() => undefined);
  options.signal?.throwIfAborted();
  return read?.exitCode === 0 ? read.stdout.toString('utf8') : undefined;
}

type Files = Pick<PodInspection, 'filesFrom' | 'files' | 'unreadable'>;

async function filesOf(input: PodInspectionInput, mounts: string[], options: CallOptions): Promise<OriginalFiles> {
  const { cluster, namespace, original, container } = input;
  const name = original?.pod.metadata?.name;
  if (name === undefined) return { problem: 'none runs' };
  return originalFiles(cluster, { namespace, name, container }, mounts, options);
}

function filesSeen(
  { original, container, key }: PodInspectionInput,
  read: OriginalFiles,
  agent: AgentCalls['inspect']['answer'],
): Files {
  const perPod = original ? perPodFiles(original.pod, original.container) : new Map<string, string>();
  const agents = new Map(agent.files.map(({ path, digest }) => [path, digest]));
  const told = (file: Files['files'][number]): Files['files'][number] => {
    const what = perPod.get(file.path);
    return what === undefined ? file : { ...file, perPod: { what, digest: agents.get(file.path) } };
  };
  // A mount in another is seen by both.
  const once = (all: Files['files']): Files['files'] => [
    ...new Map(all.map((file) => [file.path, told(file)])).values(),
  ];
  if ('files' in read) {
    const digested = read.files.map(({ sha256, ...file }) => ({ ...file, digest: digestOf(key, sha256) }));
    return { filesFrom: 'original', files: once(digested), unreadable: [] };
  }
  const fields = original ? fieldFiles(original.pod, container) : new Map<string, FieldFile>();
  const ofOriginal = (file: Files['files'][number]): Files['files'][number] => {
    const content = fields.get(file.path)?.content;
    if (content === undefined) return file;
    return { ...file, digest: digestOf(key, createHash('sha256').update(content).digest('hex')) };
  };
  // The clone's own of these is empty.
  const elsewhere = (original?.container.volumeMounts ?? [])
    .filter(({ name }) => original?.pod.spec?.volumes?.find((each) => each.name === name)?.emptyDir !== undefined)
    .map(({ mountPath }) => join(mountPath));
  return {
    filesFrom: 'agent',
    files: once(
      agent.files.filter(({ path }) => !elsewhere.some((folder) => path.startsWith(`${folder}/`))).map(ofOriginal),
    ),
    unreadable: [
      ...agent.unreadable,
      ...elsewhere.map((path) => ({
        path,
        why: `only the original has it, and it cannot be read there: ${read.problem}`,
      })),
    ],
  };
}

interface WantedEndpoint extends Endpoint {
  service: string;
  namespace: string;
  external: boolean;
}

/** Services of the pod's namespace and of those that the environment file names, the API server, hosts of outside. */
async function endpointsOf(input: PodInspectionInput, options: CallOptions): Promise<WantedEndpoint[]> {
  const { cluster, namespace, namespaces, carried, clusterDomain } = input;
  const found = await Promise.all(
    [...new Set([namespace, ...namespaces])].map((each) =>
      cluster.list(serviceResource, { ...options, namespace: each }),
    ),
  );
  const own = found
    .flat()
    .filter(({ metadata }) => metadata?.labels?.[sessionLabel] === undefined)
    .map(({ metadata, spec }) => ({
      service: metadata?.name ?? '',
      namespace: metadata?.namespace ?? '',
      ports: (spec?.ports ?? []).filter(({ protocol = 'TCP' }) => protocol === 'TCP').map(({ port }) => port),
    }));
  const apiServer = { service: 'kubernetes', namespace: 'default', ports: [443] };
  const within = [...own, ...(namespace === 'default' ? [] : [apiServer])].map((each): WantedEndpoint => ({
    ...each,
    external: false,
    names: namesOf(each, namespace, clusterDomain),
    ports: each.ports.map(atItself),
  }));
  const outside = carried
    .filter(({ external }) => external === true)
    .map(({ service, ports }): WantedEndpoint => ({
      service,
      namespace: '',
      external: true,
      names: [service],
      ports: ports.map(({ port }) => atItself(port)),
    }));
  return [...within, ...outside];
}

const atItself = (port: number): Endpoint['ports'][number] => ({ port, at: port, settle: 0 });

/** As the search list of a pod lets it be called. */
function namesOf(each: { service: string; namespace: string }, own: string, domain: string): string[] {
  const full = `${each.service}.${each.namespace}`;
  return [...(each.namespace === own ? [each.service] : []), full, `${full}.svc`, `${full}.svc.${domain}`];
}
