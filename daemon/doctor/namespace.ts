/** What a namespace may refuse to an agent: its Pod Security level. */
import { BowlineError } from '../../api/errors.ts';
import { namespaces } from '../cluster/resources.ts';
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

export const notAllowed = (error: unknown): boolean => BowlineError.from(error).code === 'RIGHTS_MISSING';
