/**
 * The variables by which kubelet announces Services to a container, with addresses that work on this machine.
 * Names as in https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
import type { NamedService } from '../../api/schema.ts';
import type { ApiServerPlace } from './api-server.ts';

const upper = (name: string): string => name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_');

interface AnnouncedPort {
  port: number;
  local: number;
  name: string | undefined;
}

/**
 * For the Services of `namespace` and, as kubelet does, `kubernetes` of `default`, which answers at `apiServer`. Those
 * that are not carried have none.
 */
export function serviceVariables(
  services: NamedService[],
  namespace: string,
  apiServer?: ApiServerPlace,
): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const service of services) {
    if (service.namespace !== namespace || isApiServer(service) || service.address === undefined) continue;
    const ports = service.ports.flatMap(({ port, local, name, problem }) =>
      problem === undefined && local !== undefined ? [{ port, local, name }] : [],
    );
    Object.assign(variables, announced(service.service, service.address, ports));
  }
  if (apiServer !== undefined) {
    const ports = [{ port: 443, local: apiServer.port, name: 'https' }];
    Object.assign(variables, announced('kubernetes', apiServer.host, ports));
  }
  return variables;
}

const isApiServer = ({ namespace, service }: NamedService): boolean =>
  namespace === 'default' && service === 'kubernetes';

function announced(service: string, address: string, ports: AnnouncedPort[]): Record<string, string> {
  const [first] = ports;
  if (first === undefined) return {};
  const name = upper(service);
  // A colon in an address is IPv6.
  const host = address.includes(':') ? `[${address}]` : address;
  const variables: Record<string, string> = {
    [`${name}_SERVICE_HOST`]: address,
    [`${name}_SERVICE_PORT`]: String(first.local),
    [`${name}_PORT`]: `tcp://${host}:${first.local}`,
  };
  for (const port of ports) {
    if (port.name !== undefined) variables[`${name}_SERVICE_PORT_${upper(port.name)}`] = String(port.local);
    const prefix = `${name}_PORT_${port.port}_TCP`;
    variables[prefix] = `tcp://${host}:${port.local}`;
    variables[`${prefix}_PROTO`] = 'tcp';
    variables[`${prefix}_PORT`] = String(port.local);
    variables[`${prefix}_ADDR`] = address;
  }
  return variables;
}
