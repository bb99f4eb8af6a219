/**
 * What the cluster itself remembers of a session, so that any machine can put things back: the record on the Lease and
 * the original on each redirected Service. Written before the change that it describes.
 */
import * as z from 'zod/mini';
import type { V1Lease, V1ManagedFieldsEntry, V1Service } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';
import { originalAnnotation, recordAnnotation } from './objects.ts';

const SessionRecord = z.object({
  session: z.string(),
  /** `user@host`, and the Bowline that wrote this. */
  owner: z.string(),
  version: z.string(),
  since: z.string(),
  workload: z.optional(z.object({ kind: z.string(), name: z.string() })),
  /** The originals were stopped: their replica count; for a bare pod its manifest is in the Secret `bowline-ID-original-pod`. */
  stopped: z.optional(
    z.object({ replicas: z.number(), ready: z.optional(z.number()), managedFields: z.optional(z.array(z.unknown())) }),
  ),
});
export type SessionRecord = z.infer<typeof SessionRecord>;

export function readRecord(lease: V1Lease): SessionRecord | undefined {
  return parse(SessionRecord, lease.metadata?.annotations?.[recordAnnotation]);
}

const ServiceOriginal = z.object({
  session: z.string(),
  selector: z.record(z.string(), z.string()),
  /** Absent where the Service did not say. */
  publishNotReadyAddresses: z.optional(z.boolean()),
  /** Who owned which field before us, so that a GitOps tool finds its Service as it left it. */
  managedFields: z.optional(z.array(z.unknown())),
});
export type ServiceOriginal = Omit<z.infer<typeof ServiceOriginal>, 'managedFields'> & {
  managedFields?: V1ManagedFieldsEntry[];
};

export function readOriginal(service: V1Service): ServiceOriginal | undefined {
  return parse(ServiceOriginal, service.metadata?.annotations?.[originalAnnotation]) as ServiceOriginal | undefined;
}

function parse<T>(schema: z.ZodMiniType<T>, text: string | undefined): T | undefined {
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const result = schema.safeParse(value);
  return result.success ? result.data : undefined;
}

/** `user@host since ...` of the session that holds a workload, for the refusal of a second one. */
export function describeHolder(lease: V1Lease): { owner: string; since: string; session: string } {
  const record = readRecord(lease);
  return {
    owner: record?.owner ?? lease.spec?.holderIdentity ?? 'an unknown owner',
    since: record?.since ?? String(lease.spec?.acquireTime ?? 'an unknown time'),
    session: record?.session ?? 'unknown',
  };
}

export function alreadyRedirected(
  workload: { kind: string; name: string },
  namespace: string,
  lease: V1Lease,
): BowlineError {
  const holder = describeHolder(lease);
  return new BowlineError(
    'ALREADY_REDIRECTED',
    `${workload.kind.toLowerCase()}/${workload.name} in namespace ${namespace} is already redirected by ${holder.owner} since ${holder.since}.`,
    {
      hint: `Ask the owner to run \`bowline disconnect\`; if that machine is gone for good, \`bowline restore -n ${namespace} --all\` puts the workload back.`,
      details: { ...holder, namespace, lease: lease.metadata?.name },
    },
  );
}
