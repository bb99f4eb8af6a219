/**
 * The proof that a redirect works: the agent dials each Service as any pod would, and the connection must come back
 * through the Service to the agent and through the tunnel to this daemon. `connected` is never said without it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import * as z from 'zod/mini';
import type { AgentCalls } from '../../agent-image/contract.ts';
import { BowlineError } from '../../api/errors.ts';
import type { OutboundTunnel } from '../../tunnel/tunnel.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { endpointSlices, services } from '../cluster/resources.ts';
import { selectorText, sessionLabel, sessionObjectName } from './objects.ts';
import type { RoutedService } from './routes.ts';

/** One port of one redirected Service; kept with the session, so that a restarted daemon can prove again. */
export const ProofTarget = z.object({
  service: z.string(),
  /** Absent for a headless Service: there the agent's own address is dialled, as its clients do. */
  clusterIP: z.optional(z.string()),
  port: z.number(),
  containerPort: z.number(),
});
export type ProofTarget = z.infer<typeof ProofTarget>;

/** One target for each Service that has a TCP port to the machine. */
export function proofTargets(services: RoutedService[], remotes: number[]): ProofTarget[] {
  return services.flatMap(({ service, ports }) => {
    const port = ports.find((each) => each.protocol === 'TCP' && remotes.includes(each.containerPort));
    if (port === undefined) return [];
    const { clusterIP } = service.spec ?? {};
    const address = clusterIP === undefined || clusterIP === 'None' ? {} : { clusterIP };
    return [{ service: service.metadata?.name ?? '', ...address, port: port.port, containerPort: port.containerPort }];
  });
}

export interface ProofOptions {
  session: string;
  namespace: string;
  targets: ProofTarget[];
  tunnel: OutboundTunnel;
  /** Milliseconds. */
  timeout: number;
  signal: AbortSignal;
}

/** Resolves with the names of the Services proved. */
export async function proveRedirect(cluster: Cluster, options: ProofOptions): Promise<string[]> {
  await Promise.all(options.targets.map((target) => proveOne(cluster, target, options)));
  return options.targets.map((target) => target.service);
}

async function proveOne(cluster: Cluster, target: ProofTarget, options: ProofOptions): Promise<void> {
  const { service, clusterIP, port, containerPort } = target;
  const until = Date.now() + options.timeout;
  let detail = 'no answer yet';
  // With another selector a probe may arrive by luck: the agent has the workload's labels.
  await checkSelector(cluster, service, options);
  for (let pause = 20; Date.now() < until; pause = Math.min(pause * 1.5, 250)) {
    options.signal.throwIfAborted();
    const agent = await endpointOf(cluster, service, options);
    if (agent === undefined) detail = 'the agent is not yet an endpoint of the Service';
    else {
      const request: AgentCalls['probe']['request'] =
        clusterIP === undefined
          ? { host: agent, port: containerPort, timeout: 1500 }
          : { host: clusterIP, port, timeout: 1500 };
      const answer = (await options.tunnel.call('probe', request, options.signal)) as AgentCalls['probe']['answer'];
      if (answer.arrived) return;
      detail = answer.detail;
    }
    await delay(pause, undefined, { signal: options.signal });
  }
  throw new BowlineError(
    'PROOF_FAILED',
    `The redirect of Service ${service} was made, but a connection to ${service}:${port} does not arrive at this machine: ${detail}.`,
    {
      hint: 'A service mesh, a NetworkPolicy or a proxy of the cluster may lead around the Service. Everything was put back. `bowline doctor` looks for causes.',
      details: { service, port },
    },
  );
}

/** Somebody else may have put the selector back, or taken the Service away: says who, when and what to do. */
async function checkSelector(
  cluster: Cluster,
  name: string,
  { session, namespace, signal }: ProofOptions,
): Promise<void> {
  const service = await cluster.find(services, name, namespace, { signal });
  if (service?.spec?.selector?.[sessionLabel] === session) return;
  if (service === undefined) {
    throw new BowlineError('CHANGED_MEANWHILE', `Service ${name} in namespace ${namespace} was deleted.`, {
      hint: 'Disconnect, and connect again when it is back.',
    });
  }
  const writer = (service.metadata?.managedFields ?? [])
    .filter(
      ({ fieldsV1 }) =>
        (fieldsV1 as { 'f:spec'?: { 'f:selector'?: object } })?.['f:spec']?.['f:selector'] !== undefined,
    )
    .sort((a, b) => String(b.time).localeCompare(String(a.time)))[0];
  const selector = selectorText(service.spec?.selector ?? {});
  throw new BowlineError(
    'CHANGED_MEANWHILE',
    `Service ${name} in namespace ${namespace} was given the selector ${selector === '' ? '{}' : selector} by ${writer?.manager ?? 'somebody'}${writer?.time === undefined ? '' : ` at ${String(writer.time)}`}. Its requests do not come to this machine any more, and nothing of the redirect is left on it.`,
    {
      hint: 'To have them again, disconnect and connect again. A GitOps controller changes what differs from its source: pause it for this Service before.',
      details: { service: name, manager: writer?.manager },
    },
  );
}

/** The agent's address among the endpoints of the Service: the first thing that must be true, and no byte is sent before. */
async function endpointOf(cluster: Cluster, service: string, options: ProofOptions): Promise<string | undefined> {
  const slices = await cluster.list(endpointSlices, {
    namespace: options.namespace,
    labelSelector: `kubernetes.io/service-name=${service}`,
    signal: options.signal,
  });
  const ours = slices
    .flatMap((slice) => slice.endpoints ?? [])
    .find((endpoint) => endpoint.targetRef?.name?.startsWith(`${sessionObjectName(options.session)}-`));
  return ours?.addresses[0];
}
