/** Which Services there are in the namespaces that an environment file names, as far as the user may look. */
import { BowlineError } from '../../api/errors.ts';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { namespaces, services } from '../cluster/resources.ts';

export interface KnownServices {
  services: Array<{ namespace: string; name: string }>;
  /** Those that were looked into. */
  namespaces: string[];
  /** Those that are not there. */
  absent: string[];
  unchecked: Array<{ namespace: string; error: BowlineError }>;
}

/** Rejects only with what says nothing of one namespace: no API server, cancelled. */
export async function knownServices(
  cluster: Cluster,
  wanted: Iterable<string>,
  call: CallOptions,
): Promise<KnownServices> {
  const known: KnownServices = { services: [], namespaces: [], absent: [], unchecked: [] };
  const look = async (namespace: string): Promise<void> => {
    const found = await cluster.list(services, { ...call, namespace });
    // A namespace that is not there has no Services either.
    if (found.length === 0 && (await isAbsent(cluster, namespace, call))) known.absent.push(namespace);
    else {
      known.namespaces.push(namespace);
      for (const { metadata } of found) known.services.push({ namespace, name: metadata?.name ?? '' });
    }
  };
  const tried = [...new Set(wanted)].map((namespace) =>
    look(namespace).catch((thrown: unknown) => {
      const error = BowlineError.from(thrown);
      if (error.code !== 'RIGHTS_MISSING') throw thrown;
      known.unchecked.push({ namespace, error });
    }),
  );
  await Promise.all(tried);
  return known;
}

/** Whoever may not look at namespaces has seen that there is no Service in it. */
async function isAbsent(cluster: Cluster, namespace: string, call: CallOptions): Promise<boolean> {
  try {
    return (await cluster.find(namespaces, namespace, undefined, call)) === undefined;
  } catch (error) {
    if (BowlineError.from(error).code === 'RIGHTS_MISSING') return false;
    throw error;
  }
}
