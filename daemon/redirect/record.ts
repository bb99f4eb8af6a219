/**
 * What the cluster itself remembers of a session, so that any machine can put things back: the record on the Lease and
 * the original on each redirected Service. Written before the change that it describes.
 */
import * as z from 'zod/mini';
import type { KubernetesObject, V1ManagedFieldsEntry, V1Service } from '@kubernetes/client-node';
import { originalAnnotation, recordAnnotation } from './objects.ts';

const SessionRecord = z.object({
  session: z.string(),
  user: z.string(),
  host: z.string(),
  /** The Bowline that wrote this. */
  version: z.string(),
  since: z.string(),
  workload: z.optional(z.object({ kind: z.string(), name: z.string() })),
  /** The originals were stopped: their replica count; for a bare pod its manifest is in the ConfigMap `bowline-ID-original-pod`. */
  stopped: z.optional(
    z.object({ replicas: z.number(), ready: z.optional(z.number()), managedFields: z.optional(z.array(z.unknown())) }),
  ),
});
export type SessionRecord = z.infer<typeof SessionRecord>;

/** Of a Lease or a record map. */
export function readRecord({ metadata }: KubernetesObject): SessionRecord | undefined {
  return parse(SessionRecord, metadata?.annotations?.[recordAnnotation]);
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
