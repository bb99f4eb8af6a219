/**
 * What a container has from fields of its own pod (`fieldRef`) and from its own limits (`resourceFieldRef`).
 * The agent stands in a pod of its own, with limits of its own: what kubelet resolved for it is replaced by what the
 * original has. https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
 */
import type { V1Container, V1EnvVar, V1Pod, V1ResourceFieldSelector } from '@kubernetes/client-node';
import { expand, referencesOf } from './expansion.ts';
import { linesOf } from './label-lines.ts';
import { bytesOrCores } from './quantity.ts';

export interface Corrected {
  variables: Record<string, string>;
  /** Variables whose value is not known: what they refer to depends on the node. */
  unknown: string[];
}

/** `resolved` is the environment of the agent, under the original names. */
export function withOriginalFields(
  resolved: Readonly<Record<string, string>>,
  container: V1Container,
  pod: V1Pod,
): Corrected {
  const variables: Record<string, string> = { ...resolved, HOSTNAME: hostNameOf(pod) };
  const corrected = new Set<string>();
  const unknown: string[] = [];
  for (const variable of container.env ?? []) {
    const { name, value, valueFrom } = variable;
    if (valueFrom?.fieldRef !== undefined || valueFrom?.resourceFieldRef !== undefined) {
      const found = referredValue(variable, container, pod);
      corrected.add(name);
      if (found === undefined) {
        delete variables[name];
        unknown.push(name);
      } else {
        variables[name] = found;
      }
    } else if (value !== undefined && referencesOf(value).some((each) => corrected.has(each))) {
      variables[name] = expand(value, (each) => variables[each]);
      corrected.add(name);
    }
  }
  return { variables, unknown };
}

/** A host name has at most 63 characters; kubelet cuts the pod's name there. */
function hostNameOf(pod: V1Pod): string {
  return pod.spec?.hostname ?? (pod.metadata?.name ?? '').slice(0, 63).replace(/[-.]+$/, '');
}

function referredValue({ valueFrom }: V1EnvVar, container: V1Container, pod: V1Pod): string | undefined {
  const path = valueFrom?.fieldRef?.fieldPath;
  if (path !== undefined) return fieldOf(pod, path);
  const reference = valueFrom?.resourceFieldRef;
  const { containerName = container.name } = reference ?? {};
  return (
    reference && resourceOf(reference, containerName === container.name ? container : containerOf(pod, containerName))
  );
}

export const containerOf = ({ spec }: V1Pod, wanted: string | undefined): V1Container | undefined =>
  [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].find(({ name }) => name === wanted);

/** In the divisor's units; `undefined` where the container has no such limit. */
export function resourceOf(reference: V1ResourceFieldSelector, owner: V1Container | undefined): string | undefined {
  const [list, ...rest] = reference.resource.split('.');
  const resource = rest.join('.');
  const { limits, requests } = owner?.resources ?? {};
  // Without a limit kubelet gives what the node has, which a user of a namespace cannot know; requests default to 0.
  const quantity = list === 'limits' ? limits?.[resource] : (requests?.[resource] ?? limits?.[resource] ?? '0');
  const divisor = reference.divisor === undefined || reference.divisor === '0' ? '1' : reference.divisor;
  return quantity === undefined ? undefined : String(Math.ceil(milli(quantity) / milli(divisor)));
}

/** Whole numbers, as kubelet divides them. */
const milli = (quantity: string): number => Math.round(bytesOrCores(quantity) * 1000);

/** As kubelet writes it, into a variable or a file; `undefined` where that is not known. */
export function fieldOf(pod: V1Pod, path: string): string | undefined {
  const keyed = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (keyed !== null) return pod.metadata?.[keyed[1] as 'labels' | 'annotations']?.[keyed[2]!] ?? '';
  switch (path) {
    case 'metadata.labels':
      return linesOf(pod.metadata?.labels);
    case 'metadata.annotations':
      return linesOf(pod.metadata?.annotations);
    case 'metadata.name':
      return pod.metadata?.name;
    case 'metadata.namespace':
      return pod.metadata?.namespace;
    case 'metadata.uid':
      return pod.metadata?.uid;
    case 'spec.nodeName':
      return pod.spec?.nodeName;
    case 'spec.serviceAccountName':
      return pod.spec?.serviceAccountName;
    case 'status.hostIP':
      return pod.status?.hostIP;
    case 'status.hostIPs':
      return pod.status?.hostIPs?.map(({ ip }) => ip).join(',');
    case 'status.podIP':
      return pod.status?.podIP;
    case 'status.podIPs':
      return pod.status?.podIPs?.map(({ ip }) => ip).join(',');
    default:
      return undefined;
  }
}
