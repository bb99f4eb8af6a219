/**
 * The variables by which kubelet announces Services to a container, with addresses that work on this machine.
 * Names as in https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
import type { NamedService } from '../../api/schema.ts';

const upper = (name: string): string => name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_');

/** For the Services of `namespace` and, as kubelet does, `kubernetes` of `default`. Those that are not carried have none. */
export function serviceVariables(services: NamedService[], namespace: string): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const service of services) {
    const announced =
      service.namespace === namespace || (service.namespace === 'default' && service.service === 'kubernetes');
    const ports = service.ports.filter((port) => port.problem === undefined && port.local !== undefined);
    const [first] = ports;
    if (!announced || service.address === undefined || first === undefined) continue;
    const name = upper(service.service);
    const { address } = service;
    variables[`${name}_SERVICE_HOST`] = address;
    variables[`${name}_SERVICE_PORT`] = String(first.local);
    variables[`${name}_PORT`] = `tcp://${address}:${first.local}`;
    for (const port of ports) {
      if (port.name !== undefined) variables[`${name}_SERVICE_PORT_${upper(port.name)}`] = String(port.local);
      const prefix = `${name}_PORT_${port.port}_TCP`;
      variables[prefix] = `tcp://${address}:${port.local}`;
      variables[`${prefix}_PROTO`] = 'tcp';
      variables[`${prefix}_PORT`] = String(port.local);
      variables[`${prefix}_ADDR`] = address;
    }
  }
  return variables;
}
