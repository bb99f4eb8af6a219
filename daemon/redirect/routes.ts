/**
 * Which container is swapped, which Services lead to it, and where each of its ports goes: to a local port of the
 * machine or on to the originals. Pure: works on what was read before.
 */
import { isDeepStrictEqual } from 'node:util';
import type { V1Container, V1Service } from '@kubernetes/client-node';
import type { PortRequest, Warning } from '../../api/schema.ts';
import { BowlineError } from '../../api/errors.ts';
import type { AgentPort } from '../../agent-image/contract.ts';
import { didYouMean } from '../../api/nearest.ts';
import { sessionLabel } from './objects.ts';
import { alreadyRedirectedService } from './refusals.ts';
import { readOriginal } from './record.ts';
import { describe, type Workload } from './workload.ts';

export interface RoutedService {
  service: V1Service;
  ports: Array<{ name?: string; port: number; protocol: string; containerPort: number }>;
}

export interface Routes {
  container: V1Container;
  /** Those that are redirected. */
  services: RoutedService[];
  /** LOCAL:REMOTE pairs with the Services that lead to each. */
  ports: Array<{ local: number; remote: number; services: string[] }>;
  passedOn: Array<{ remote: number; protocol: string }>;
  agentPorts: AgentPort[];
  warnings: Warning[];
}

export interface RouteRequest {
  container?: string | undefined;
  ports: PortRequest[];
  /** false: nothing comes here, every port goes on to the originals, and it does not matter who redirects them. */
  redirect: boolean;
  ifDown: 'refuse' | 'original';
  stopOriginal: boolean;
}

interface KnownPort {
  port: number;
  protocol: string;
  names: Set<string>;
  services: RoutedService['ports'];
  leads: string[];
}

export function routesOf(workload: Workload, allServices: V1Service[], request: RouteRequest): Routes {
  const warnings: Warning[] = [];
  const selecting = servicesOf(workload, allServices, request, warnings);
  const container = chooseContainer(workload, selecting, request, warnings);
  const leading = selecting.map((service) => ({ service, ports: portsInto(workload, container, service) }));
  const known = knownPorts(container, leading);
  const ports = request.redirect ? choosePorts(workload, container, known, request.ports) : [];
  const toMachine = new Set(ports.map((port) => port.remote));
  // A Service none of whose ports was asked for stays as it is: nothing of it would come here.
  const services = leading.filter((each) =>
    each.ports.some((port) => port.protocol === 'TCP' && toMachine.has(port.containerPort)),
  );
  for (const port of known.values()) {
    if (port.protocol !== 'SCTP' || !request.redirect) continue;
    warnings.push({
      code: 'SCTP_NOT_CARRIED',
      message: `Port ${port.port}/SCTP answers nothing while the redirect stands.`,
    });
  }
  const carried = [...known.values()].filter((port) => port.protocol !== 'SCTP');
  const agentPorts = carried.map(({ port, protocol }): AgentPort => {
    const machine = protocol === 'TCP' && toMachine.has(port);
    return {
      port,
      protocol: protocol === 'UDP' ? 'UDP' : 'TCP',
      to: machine ? 'machine' : 'originals',
      ifDown: request.ifDown,
    };
  });
  if (services.length === 0 && request.redirect) {
    warnings.push({
      code: 'NO_SERVICE',
      message: `No Service leads to ${leading.length > 0 ? 'the chosen ports of ' : ''}${describe(workload)}, so no request comes to this machine; variables and names are those of the workload. Make a Service that selects its pods, and connect again.`,
    });
  } else {
    for (const { local, remote } of ports.filter((port) => port.services.length === 0)) {
      warnings.push({
        code: 'NO_SERVICE',
        message: `No Service leads to port ${remote} of ${describe(workload)}, so no request comes to local port ${local}. Give a Service of its pods a port that leads there, and connect again.`,
      });
    }
  }
  return {
    container,
    services,
    ports,
    passedOn: agentPorts
      .filter((port) => port.to === 'originals' && request.redirect)
      .map((port) => ({ remote: port.port, protocol: port.protocol })),
    agentPorts,
    warnings,
  };
}

/**
 * What selects the originals: the selector that all redirected Services share, else the workload's own. The agent has
 * these labels too, but is never Ready, and the Service that uses this does not publish not-ready addresses.
 */
