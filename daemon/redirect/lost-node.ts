/** What our pods tolerate of their node. */
import type { V1Toleration } from '@kubernetes/client-node';

/**
 * Off a node that is lost in seconds, not in the five minutes that are Kubernetes' default
 * (https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions). Of several tolerations
 * that apply the shortest counts, so a workload's own may stay beside them.
 */
export const leaveLostNode: V1Toleration[] = ['not-ready', 'unreachable'].map((state) => ({
  key: `node.kubernetes.io/${state}`,
  operator: 'Exists',
  effect: 'NoExecute',
  tolerationSeconds: 10,
}));
