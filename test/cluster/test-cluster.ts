/**
 * The cluster that serves the tests: our own, started when it is not up, or the one that BOWLINE_TEST_KUBECONFIG names,
 * which is used as it is. Everything about it goes through kubectl, which knows every kind of kubeconfig.
 */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { openApi } from './api.ts';
import { up } from './cluster.ts';
import { findInstance, instanceName } from './instance.ts';
import { must } from './run.ts';
import { nodeImage } from './stock-images.ts';
import { ensurePackages } from '../../setup/packages.ts';
import type { Api } from './api.ts';
import type { Report } from './binary.ts';
import type { Instance } from './instance.ts';
import type { RunOptions } from './run.ts';

export interface TestCluster {
  /** One sentence for people: which cluster this is. */
  readonly description: string;
  readonly kubeconfig: string;
  /** The program. */
  readonly kubectlPath: string;
  /** A stock Node image that its nodes have or can pull: BOWLINE_TEST_NODE_IMAGE for a given cluster. */
  readonly nodeImage: string;
  /** Our own cluster; undefined when one was given. */
  readonly instance: Instance | undefined;
  /** Runs kubectl against it as its administrator; returns what it prints. */
  kubectl(args: string[], options?: RunOptions): Promise<string>;
  /** The same rights without a program for each question: for what is read again and again. */
  readonly api: Api;
}

export async function useCluster(report: Report, signal?: AbortSignal): Promise<TestCluster> {
  const given = process.env['BOWLINE_TEST_KUBECONFIG'];
  if (given !== undefined && given !== findInstance(instanceName())?.kubeconfig) {
    if (!existsSync(given)) throw new Error(`BOWLINE_TEST_KUBECONFIG: there is no file ${given}`);
    const kubectlPath = findProgram('kubectl');
    return describe(`the cluster of BOWLINE_TEST_KUBECONFIG (${given})`, given, kubectlPath, undefined);
  }
  await ensurePackages(report, signal);
  const instance = await up(instanceName(), { report, signal });
  return ownCluster(instance);
}

export function ownCluster(instance: Instance): TestCluster {
  const { name, nodeAddress, kubeconfig, bin } = instance;
  return describe(`our own Kubernetes "${name}" on ${nodeAddress}`, kubeconfig, join(bin, 'kubectl'), instance);
}

function describe(
  description: string,
  kubeconfig: string,
  kubectlPath: string,
  instance: Instance | undefined,
): TestCluster {
  return {
    description,
    kubeconfig,
    kubectlPath,
    nodeImage:
      instance === undefined ? (process.env['BOWLINE_TEST_NODE_IMAGE'] ?? 'docker.io/library/node:24-slim') : nodeImage,
    instance,
    api: openApi(kubectlPath, kubeconfig),
    kubectl: (args, options) => must([kubectlPath, '--kubeconfig', kubeconfig, ...args], options),
  };
}

function findProgram(name: string): string {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, name);
    if (folder !== '' && existsSync(path)) return path;
  }
  throw new Error(`a given cluster needs ${name}, and it is not in PATH`);
}
