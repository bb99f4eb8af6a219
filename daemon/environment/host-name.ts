/** The system's host name in a pod, as kubelet sets it (GeneratePodHostNameAndDomain in pkg/kubelet/kubelet_pods.go). Pure. */
import type { V1Pod } from '@kubernetes/client-node';

/** What Linux holds, see sethostname(2). */
const longest = 63;

/** `undefined` where the pod does not say it: with the host's network it is the node's, as FQDN it has the cluster's domain. */
export function hostNameOf({ metadata, spec }: V1Pod): string | undefined {
  const isQualified = spec?.setHostnameAsFQDN === true && spec.subdomain !== undefined;
  if (spec?.hostNetwork === true || isQualified) return undefined;
  return (spec?.hostname ?? metadata?.name)?.slice(0, longest).replace(/[-.]+$/, '');
}
