/** Where a resource lives in the API, and what a call on it is called in errors. */
import type { Subject } from './errors.ts';
import type { Resource } from './resources.ts';
import type { KubernetesObject } from '@kubernetes/client-node';

export interface Place {
  namespace?: string | undefined;
  name?: string | undefined;
  subresource?: string | undefined;
}

export function pathOf(resource: Resource<KubernetesObject>, { namespace, name, subresource }: Place): string {
  const root = resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  return [
    root,
    ...(namespace === undefined || !resource.namespaced ? [] : ['namespaces', encodeURIComponent(namespace)]),
    resource.plural,
    ...(name === undefined ? [] : [encodeURIComponent(name)]),
    ...(subresource === undefined ? [] : [subresource]),
  ].join('/');
}

export function subjectOf(
  verb: string,
  resource: Resource<KubernetesObject>,
  { namespace, name, subresource }: Place,
): Subject {
  return {
    verb,
    group: resource.group,
    resource: subresource === undefined ? resource.plural : `${resource.plural}/${subresource}`,
    name,
    namespace: resource.namespaced ? namespace : undefined,
  };
}