export function originalsSelector(workload: Workload, services: RoutedService[]): Record<string, string> {
  const [first, ...others] = services.map(({ service }) => service.spec?.selector ?? {});
  if (first !== undefined && others.every((other) => isDeepStrictEqual(other, first))) return first;
  const own = (workload.object as { spec?: { selector?: { matchLabels?: Record<string, string> } } }).spec?.selector
    ?.matchLabels;
  return own ?? workload.template.metadata?.labels ?? {};
}

const isHeadless = (service: V1Service): boolean => service.spec?.clusterIP === 'None';

/** The Services whose selector matches the workload's pods. Refuses when one of them is in another session's hands. */
function servicesOf(
  workload: Workload,
  all: V1Service[],
  { redirect, stopOriginal }: RouteRequest,
  warnings: Warning[],
): V1Service[] {
  const labels = workload.template.metadata?.labels ?? {};
  const matches = (selector: Record<string, string> | undefined): boolean =>
    selector !== undefined &&
    Object.keys(selector).length > 0 &&
    Object.entries(selector).every(([key, value]) => labels[key] === value);
  const selecting: V1Service[] = [];
  for (const service of all) {
    if (service.metadata?.labels?.[sessionLabel] !== undefined) continue; // the way to the originals of a session
    const original = readOriginal(service);
    if (redirect && original !== undefined && matches(original.selector))
      throw alreadyRedirectedService(service, original.session);
    const selector = original?.selector ?? service.spec?.selector;
    if (service.spec?.type !== 'ExternalName' && matches(selector)) selecting.push(service);
  }
  // Peers of a StatefulSet find each other by the pod names under its governing Service: taking it would cut them off.
  const governing = selecting.find((service) => isHeadless(service) && service.metadata?.name === workload.serviceName);
  const peers = redirect && governing !== undefined && workload.replicas > 1 && !stopOriginal;
  if (peers && selecting.length === 1) {
    warnings.push({
      code: 'GOVERNING_SERVICE_REDIRECTED',
      message: `Service ${governing.metadata?.name} is the only one of ${describe(workload)}: while it is redirected, nobody in the cluster can resolve the names of its ${workload.replicas} pods (${workload.name}-0.${governing.metadata?.name} and so on).`,
    });
  }
  if (peers && selecting.length > 1) {
    warnings.push({
      code: 'GOVERNING_SERVICE_KEPT',
      message: `Service ${governing.metadata?.name} stays as it is: the ${workload.replicas} pods of ${describe(workload)} find each other by their names under it.`,
    });
    return selecting.filter((service) => service !== governing);
  }
  return selecting.sort((a, b) => (a.metadata?.name ?? '').localeCompare(b.metadata?.name ?? ''));
}

const containersOf = (workload: Workload): V1Container[] => [
  ...(workload.template.spec?.containers ?? []),
  ...(workload.template.spec?.initContainers ?? []).filter((container) => container.restartPolicy === 'Always'),
];

/** The number and owner of a Service's target port. A number that nobody declares belongs to the swapped container. */
function targetOf(workload: Workload, target: number | string): { port: number; container?: V1Container } | undefined {
  for (const container of containersOf(workload)) {
    const declared = container.ports?.find((port) =>
      typeof target === 'number' ? port.containerPort === target : port.name === target,
    );
    if (declared !== undefined) return { port: declared.containerPort, container };
  }
  return typeof target === 'number' ? { port: target } : undefined;
}

const targetPortOf = (port: { port: number; targetPort?: number | string }): number | string => {
  const target = port.targetPort ?? port.port;
  return typeof target === 'string' && /^\d+$/.test(target) ? Number(target) : target;
};

function chooseContainer(
  workload: Workload,
  services: V1Service[],
  request: RouteRequest,
  warnings: Warning[],
): V1Container {
  const containers = workload.template.spec?.containers ?? [];
  if (request.container !== undefined) {
    const named = containers.find((container) => container.name === request.container);
    if (named !== undefined) return named;
    const names = containers.map((container) => container.name);
    throw new BowlineError('CONTAINER_NOT_FOUND', `${describe(workload)} has no container "${request.container}".`, {
      hint: didYouMean(request.container, names, 'containers'),
      details: { alternatives: names },
    });
  }
  if (containers.length === 1) return containers[0]!;
  const wanted = new Set(request.ports.map((port) => port.remote ?? port.local));
  const byRequest = containers.filter((container) =>
    container.ports?.some(
      (port) => wanted.has(port.containerPort) || (port.name !== undefined && wanted.has(port.name)),
    ),
  );
  if (byRequest.length === 1) return byRequest[0]!;
  const targets = services.flatMap((service) =>
    (service.spec?.ports ?? []).map((port) => targetOf(workload, targetPortOf(port))?.container),
  );
  const byService = containers.filter((container) => targets.includes(container));
  if (byService.length === 1) return byService[0]!;
  const annotated = workload.template.metadata?.annotations?.['kubectl.kubernetes.io/default-container'];
  const chosen = containers.find((container) => container.name === annotated) ?? byService[0] ?? containers[0]!;
  warnings.push({
    code: 'CONTAINER_CHOSEN',
    message: `${describe(workload)} has the containers ${containers.map((container) => container.name).join(', ')}; ${chosen.name} was chosen. Use --container for another one.`,
  });
  return chosen;
}

