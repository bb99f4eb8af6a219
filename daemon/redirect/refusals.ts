/** The refusals that more than one step gives. */
import type { V1Lease, V1Service } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';
import { describeHolder, holderInWords } from './holder.ts';

/** `now` is the API server's clock, where it is known. */
export function alreadyRedirected(
  workload: { kind: string; name: string },
  lease: V1Lease,
  now: Date | undefined,
): BowlineError {
  const holder = describeHolder(lease, now);
  return refusal(`${workload.kind.toLowerCase()}/${workload.name}`, holder.namespace, {
    session: holder.session,
    by: holderInWords(holder),
    details: { holder, lease: lease.metadata?.name },
  });
}

/** Of a Service that another workload's session redirects; whose session it is is not known here. */
export function alreadyRedirectedService(service: V1Service, session: string): BowlineError {
  const { name, namespace = '' } = service.metadata ?? {};
  return refusal(`Service ${name}`, namespace, { session, by: `session ${session}`, details: { service: name } });
}

/** The same with its holder. */
export function alreadyRedirectedBy(lease: V1Lease, service: string, now: Date | undefined): BowlineError {
  const holder = describeHolder(lease, now);
  const { workload, session, namespace } = holder;
  const by = `${holderInWords(holder)}${workload === undefined ? '' : `, with ${workload.kind.toLowerCase()}/${workload.name}`}`;
  return refusal(`Service ${service}`, namespace, { session, by, details: { service, holder } });
}

/** `session` and `namespace` are what --wait and --take-over go by. */
function refusal(
  what: string,
  namespace: string,
  { session, by, details }: { session: string; by: string; details: Record<string, unknown> },
): BowlineError {
  return new BowlineError('ALREADY_REDIRECTED', `${what} in namespace ${namespace} is already redirected by ${by}.`, {
    hint: `Ask the owner to run \`bowline disconnect\`, and --wait until it is free; or --take-over it, which tells him. What a machine left that is gone for good, \`bowline restore -n ${namespace} --all\` puts back.`,
    details: { session, namespace, ...details },
  });
}
