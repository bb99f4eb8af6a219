/**
 * What a Service means on the machine: which ports can be carried where to, and under which names. Pure: objects of the
 * cluster in, plain data out.
 */
import type { V1EndpointSlice, V1Service } from '@kubernetes/client-node';
import type { Target } from '../../tunnel/tunnel.ts';
import type { NamesScope } from './names.ts';

export interface CarriedPort {
  port: number;
  name?: string;
  /** Absent for TCP. */
  protocol?: 'UDP' | 'SCTP';
  /** Where connections may go; one is chosen for each. Empty: not carried, see `problem`. */
  targets: Target[];
  problem?: string;
}

/** A Service, or one pod of a headless Service (then `service` is `pod.service`). */
export interface CarriedService {
  namespace: string;
  service: string;
  /** A pod has no `x.svc.DOMAIN`. */
  pod: boolean;
  /** No Service but a host outside of the cluster: its own name is the only one. */
  external?: boolean;
  /** As kubelet announces it to pods; absent for what it does not: headless, one pod, an alias. */
  clusterIp?: string;
  ports: CarriedPort[];
  problem?: string;
}

/** Every pod can reach it, so it is carried also for users who may not read Services of `default`. */
export const apiServerService: CarriedService = {
  namespace: 'default',
  service: 'kubernetes',
  pod: false,
  ports: [{ port: 443, name: 'https', targets: [{ host: 'kubernetes.default.svc', port: 443 }] }],
};

/** Looked up and dialled by the agent. */
export function externalHost(host: string, ports: readonly number[]): CarriedService {
  return {
    namespace: '',
    service: host,
    pod: false,
    external: true,
    ports: ports.map((port) => ({ port, targets: [{ host, port }] })),
  };
}

/** Ours, made for a session: never shown. */
export function isOurs(service: V1Service): boolean {
  return service.metadata?.labels?.['app.kubernetes.io/managed-by'] === 'bowline';
}

export function isHeadless(service: V1Service): boolean {
  return service.spec?.clusterIP === 'None';
}

/** The Service itself, and for a headless one each pod that has a name in it. */
export function carriedServices(service: V1Service, slices: V1EndpointSlice[]): CarriedService[] {
  const own = { namespace: service.metadata?.namespace ?? '', service: service.metadata?.name ?? '', pod: false };
  const spec = service.spec ?? {};
  if (spec.type === 'ExternalName') {
    const problem = `ExternalName: an alias of ${spec.externalName ?? 'nothing'}, which is outside the cluster; use that name.`;
    return [{ ...own, ports: [], problem }];
  }
  if (!isHeadless(service)) {
    if (spec.clusterIP === undefined || spec.clusterIP === '')
      return [{ ...own, ports: [], problem: 'It has no address in the cluster yet.' }];
    const host = spec.clusterIP;
    return [{ ...own, clusterIp: host, ports: portsOf(service, (port) => [{ host, port: port.port }]) }];
  }
  const endpoints = readyEndpoints(slices);
  const pods = Map.groupBy(
    endpoints.filter(({ hostname }) => hostname !== undefined),
    ({ hostname }) => hostname ?? '',
  );
  return [
    { ...own, ports: portsOf(service, podTargets(endpoints)) },
    ...[...pods].map(([hostname, among]) => ({
      ...own,
      service: `${hostname}.${own.service}`,
      pod: true,
      ports: portsOf(service, podTargets(among.slice(0, 1))),
    })),
  ];
}

/** As the search list of a pod of the scope's namespace has them, shortest first. */
export function hostNames(
  { namespace, service, pod, external }: CarriedService,
  {
    namespace: own,
    clusterDomain,
    withoutNamespace = [],
  }: Pick<NamesScope, 'namespace' | 'clusterDomain' | 'withoutNamespace'>,
): string[] {
  if (external === true) return [service];
  const names = [
    `${service}.${namespace}`,
    `${service}.${namespace}.svc`,
    `${service}.${namespace}.svc.${clusterDomain}`,
  ];
  if (namespace !== own) return names;
  const promised = !pod && withoutNamespace.includes(service) ? [`${service}.svc.${clusterDomain}`] : [];
  return [service, ...names, ...promised];
}

function podTargets(endpoints: Endpoint[]): (port: ServicePort) => Target[] {
  return (port) =>
    endpoints.flatMap((endpoint) => {
      const number = endpoint.ports.get(port.name ?? '');
      return number === undefined ? [] : [{ host: endpoint.address, port: number }];
    });
}

type ServicePort = NonNullable<NonNullable<V1Service['spec']>['ports']>[number];

function portsOf(service: V1Service, targetsOf: (port: ServicePort) => Target[]): CarriedPort[] {
  return (service.spec?.ports ?? []).map((port) => {
    const named = { port: port.port, ...(port.name === undefined ? {} : { name: port.name }) };
    const { protocol } = port;
    if (protocol === 'UDP' || protocol === 'SCTP')
      return { ...named, protocol, targets: [], problem: `${protocol} is not carried, only TCP.` };
    const targets = targetsOf(port);
    return targets.length === 0 ? { ...named, targets, problem: 'No pod of it is ready.' } : { ...named, targets };
  });
}

interface Endpoint {
  address: string;
  hostname: string | undefined;
  /** Port numbers by the name of the Service's port. */
  ports: Map<string, number>;
}

/** Each pod once, by its IPv4 address where it has both. */
function readyEndpoints(slices: V1EndpointSlice[]): Endpoint[] {
  const found = new Map<string, Endpoint>();
  for (const slice of [...slices].sort((a, b) => a.addressType.localeCompare(b.addressType))) {
    if (slice.addressType === 'FQDN') continue;
    const ports = new Map(
      (slice.ports ?? []).flatMap(({ name, port }) => (port === undefined ? [] : [[name ?? '', port]])),
    );
    for (const endpoint of slice.endpoints ?? []) {
      const address = endpoint.addresses[0];
      if (address === undefined || endpoint.conditions?.ready === false) continue;
      const key = endpoint.targetRef?.uid ?? address;
      if (!found.has(key)) found.set(key, { address, hostname: endpoint.hostname, ports });
    }
  }
  return [...found.values()];
}