/** The Service's ports that end in the swapped container; the others are answered by the cloned sidecars. */
function portsInto(workload: Workload, container: V1Container, service: V1Service): RoutedService['ports'] {
  return (service.spec?.ports ?? []).flatMap((port) => {
    const target = targetOf(workload, targetPortOf(port));
    if (target === undefined || (target.container !== undefined && target.container !== container)) return [];
    return [
      {
        ...(port.name === undefined ? {} : { name: port.name }),
        port: port.port,
        protocol: port.protocol ?? 'TCP',
        containerPort: target.port,
      },
    ];
  });
}

function knownPorts(container: V1Container, services: RoutedService[]): Map<string, KnownPort> {
  const known = new Map<string, KnownPort>();
  const at = (port: number, protocol: string): KnownPort => {
    const key = `${port}/${protocol}`;
    let entry = known.get(key);
    if (entry === undefined) known.set(key, (entry = { port, protocol, names: new Set(), services: [], leads: [] }));
    return entry;
  };
  for (const port of container.ports ?? []) {
    const entry = at(port.containerPort, port.protocol ?? 'TCP');
    if (port.name !== undefined) entry.names.add(port.name);
  }
  for (const { service, ports } of services) {
    for (const port of ports) {
      const entry = at(port.containerPort, port.protocol);
      if (port.name !== undefined) entry.names.add(port.name);
      entry.services.push(port);
      entry.leads.push(`${service.metadata?.name}:${port.port}`);
    }
  }
  return known;
}

function choosePorts(
  workload: Workload,
  container: V1Container,
  known: Map<string, KnownPort>,
  requested: PortRequest[],
): Routes['ports'] {
  const tcp = [...known.values()].filter((port) => port.protocol === 'TCP');
  const pair = (local: number, port: KnownPort) => ({ local, remote: port.port, services: port.leads });
  if (requested.length === 0) return tcp.filter((port) => port.leads.length > 0).map((port) => pair(port.port, port));
  const pairs = requested.map(({ local, remote }) => {
    const wanted = remote ?? local;
    const found =
      tcp.find((port) => port.port === wanted) ??
      tcp.find((port) => port.services.some((service) => service.port === wanted)) ??
      tcp.find((port) => typeof wanted === 'string' && port.names.has(wanted)) ??
      (remote === undefined && tcp.length === 1 ? tcp[0] : undefined);
    if (found !== undefined) return pair(local, found);
    const udp = [...known.values()].some(
      (port) => port.protocol !== 'TCP' && (port.port === wanted || port.names.has(String(wanted))),
    );
    const listed = tcp.map((port) => [port.port, ...port.names].join(' = '));
    const elsewhere = containersOf(workload).find(
      (other) =>
        other !== container && other.ports?.some((port) => port.containerPort === wanted || port.name === wanted),
    );
    const others =
      elsewhere === undefined
        ? ''
        : ` Container ${elsewhere.name} has it (--container ${elsewhere.name}); a connection stands in for one container.`;
    throw new BowlineError(
      'PORT_NOT_FOUND',
      `Container ${container.name} of ${describe(workload)} has no TCP port ${wanted}${udp ? ' (it is UDP, which is not carried)' : ''}.`,
      {
        hint:
          listed.length === 0
            ? `It declares no TCP port and no Service leads to one.${others}`
            : `Its TCP ports: ${listed.join(', ')}. Write --port LOCAL:REMOTE.${others}`,
        details: { ports: tcp.map((port) => port.port) },
      },
    );
  });
  for (const [index, each] of pairs.entries()) {
    if (pairs.findIndex((other) => other.remote === each.remote) !== index) {
      throw new BowlineError('BAD_ARGUMENT', `Port ${each.remote} of ${describe(workload)} is asked for twice.`, {
        hint: 'Give each remote port one local port.',
      });
    }
  }
  return pairs;
}
