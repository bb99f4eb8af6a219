/** The configuration that every pod finds on itself, for a Bowline that runs in a pod without a kubeconfig. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClusterAccess } from './access.ts';

const serviceAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

export const inClusterContext = 'in-cluster';

/** `undefined` outside a pod. The token is read again while it is used, because the kubelet renews it. */
export async function inClusterAccess(
  env: NodeJS.ProcessEnv,
  folder = serviceAccountFolder,
): Promise<ClusterAccess | undefined> {
  const host = env['KUBERNETES_SERVICE_HOST'];
  const port = env['KUBERNETES_SERVICE_PORT'];
  if (!host || !port) return undefined;
  const tokenFile = join(folder, 'token');
  const [ca, namespace, token] = await Promise.all([
    readOptional(join(folder, 'ca.crt')),
    readOptional(join(folder, 'namespace')),
    readOptional(tokenFile),
  ]);
  if (token === undefined) return undefined;
  return {
    context: inClusterContext,
    namespace: namespace?.trim() || 'default',
    server: {
      url: new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`),
      insecure: false,
      ...(ca === undefined ? {} : { ca }),
    },
    user: { name: 'the service account of this pod', tokenFile },
  };
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
}
