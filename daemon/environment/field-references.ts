/**
 * What a container has from fields of its own pod (`fieldRef`) and from its own limits (`resourceFieldRef`).
 * The agent stands in a pod of its own, with limits of its own: what kubelet resolved for it is replaced by what the
 * original has. https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
 *
 * `$(NAME)` as in makeEnvironmentVariables of kubelet (pkg/kubelet/kubelet_pods.go): the entries of `env` in their order,
 * each knowing those before it, then `envFrom`, then the variables of Services. A later entry of the same name takes the
 * place of an earlier one. What only the image or the runtime sets is not known there.
 */
import type { V1Container, V1EnvVar, V1Pod, V1ResourceFieldSelector } from '@kubernetes/client-node';
import { hostileVariables } from '../redirect/hostile-variables.ts';
import { expand, referencesOf } from './expansion.ts';
import { linesOf } from './label-lines.ts';
import { bytesOrCores } from './quantity.ts';

export interface Corrected {
  variables: Record<string, string>;
  /** Variables whose value is not known: what they refer to depends on the node. */
  unknown: string[];
}

/** `resolved` is what kubelet made for the agent, under the original names, without what the image sets. */
export function withOriginalFields(
  resolved: Readonly<Record<string, string>>,
  container: V1Container,
  pod: V1Pod,
): Corrected {
  const entries = container.env ?? [];
  const last = new Map(entries.map((entry) => [entry.name, entry]));
  const others = Object.entries(resolved).filter(([name]) => !last.has(name) && name !== 'HOSTNAME');
  // Grows as kubelet goes through the entries. Of `envFrom`, what an entry hides is not known.
  const variables = new Map(others);
  /** Those whose value was another for the agent. */
  const corrected = new Set<string>();
  const unknown = new Set<string>();
  for (const entry of entries) {
    const { name, value = '' } = entry;
    const needed = referencesOf(value);
    const isOfPod = entry.valueFrom?.fieldRef !== undefined || entry.valueFrom?.resourceFieldRef !== undefined;
    const asForAgent = last.get(name) === entry && !isOfPod && !needed.some((each) => corrected.has(each));
    let found: string | undefined;
    if (asForAgent) found = resolved[name];
    else if (isOfPod) found = referredValue(entry, container, pod);
    else if (entry.valueFrom === undefined && !needed.some((each) => unknown.has(each)))
      found = expand(value, (each) => variables.get(each));
    if (found === undefined) variables.delete(name);
    else variables.set(name, found);
    // The agent has hostile ones under another name, so nothing could refer to them.
    toggle(corrected, name, !asForAgent || hostileVariables.includes(name));
    toggle(unknown, name, !asForAgent && found === undefined);
  }
  return { variables: { HOSTNAME: hostNameOf(pod), ...Object.fromEntries(variables) }, unknown: [...unknown] };
}

function toggle(names: Set<string>, name: string, isIn: boolean): void {
  if (isIn) names.add(name);
  else names.delete(name);
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
