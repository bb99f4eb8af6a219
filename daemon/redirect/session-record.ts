/**
 * What owns everything else that a session makes: its Lease, and a ConfigMap that says the same. The garbage collector takes an
 * object with the last of its owners, so one of the two that somebody deletes takes nothing along, neither the agent nor the
 * keeper, and the Lease can be made again from the other. At the end the ConfigMap goes first.
 */
import type { V1ConfigMap, V1OwnerReference } from '@kubernetes/client-node';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { configMaps } from '../cluster/resources.ts';
import { leaseOwner } from './lease.ts';
import { metadata, recordAnnotation, sessionObjectName } from './objects.ts';
import type { SessionRecord } from './record.ts';

export function recordMap(namespace: string, record: SessionRecord): V1ConfigMap {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      ...metadata(record.session, namespace, sessionObjectName(record.session)),
      annotations: { [recordAnnotation]: JSON.stringify(record) },
    },
  };
}

export async function createRecordMap(
  cluster: Cluster,
  namespace: string,
  record: SessionRecord,
  call: CallOptions,
): Promise<V1OwnerReference> {
  return ownerOf(await cluster.create(configMaps, recordMap(namespace, record), call));
}

/** `undefined` where it is gone, or about to. */
export async function findRecordMap(
  cluster: Cluster,
  namespace: string,
  session: string,
  call: CallOptions,
): Promise<V1ConfigMap | undefined> {
  const found = await cluster.find(configMaps, sessionObjectName(session), namespace, call);
  return found?.metadata?.deletionTimestamp === undefined ? found : undefined;
}

/** Those of a session that stands, for what is made again. */
export async function sessionOwners(
  cluster: Cluster,
  session: { id: string; namespace: string; leaseName: string; leaseUid?: string | undefined },
  call: CallOptions,
): Promise<V1OwnerReference[]> {
  const map = await findRecordMap(cluster, session.namespace, session.id, call);
  return [leaseOwner(session.leaseName, session.leaseUid), ...(map === undefined ? [] : [ownerOf(map)])];
}

const ownerOf = ({ metadata: { name = '', uid = '' } = {} }: V1ConfigMap): V1OwnerReference => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  name,
  uid,
});
