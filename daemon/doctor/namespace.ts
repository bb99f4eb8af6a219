/** What a namespace may refuse to an agent: its Pod Security level and its quotas. */
import type { V1ResourceQuota } from '@kubernetes/client-node';
import { BowlineError } from '../../api/errors.ts';
import { namespaces, resourceQuotas } from '../cluster/resources.ts';
import { failure, ok, warning } from './check.ts';
import type { ClusterCheck } from './cluster.ts';

/** https://kubernetes.io/docs/concepts/security/pod-security-admission/#pod-security-admission-labels-for-namespaces */
const enforceLabel = 'pod-security.kubernetes.io/enforce';

export const podSecurity: ClusterCheck = async ({ cluster, namespace, signal }) => {
  try {
    const found = await cluster.find(namespaces, namespace, undefined, { signal });
    if (found === undefined)
      return [failure('namespace', new BowlineError('NAMESPACE_NOT_FOUND', `There is no namespace ${namespace}.`))];
    const level = found.metadata?.labels?.[enforceLabel];
    const said = level === undefined ? 'enforces no Pod Security level' : `enforces Pod Security ${level}`;
    return [ok('pod-security', `Namespace ${namespace} ${said}; an agent is admitted where its workload is.`)];
  } catch (error) {
    if (!notAllowed(error)) throw error;
    return [
      warning(
        'pod-security',
        `You may not look at namespace ${namespace} itself, so its Pod Security level is not known.`,
        'Nothing to do: a refusal would be told by `bowline connect`.',
      ),
    ];
  }
};

/** What a redirect adds: one object of each, and no requests beside those of the workload's sidecars. */
const needed = ['pods', 'count/pods', 'services', 'count/services', 'secrets', 'count/secrets'];

export const quotas: ClusterCheck = async ({ cluster, namespace, signal }) => {
  try {
    const found = await cluster.list(resourceQuotas, { namespace, signal });
    if (found.length === 0) return [ok('quota', `Namespace ${namespace} has no quota.`)];
    const full = found.flatMap(exhausted);
    if (full.length === 0)
      return [ok('quota', `The quotas of namespace ${namespace} (${names(found)}) leave room for an agent.`)];
    return full.map((line) => ({
      check: 'quota',
      state: 'failure' as const,
      message: `${line} in namespace ${namespace}: an agent does not fit.`,
      hint: 'Free some, or have the quota raised.',
    }));
  } catch (error) {
    if (!notAllowed(error)) throw error;
    return [];
  }
};

function exhausted({ metadata, status }: V1ResourceQuota): string[] {
  return needed.flatMap((resource) => {
    const hard = Number(status?.hard?.[resource]);
    const used = Number(status?.used?.[resource]);
    return used >= hard ? [`Quota ${metadata?.name} has no ${resource} left (${used} of ${hard})`] : [];
  });
}

const names = (found: V1ResourceQuota[]): string => found.map(({ metadata }) => metadata?.name).join(', ');

export const notAllowed = (error: unknown): boolean => BowlineError.from(error).code === 'RIGHTS_MISSING';
