/**
 * Names, labels and annotations of everything that Bowline makes in a cluster. Nothing else invents one, so that
 * `restore` and an administrator find all of it by label.
 */
import type { V1ObjectMeta, V1OwnerReference } from '@kubernetes/client-node';

export const managedBy = { 'app.kubernetes.io/managed-by': 'bowline' } as const;
export const sessionLabel = 'bowline.dev/session';
/** On a redirected Service: what to put back, as `ServiceOriginal`. */
export const originalAnnotation = 'bowline.dev/original';
/** On a redirected Service: the same as a merge patch, for somebody who has nothing but kubectl (docs/keeper.md). */
export const undoAnnotation = 'bowline.dev/undo';
/** On the session's Lease and its record map: who, and what was changed beyond Services, as `SessionRecord`. */
export const recordAnnotation = 'bowline.dev/record';
/** The readiness gate of the agent pod. Nobody ever meets it: the pod is an endpoint only where not-ready ones are wanted. */
export const readinessGate = 'bowline.dev/never-ready';
/** The field manager of all our writes. */
export const fieldManager = 'bowline';

/** Labels as a selector in one text, as API servers take it and people read it: `app=web,tier=front`. */
export const selectorText = (labels: Record<string, string>): string =>
  Object.entries(labels)
    .map(([label, value]) => `${label}=${value}`)
    .join(',');

/** Who does something in a cluster, for people. */
export interface Identity {
  user: string;
  host: string;
}

/** `spec.holderIdentity` of a Lease: the daemon that made the session, somebody who ends another's, a keeper. */
export const holderOfSession = ({ user, host }: Identity, session: string): string => `${user}@${host}/${session}`;
export const holderForRestore = ({ user, host }: Identity): string => `${user}@${host}/restore`;
export const holderForTakeOver = ({ user, host }: Identity): string => `${user}@${host}/take-over`;
export const keeperHolder = 'bowline-keeper';
/** On a Lease: the keeper that watches it, `namespace` or `cluster`. */
export const keeperAnnotation = 'bowline.dev/keeper';
/** All objects of a keeper, and the label with which its pods are found; `namespace` or `cluster`. */
export const keeperName = 'bowline-keeper';
export const keeperLabel = 'bowline.dev/keeper';

export const sessionSelector = (session: string): Record<string, string> => ({ [sessionLabel]: session });
export const sessionLabels = (session: string): Record<string, string> => ({ ...managedBy, [sessionLabel]: session });

export const originalsServiceName = (session: string): string => `bowline-${session}-originals`;
export const sessionObjectName = (session: string): string => `bowline-${session}`;
export const keptPodName = (session: string): string => `bowline-${session}-original-pod`;
export const keeperConfigMapName = (hash: string): string => `bowline-keeper-${hash}`;
export const codeConfigMapName = (hash: string): string => `bowline-agent-${hash}`;

/** The Lease whose creation decides who redirects a workload: one name per workload, at most 253 characters. */
export const leaseName = (session: string, workload?: { kind: string; name: string }): string =>
  workload === undefined
    ? `bowline-session-${session}`
    : `bowline-${workload.kind.toLowerCase()}-${workload.name}`.slice(0, 253);

export function metadata(
  session: string,
  namespace: string,
  name: string,
  owners: V1OwnerReference[] = [],
): V1ObjectMeta & { name: string; namespace: string } {
  return {
    name,
    namespace,
    labels: sessionLabels(session),
    ...(owners.length === 0 ? {} : { ownerReferences: owners }),
  };
}
