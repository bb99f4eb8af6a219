/**
 * Field ownership after a change and its reversal. A write moves a field from its manager to ours
 * (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management); putting the value back does not
 * move it back, so the list is put back too, without losing what others did meanwhile.
 */
import { isDeepStrictEqual } from 'node:util';
import type { KubernetesObject, V1ManagedFieldsEntry } from '@kubernetes/client-node';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import type { Resource } from '../cluster/resources.ts';
import { fieldManager } from './objects.ts';

/**
 * Puts the owners of an object's fields back to `saved`. A courtesy that must not fail a release, since the values are
 * back already; tried again where a controller writes at the same moment. Does nothing where it has been done.
 */
export async function putBackManagers(
  cluster: Cluster,
  resource: Resource<KubernetesObject>,
  name: string,
  namespace: string,
  saved: V1ManagedFieldsEntry[],
  options: CallOptions,
): Promise<void> {
  for (let attempt = 0; attempt < 8; attempt++) {
    const current = await cluster.find(resource, name, namespace, options).catch(() => undefined);
    const { managedFields, resourceVersion } = current?.metadata ?? {};
    if (managedFields === undefined || options.signal?.aborted === true) return;
    if (entriesOfOurs(saved, managedFields).length === 0) return;
    const body = [
      { op: 'test' as const, path: '/metadata/resourceVersion', value: resourceVersion },
      { op: 'replace' as const, path: '/metadata/managedFields', value: restoredManagedFields(saved, managedFields) },
    ];
    const patched = await cluster.patch(resource, name, namespace, { type: 'json', body }, options).then(
      () => true,
      () => false,
    );
    if (patched) return;
  }
}

type Tree = { [key: string]: Tree };

const sameManager = (a: V1ManagedFieldsEntry, b: V1ManagedFieldsEntry): boolean =>
  a.manager === b.manager &&
  a.operation === b.operation &&
  a.apiVersion === b.apiVersion &&
  (a.subresource ?? '') === (b.subresource ?? '');

const entriesOfOurs = (saved: V1ManagedFieldsEntry[], current: V1ManagedFieldsEntry[]): V1ManagedFieldsEntry[] =>
  current.filter((entry) => entry.manager === fieldManager && !saved.some((was) => sameManager(was, entry)));

/** `current` without our entry, and with the fields that we took given back to who had them in `saved`. */
export function restoredManagedFields(
  saved: V1ManagedFieldsEntry[],
  current: V1ManagedFieldsEntry[],
): V1ManagedFieldsEntry[] {
  const ours = entriesOfOurs(saved, current);
  const taken = ours.map((entry) => (entry.fieldsV1 ?? {}) as Tree);
  const others = current.filter((entry) => !ours.includes(entry));
  const restored = saved.map((was) => {
    const is = others.find((entry) => sameManager(entry, was));
    const givenBack = taken.reduce(
      (tree, fields) => merge(tree, intersect(was.fieldsV1 as Tree, fields)),
      (is?.fieldsV1 ?? {}) as Tree,
    );
    return isDeepStrictEqual(givenBack, was.fieldsV1) ? was : { ...was, ...is, fieldsV1: givenBack };
  });
  return [
    ...restored.filter((entry) => Object.keys(entry.fieldsV1 ?? {}).length > 0),
    ...others.filter((entry) => !saved.some((was) => sameManager(was, entry))),
  ];
}

/** The part of `a` whose leaves are in `b`; a leaf of `b` takes the whole subtree of `a` (a replaced map). */
function intersect(a: Tree | undefined, b: Tree): Tree {
  const result: Tree = {};
  for (const [key, inner] of Object.entries(a ?? {})) {
    const other = b[key];
    if (other === undefined) continue;
    result[key] = key === 'f:selector' || Object.keys(other).length === 0 ? inner : intersect(inner, other);
  }
  return result;
}

function merge(a: Tree, b: Tree): Tree {
  const result: Tree = { ...a };
  for (const [key, inner] of Object.entries(b)) result[key] = merge(result[key] ?? {}, inner);
  return result;
}
