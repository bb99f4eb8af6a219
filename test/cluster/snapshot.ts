/**
 * Everything in a namespace as text, to compare before and after byte for byte. Left out: what the API server counts and
 * dates by itself (versions, generations, timestamps, who wrote which field), status, and events, which are a log.
 */
import { stringify } from 'yaml';
import type { ApiObject } from './api.ts';
import type { TestCluster } from './test-cluster.ts';

/** `kind/name` -> the object as YAML, keys sorted. */
export type Snapshot = ReadonlyMap<string, string>;

const uncompared = /^(events(\.events\.k8s\.io)?|.*\.metrics\.k8s\.io)$/;
const datedMetadata = ['resourceVersion', 'generation', 'creationTimestamp', 'deletionTimestamp', 'managedFields'];
const datedAnnotations = ['endpoints.kubernetes.io/last-change-trigger-time'];

export async function snapshot(cluster: TestCluster, namespace: string): Promise<Snapshot> {
  const resources = (await cluster.api.resources()).filter(({ name }) => !uncompared.test(name));
  const objects = (await Promise.all(resources.map(async (each) => cluster.api.list(each, namespace)))).flat();
  return new Map(
    objects
      .map((object) => [`${object.kind}/${object.metadata.name}`, render(object)] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** Empty when the two are equal; else what is different, line by line, for people. */
export function diffSnapshots(before: Snapshot, after: Snapshot): string {
  const lines: string[] = [];
  for (const [name, text] of before) {
    const now = after.get(name);
    if (now === undefined) lines.push(`${name}: gone`);
    else if (now !== text) lines.push(`${name}: changed`, ...diffLines(text, now));
  }
  for (const name of after.keys()) if (!before.has(name)) lines.push(`${name}: new`);
  return lines.join('\n');
}

function render({ status: _status, ...object }: ApiObject): string {
  const metadata: ApiObject['metadata'] = { ...object.metadata };
  for (const field of datedMetadata) delete metadata[field];
  if (metadata.annotations !== undefined) {
    metadata.annotations = { ...metadata.annotations };
    for (const name of datedAnnotations) delete metadata.annotations[name];
    if (Object.keys(metadata.annotations).length === 0) delete metadata.annotations;
  }
  const whole: Record<string, unknown> = { ...object, metadata };
  // The order of endpoints is the order in which pods became ready, and says nothing.
  for (const list of ['endpoints', 'subsets']) if (Array.isArray(whole[list])) whole[list] = sortByText(whole[list]);
  return stringify(whole, { sortMapEntries: true });
}

function sortByText(items: unknown[]): unknown[] {
  return items.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

/** Lines only one side has; enough to see what changed, since the order of an object's keys is fixed. */
function diffLines(before: string, after: string): string[] {
  const [old, now] = [before.split('\n'), after.split('\n')];
  const different = [...onlyIn(old, now, '-'), ...onlyIn(now, old, '+')];
  return different.length > 0 ? different : ['  the same lines in another order'];
}

function onlyIn(lines: string[], others: string[], sign: string): string[] {
  const left = [...others];
  return lines.flatMap((line) => {
    const index = left.indexOf(line);
    if (index === -1) return [`  ${sign} ${line}`];
    left.splice(index, 1);
    return [];
  });
}
