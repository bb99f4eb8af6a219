/**
 * TCP connections to the originals that were made before the redirect: a Service has a say in new ones only, so callers that
 * keep theirs open are still answered there. Read from /proc/net/tcp in the originals; needs `cat` in the image and pods/exec.
 */
import type { V1Pod } from '@kubernetes/client-node';
import type { CallOptions, Cluster } from '../cluster/cluster.ts';
import { pods } from '../cluster/resources.ts';
import { selectorText, sessionLabel } from './objects.ts';

export interface Redirected {
  namespace: string;
  /** What selects the originals. */
  selector: Record<string, string>;
  container: string;
  /** Container ports that lead to the machine by now. */
  ports: number[];
}

/** Of one original; distinct as long as the connection is. */
interface Peer {
  address: string;
  port: number;
}

/** More than these are not asked, as there is one exec for each. */
const asked = 10;

/** How many each caller has: the pod's name, where it is of this namespace, else its address. Empty where nobody can tell. */
export async function openConnections(
  cluster: Cluster,
  redirected: Redirected,
  call: CallOptions,
): Promise<Map<string, number>> {
  const { namespace, selector } = redirected;
  const labelSelector = selectorText(selector);
  const all = await cluster.list(pods, { namespace, labelSelector, ...call });
  const agents = new Set(all.filter(isAgent).map(({ status }) => status?.podIP));
  const originals = all.filter(
    (pod) => !isAgent(pod) && pod.status?.phase === 'Running' && pod.spec?.hostNetwork !== true,
  );
  const found = await Promise.all(
    originals.slice(0, asked).map(async ({ metadata }) => {
      const look = (): Promise<Peer[]> => peersOf(cluster, metadata?.name ?? '', redirected, call);
      const first = await look();
      if (first.length === 0) return [];
      // What is over by now was one request, and no connection that stays.
      const still = new Set((await look()).map(keyOf));
      return first.filter((peer) => still.has(keyOf(peer)) && !agents.has(peer.address));
    }),
  );
  const counts = Map.groupBy(found.flat(), ({ address }) => address);
  if (counts.size === 0) return new Map();
  const callers = await cluster.list(pods, { namespace, ...call });
  const nameOf = new Map(callers.map(({ metadata, status }) => [status?.podIP, metadata?.name]));
  return new Map([...counts].map(([address, { length }]) => [nameOf.get(address) ?? address, length]));
}

const isAgent = ({ metadata }: V1Pod): boolean => metadata?.labels?.[sessionLabel] !== undefined;
const keyOf = ({ address, port }: Peer): string => `${address} ${port}`;

async function peersOf(
  cluster: Cluster,
  name: string,
  { namespace, container, ports }: Redirected,
  call: CallOptions,
): Promise<Peer[]> {
  const tables = ['cat', '/proc/net/tcp', '/proc/net/tcp6'];
  const result = await cluster.exec({ namespace, name, container }, tables, call).catch(() => undefined);
  call.signal?.throwIfAborted();
  // Without IPv6 the second file is not there, and the first one is shown all the same.
  return result === undefined ? [] : parsePeers(result.stdout.toString('latin1'), ports);
}

/** Peers of the established connections to these local ports, but those of the pod itself. Format: proc_pid_net(5). */
export function parsePeers(table: string, ports: readonly number[]): Peer[] {
  const peers: Peer[] = [];
  for (const line of table.split('\n')) {
    const columns = /^\s*\d+: [\dA-F]+:([\dA-F]{4}) ([\dA-F]{8}|[\dA-F]{32}):([\dA-F]{4}) 01 /.exec(line);
    const [, local = '', remote = '', port = ''] = columns ?? [];
    if (columns === null || !ports.includes(Number.parseInt(local, 16))) continue;
    const address = addressOf(remote);
    if (!/^127\.|^::1$/.test(address)) peers.push({ address, port: Number.parseInt(port, 16) });
  }
  return peers;
}

/** The kernel prints words of four bytes as numbers, in the machine's own order: the least first wherever Kubernetes runs. */
function addressOf(hex: string): string {
  const bytes = Buffer.from(hex, 'hex').swap32();
  const isV4 = bytes.length === 4;
  const mapped = bytes.length === 16 && bytes.subarray(0, 12).equals(Buffer.from('00000000000000000000ffff', 'hex'));
  if (isV4 || mapped) return bytes.subarray(-4).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16)).join(':');
  return new URL(`http://[${groups}]`).hostname.slice(1, -1); // in the form of RFC 5952, as Kubernetes writes it
}
