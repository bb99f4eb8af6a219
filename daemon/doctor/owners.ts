/** Tools that own an object, by the marks that their documentation promises. */
import type { KubernetesObject } from '@kubernetes/client-node';

export interface Owner {
  tool: string;
  /** The mark by which it is known. */
  says: string;
  /** It compares the cluster with its own idea again and again, and undoes what differs. */
  restoresSelectors: boolean;
}

interface Mark {
  tool: string;
  where: 'labels' | 'annotations';
  key: string;
  value?: string;
  restoresSelectors: boolean;
}

const marks: Mark[] = [
  // https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/
  { tool: 'Argo CD', where: 'annotations', key: 'argocd.argoproj.io/tracking-id', restoresSelectors: true },
  { tool: 'Argo CD', where: 'labels', key: 'argocd.argoproj.io/instance', restoresSelectors: true },
  // https://fluxcd.io/flux/components/kustomize/kustomizations/ and .../helm/helmreleases/
  { tool: 'Flux', where: 'labels', key: 'kustomize.toolkit.fluxcd.io/name', restoresSelectors: true },
  { tool: 'Flux', where: 'labels', key: 'helm.toolkit.fluxcd.io/name', restoresSelectors: true },
  // https://helm.sh/docs/chart_best_practices/labels/
  { tool: 'Helm', where: 'annotations', key: 'meta.helm.sh/release-name', restoresSelectors: false },
  { tool: 'Helm', where: 'labels', key: 'app.kubernetes.io/managed-by', value: 'Helm', restoresSelectors: false },
];

export function ownersOf({ metadata }: KubernetesObject): Owner[] {
  const found = marks.flatMap(({ tool, where, key, value, restoresSelectors }) => {
    const has = metadata?.[where]?.[key];
    if (has === undefined || (value !== undefined && has !== value)) return [];
    return [{ tool, says: `${where.slice(0, -1)} ${key}: ${has}`, restoresSelectors }];
  });
  // A Helm release of Flux's is Flux's.
  return found.some(({ tool }) => tool === 'Flux') ? found.filter(({ tool }) => tool === 'Flux') : found;
}
