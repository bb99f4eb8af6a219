/** Puts the shop into a namespace, whole: the manifests as they lie in manifests/, then the wait until all of it serves. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestNamespace } from '../../test/cluster/namespace.ts';

const manifests = join(import.meta.dirname, 'manifests');
const workloads = [
  'sts/postgres',
  'deploy/redis',
  'deploy/catalog',
  'deploy/cart',
  'deploy/stats-api',
  'deploy/frontend',
];

export async function deployShop(namespace: TestNamespace): Promise<void> {
  const files = readdirSync(manifests).filter((file) => file.endsWith('.yaml'));
  await namespace.apply(files.map((file) => readFileSync(join(manifests, file), 'utf8')).join('\n---\n'));
  for (const workload of workloads) await namespace.rollout(workload, 120_000);
  // A Service is there a moment before the node knows the way to it: the front has to have reached all others once.
  const front = `/api/v1/namespaces/${namespace.name}/services/frontend:http/proxy/`;
  await namespace.waitFor('first page of the shop', () => namespace.kubectl(['get', '--raw', front]));
}
