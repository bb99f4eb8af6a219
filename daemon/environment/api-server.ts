/**
 * Where a program on this machine finds the API server, as an in-cluster client looks for it: at KUBERNETES_SERVICE_HOST
 * and KUBERNETES_SERVICE_PORT. Its certificate names the Service, not the addresses of this machine.
 */
import type { NamedService } from '../../api/schema.ts';

export interface ApiServerPlace {
  host: string;
  port: number;
  /** Why it is not the Service's own name. */
  note?: string;
  /** Why a client that checks the certificate fails. */
  warning?: string;
}

/** In the certificate of every API server, see https://kubernetes.io/docs/setup/best-practices/certificates/#all-certificates */
const serviceName = 'kubernetes.default.svc';

export function apiServerPlace(
  services: NamedService[],
  options: { /** URL as in the kubeconfig. */ server: string; inPlace: boolean },
): ApiServerPlace | undefined {
  const service = services.find((each) => each.namespace === 'default' && each.service === 'kubernetes');
  const local = service?.ports.find((port) => port.problem === undefined && port.local !== undefined)?.local;
  if (service?.address !== undefined && local !== undefined && (options.inPlace || service.names.includes(serviceName)))
    return { host: serviceName, port: local };
  const direct = directly(options.server);
  if (direct !== undefined) {
    const note = `KUBERNETES_SERVICE_HOST is the API server's own address (${direct.host}), because names do not resolve here and its certificate does not name the addresses of this machine.`;
    return { ...direct, note };
  }
  if (service?.address === undefined || local === undefined) return undefined;
  const warning = `KUBERNETES_SERVICE_HOST is ${service.address}, which the API server's certificate does not name: a client that checks it fails. With names (\`bowline helper install\`) it works.`;
  return { host: service.address, port: local, warning };
}

/** Variables cannot say a path, so a server behind one cannot be reached by them. */
function directly(server: string): { host: string; port: number } | undefined {
  const url = URL.parse(server);
  if (url === null || url.protocol !== 'https:' || url.pathname !== '/') return undefined;
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(url.port || '443') };
}
