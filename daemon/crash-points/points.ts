/**
 * The instants at which a daemon may be killed with a difference: right after each act that something outside of it
 * remembers (the cluster, a state file, the helper). The instant before an act is the one after the act before it.
 * docs/decisions/0011-crash-points.md says what they are for.
 */
import type { KubernetesObject } from '@kubernetes/client-node';
import type { Patch } from '../cluster/cluster.ts';
import type { Resource } from '../cluster/resources.ts';
import { keeperName, recordAnnotation, sessionLabel } from '../redirect/objects.ts';

export const connectPoints = [
  'session-saved',
  'lease-created',
  'lease-saved',
  'record-created',
  'originals-service-created',
  'agent-code-created',
  'secret-created',
  'agent-created',
  'tunnels-opened',
  'files-noted',
  'keeper-account-created',
  'keeper-role-created',
  'keeper-binding-created',
  'keeper-code-created',
  'keeper-created',
  'service-redirected',
  'original-pod-kept',
  'stop-recorded',
  'originals-stopped',
  'names-applied',
  'connected-saved',
] as const;

export const disconnectPoints = [
  'disconnecting-saved',
  'originals-started',
  'originals-owners-restored',
  'service-restored',
  'service-owners-restored',
  'agent-removed',
  'agent-pod-removed',
  'originals-service-removed',
  'secret-removed',
  'agent-code-removed',
  'record-removed',
  'lease-removed',
  'keeper-account-removed',
  'names-removed',
  'files-forgotten',
  'session-forgotten',
] as const;

export const crashPoints = [...connectPoints, ...disconnectPoints] as const;
export type CrashPoint = (typeof crashPoints)[number];

type AnyResource = Resource<KubernetesObject>;

/** `undefined` for what changes nothing that a release would have to undo. */
export function pointOfCreate({ plural }: AnyResource, name: string): CrashPoint | undefined {
  if (plural !== 'configmaps') return created[plural];
  if (isKeptPod(name)) return 'original-pod-kept';
  if (isRecord(name)) return 'record-created';
  return isKeepers(name) ? 'keeper-code-created' : 'agent-code-created';
}

export function pointOfDelete({ plural }: AnyResource, name: string): CrashPoint | undefined {
  // What the ServiceAccount owns: the garbage collector is often faster.
  if (isKeepers(name) && plural !== 'serviceaccounts') return undefined;
  // A bare pod that is stopped has a name of its own.
  if (plural === 'pods' && !name.startsWith('bowline-')) return 'originals-stopped';
  if (plural === 'configmaps' && isRecord(name)) return 'record-removed';
  return removed[plural];
}

export function pointOfPatch({ plural }: AnyResource, patch: Patch): CrashPoint | undefined {
  if (plural === 'leases') return JSON.stringify(patch.body).includes(recordAnnotation) ? 'stop-recorded' : undefined;
  const operations = patch.type === 'json' ? patch.body : [];
  const written = (path: string): unknown =>
    operations.find((each) => each.op === 'replace' && each.path === path)?.value;
  const ownersOnly = written('/metadata/managedFields') !== undefined;
  if (plural === 'services') {
    if (ownersOnly) return 'service-owners-restored';
    const selector = written('/spec/selector') as Record<string, string> | undefined;
    return selector?.[sessionLabel] === undefined ? 'service-restored' : 'service-redirected';
  }
  if (!scaled.has(plural)) return undefined;
  if (ownersOnly) return 'originals-owners-restored';
  return written('/spec/replicas') === 0 ? 'originals-stopped' : 'originals-started';
}

const isKeptPod = (name: string): boolean => name.endsWith('-original-pod');
const isRecord = (name: string): boolean => /^bowline-[^-]+$/.test(name);
const isKeepers = (name: string): boolean => name === keeperName || name.startsWith(`${keeperName}-`);
const scaled = new Set(['deployments', 'statefulsets', 'replicasets']);

const created: Readonly<Record<string, CrashPoint>> = {
  leases: 'lease-created',
  services: 'originals-service-created',
  secrets: 'secret-created',
  replicasets: 'agent-created',
  serviceaccounts: 'keeper-account-created',
  roles: 'keeper-role-created',
  rolebindings: 'keeper-binding-created',
  deployments: 'keeper-created',
  pods: 'originals-started',
};

const removed: Readonly<Record<string, CrashPoint>> = {
  leases: 'lease-removed',
  services: 'originals-service-removed',
  secrets: 'secret-removed',
  replicasets: 'agent-removed',
  serviceaccounts: 'keeper-account-removed',
  configmaps: 'agent-code-removed',
  pods: 'agent-pod-removed',
};
