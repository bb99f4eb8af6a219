/**
 * The variables by which kubelet announces Services to a container, with addresses that work on this machine.
 * Names as in https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables, made as in
 * https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/envvars/envvars.go
 */
import type { NamedService } from '../../api/schema.ts';
import type { ApiServerPlace } from './api-server.ts';

const upper = (name: string): string => name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_');

type Port = NamedService['ports'][number];

export interface ServiceVariables {
  variables: Record<string, string>;
  /** Names that kubelet gives too, for ports that do not answer here, each with the reason. */
  notCarried: Record<string, string>;
  /** What kubelet gives a container under these names. Without the API server where its Service is not known. */
  inCluster: Record<string, GivenVariable>;
}

export interface GivenVariable {
  value: string;
  /** The variable with the address to which a value belongs that says none itself: a port. */
  addressIn?: string;
}

interface Options {
  /** Where `kubernetes` of `default` answers, which kubelet announces in every namespace. */
  apiServer?: ApiServerPlace | undefined;
  /** Also for what kubelet announces to nobody, because it has no address of its own: headless Services and their pods. */
  headless?: boolean;
}

/**
 * For the Services of `namespace`. A port that is not carried (UDP, taken by another program) has no variables: its number
 * at the address of another would be a lie.
 */
export function serviceVariables(
  services: NamedService[],
  namespace: string,
  { apiServer, headless = false }: Options = {},
): ServiceVariables {
  const made: ServiceVariables = { variables: {}, notCarried: {}, inCluster: {} };
  for (const { service, namespace: its, address, clusterIp, ports } of services) {
    const isApiServer = its === 'default' && service === 'kubernetes';
    if (clusterIp !== undefined && (its === namespace || isApiServer)) {
      const there = ports.map((port) => ({ ...port, local: port.port }));
      for (const { name, value, addressIn } of announced(service, clusterIp, there))
        made.inCluster[name] = { value, ...(addressIn !== undefined && { addressIn }) };
    }
    if (its !== namespace || isApiServer || address === undefined) continue;
    if (clusterIp !== undefined || headless) announceHere(made, service, address, ports);
  }
  if (apiServer !== undefined)
    announceHere(made, 'kubernetes', apiServer.host, [{ port: 443, local: apiServer.port, name: 'https' }]);
  return made;
}

function announceHere(made: ServiceVariables, service: string, address: string, ports: readonly Port[]): void {
  for (const { name, value, port } of announced(service, address, ports)) {
    if (port.local !== undefined) made.variables[name] = value;
    else made.notCarried[name] = `port ${port.port} of ${service}: ${port.problem ?? 'it is not open here'}`;
  }
}

interface Announced extends GivenVariable {
  name: string;
  port: Port;
}

/** At the local ports; at the Service's own where one has none. */
function announced(service: string, address: string, ports: readonly Port[]): Announced[] {
  const [first] = ports;
  if (first === undefined) return [];
  // A colon in an address is IPv6.
  const host = address.includes(':') ? `[${address}]` : address;
  const number = ({ local, port }: Port): string => String(local ?? port);
  const url = (port: Port): string => `${protocolOf(port)}://${host}:${number(port)}`;
  const name = upper(service);
  const addressIn = `${name}_SERVICE_HOST`;
  // One port that answers is enough for the address.
  const answering = ports.find(({ local }) => local !== undefined) ?? first;
  return [
    { name: addressIn, value: address, port: answering },
    { name: `${name}_SERVICE_PORT`, value: number(first), port: first, addressIn },
    { name: `${name}_PORT`, value: url(first), port: first },
    ...ports.flatMap((port): Announced[] => {
      const prefix = `${name}_PORT_${port.port}_${protocolOf(port).toUpperCase()}`;
      const beside = { port, addressIn: `${prefix}_ADDR` };
      return [
        ...(port.name === undefined
          ? []
          : [{ name: `${name}_SERVICE_PORT_${upper(port.name)}`, value: number(port), port, addressIn }]),
        { name: prefix, value: url(port), port },
        { name: `${prefix}_PROTO`, value: protocolOf(port), ...beside },
        { name: `${prefix}_PORT`, value: number(port), ...beside },
        { name: `${prefix}_ADDR`, value: address, port },
      ];
    }),
  ];
}

const protocolOf = ({ protocol }: Port): string => protocol?.toLowerCase() ?? 'tcp';
