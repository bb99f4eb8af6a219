/** The refusals that more than one step gives. */
import type { V1Service } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';

export function alreadyRedirectedService(service: V1Service, session: string): BowlineError {
  const { name, namespace } = service.metadata ?? {};
  return new BowlineError(
    'ALREADY_REDIRECTED',
    `Service ${name} in namespace ${namespace} is already redirected by session ${session}.`,
    {
      hint: `\`bowline list\` shows yours; \`kubectl get leases -n ${namespace} -l bowline.dev/session=${session} -o yaml\` shows whose it is; \`bowline restore -n ${namespace}\` puts back what a dead session left.`,
      details: { session, service: name, namespace },
    },
  );
}
