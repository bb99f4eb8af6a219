/** Asks the API server what the caller may do, before anything is touched. */
import type { CallOptions, Right } from './cluster.ts';
import type { Transport } from './transport/transport.ts';

const group = 'authorization.k8s.io';
const resource = 'selfsubjectaccessreviews';

export async function missingRights(
  transport: Transport,
  rights: Right[],
  options: CallOptions = {},
): Promise<Right[]> {
  const allowed = await Promise.all(rights.map((right) => isAllowed(transport, right, options)));
  return rights.filter((_right, index) => allowed[index] !== true);
}

async function isAllowed(transport: Transport, right: Right, { signal, timeout }: CallOptions): Promise<boolean> {
  const review = await transport.json<{ status?: { allowed?: boolean } }>({
    method: 'POST',
    path: `/apis/${group}/v1/${resource}`,
    body: { apiVersion: `${group}/v1`, kind: 'SelfSubjectAccessReview', spec: { resourceAttributes: right } },
    subject: { verb: 'create', group, resource },
    signal,
    timeout,
  });
  return review.status?.allowed === true;
}
