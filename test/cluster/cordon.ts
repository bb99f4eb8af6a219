/** Decides where new pods go: a cordoned node gets none until this is disposed. What runs there goes on. */
import type { TestCluster } from './test-cluster.ts';

export async function cordon(cluster: TestCluster, node: string): Promise<AsyncDisposable> {
  await cluster.kubectl(['cordon', node]);
  return {
    async [Symbol.asyncDispose]() {
      await cluster.kubectl(['uncordon', node]);
    },
  };
}
