/**
 * A byte stream to a port of a pod by an upgrade through the API server's `pods/proxy`: the shortest and fastest way
 * there is, where the API server reaches pod addresses.
 */
import { pathOf, subjectOf } from './paths.ts';
import { pods } from './resources.ts';
import type { Duplex } from 'node:stream';
import type { CallOptions } from './cluster.ts';
import type { PodPort } from './portforward.ts';
import type { Transport } from './transport/transport.ts';

export function podProxy(
  transport: Transport,
  pod: PodPort,
  path: string,
  protocol: string,
  options: CallOptions,
): Promise<Duplex> {
  const place = { namespace: pod.namespace, name: pod.name, subresource: 'proxy' };
  const target = pathOf(pods, { ...place, name: `${pod.name}:${pod.port}` }).replace('%3A', ':');
  return transport.upgrade(
    {
      method: 'GET',
      path: `${target}/${path.replace(/^\//, '')}`,
      subject: subjectOf('get', pods, place),
      signal: options.signal,
      timeout: options.timeout,
    },
    protocol,
  );
}
