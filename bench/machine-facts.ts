/** What one must know of the machine to read the numbers. */
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import { productVersion } from '../api/version.ts';
import type { TestCluster } from '../test/cluster/test-cluster.ts';
import type { BenchmarkFile } from './results.ts';

export async function describeMachine(cluster: TestCluster, quick: boolean): Promise<BenchmarkFile['machine']> {
  const { serverVersion } = JSON.parse(await cluster.kubectl(['version', '--output=json'])) as {
    serverVersion: { gitVersion: string };
  };
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memory: `${Math.round(totalmem() / 1e9)} GB`,
    system: `${process.platform} ${release()} ${process.arch}`,
    node: process.version,
    kubernetes: serverVersion.gitVersion,
    cluster: cluster.instance === undefined ? 'given' : 'the test cluster, one node on the same machine',
    bowline: productVersion,
    date: new Date().toISOString(),
    'load before': Number(loadavg()[0]?.toFixed(2)),
    quick,
  };
}
