/**
 * The variables by which kubelet announces Services to a container, with addresses that work on this machine.
 * Names as in https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
import type { NamedService } from '../../api/schema.ts';
import type { ApiServerPlace } from './api-server.ts';

const upper = (name: string): string => name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_');

type Port = NamedService['ports'][number];

export interface ServiceVariables {
  variables: Record<string, string>;
  /** Names that kubelet gives too, for ports that do not answer here, each with the reason. */
  notCarried: Record<string, string>;
}

/**
 * For the Services of `namespace` and, as kubelet does, `kubernetes` of `default`, which answers at `apiServer`. A port
 * that is not carried (UDP, taken by another program) has no variables: its number at the address of another would be a lie.
 */
export function serviceVariables(
  services: NamedService[],
  namespace: string,
  apiServer?: ApiServerPlace,
): ServiceVariables {
  const made: ServiceVariables = { variables: {}, notCarried: {} };
  for (const service of services) {
    if (service.namespace !== namespace || isApiServer(service) || service.address === undefined) continue;
    announce(made, service.service, service.address, service.ports);
  }
  if (apiServer !== undefined) {
    announce(made, 'kubernetes', apiServer.host, [{ port: 443, local: apiServer.port, name: 'https' }]);
  }
  return made;
}

const isApiServer = ({ namespace, service }: NamedService): boolean =>
  namespace === 'default' && service === 'kubernetes';

function announce(made: ServiceVariables, service: string, address: string, ports: readonly Port[]): void {
  const [first] = ports;
  if (first === undefined) return;
  const name = upper(service);
  // A colon in an address is IPv6.
  const host = address.includes(':') ? `[${address}]` : address;
  const say = (port: Port, of: (local: number) => Record<string, string>): void => {
    if (port.local !== undefined) Object.assign(made.variables, of(port.local));
    else {
      const why = `port ${port.port} of ${service}: ${port.problem ?? 'it is not open here'}`;
      for (const each of Object.keys(of(port.port))) made.notCarried[each] = why;
    }
  };
  // One port that answers is enough for the address.
  say(ports.find(({ local }) => local !== undefined) ?? first, () => ({ [`${name}_SERVICE_HOST`]: address }));
  say(first, (local) => ({
    [`${name}_SERVICE_PORT`]: String(local),
    [`${name}_PORT`]: `${protocolOf(first)}://${host}:${local}`,
  }));
  for (const port of ports) {
    const protocol = protocolOf(port);
    const prefix = `${name}_PORT_${port.port}_${protocol.toUpperCase()}`;
    say(port, (local) => ({
      ...(port.name !== undefined && { [`${name}_SERVICE_PORT_${upper(port.name)}`]: String(local) }),
      [prefix]: `${protocol}://${host}:${local}`,
      [`${prefix}_PROTO`]: protocol,
      [`${prefix}_PORT`]: String(local),
      [`${prefix}_ADDR`]: address,
    }));
  }
}

const protocolOf = ({ protocol }: Port): string => protocol?.toLowerCase() ?? 'tcp';
