/**
 * The cables of the nodes. The first is joined to this machine; nothing leaves it by that, and this machine refuses the pod
 * and Service ranges, so that who reaches a pod did so through the API server. The worker is joined to the first node, by a
 * switch in that one's network: when the worker goes, the switch and the routes to it stay, as they do in a data centre.
 */
import { must, run } from './run.ts';
import type { Instance } from './instance.ts';

/** Start of the names of the devices by which machines are joined to the node. */
export const machineDevice = 'machine';
const theSwitch = 'switch';
const workerPort = 'worker';
/** Of the worker's end; any that is of nobody's make. */
const workerHardware = '02:00:00:00:00:02';

export async function connectNode(instance: Instance, pid: number, signal?: AbortSignal): Promise<void> {
  const { hostDevice, hostAddress, nodeAddress } = instance;
  await must(['ip', '-batch', '-'], {
    signal,
    input: [
      `link add ${hostDevice} type veth peer name eth0 netns ${pid}`,
      `addr add ${hostAddress}/30 dev ${hostDevice}`,
      `link set ${hostDevice} up`,
      `route replace blackhole ${instance.pods}`,
      `route replace blackhole ${instance.services}`,
    ].join('\n'),
  });
  await prepareNetwork(instance, { pid, address: nodeAddress }, signal);
  // Developer machines talk to the API server, which is the node itself; the node carries nothing between them and pods.
  for (const direction of ['--in-interface', '--out-interface']) {
    const fresh = ['--match', 'conntrack', '--ctstate', 'NEW'];
    await iptables(pid, ['--insert', 'FORWARD', direction, `${machineDevice}+`, ...fresh, '--jump', 'REJECT'], signal);
  }
}

/** Takes away what does not vanish with the node's processes. */
export async function disconnectNode(instance: Instance): Promise<void> {
  await run(['ip', 'link', 'delete', instance.hostDevice]);
  await run(['ip', 'route', 'delete', 'blackhole', instance.pods]);
  await run(['ip', 'route', 'delete', 'blackhole', instance.services]);
}

/** `first` and `pid`: the first processes of the first node and of the worker. */
export async function connectWorker(
  instance: Instance,
  first: number,
  pid: number,
  signal?: AbortSignal,
): Promise<void> {
  const { worker, switchAddress } = instance;
  await must(inNetwork(first, ['ip', '-batch', '-']), {
    signal,
    input: [
      `link add ${theSwitch} type bridge`,
      `addr add ${switchAddress}/30 dev ${theSwitch}`,
      `link add ${workerPort} type veth peer name eth0 address ${workerHardware} netns ${pid}`,
      `link set ${workerPort} master ${theSwitch}`,
      `link set ${workerPort} up`,
      `link set ${theSwitch} up`,
      // For good: what is sent to a worker that is off shall vanish, and not be called unreachable after a second or three.
      `neigh add ${worker.nodeAddress} lladdr ${workerHardware} nud permanent dev ${theSwitch}`,
      `route add ${worker.nodePods} via ${worker.nodeAddress}`,
    ].join('\n'),
  });
  await prepareNetwork(instance, { pid, address: worker.nodeAddress }, signal);
  await must(inNetwork(pid, ['ip', '-batch', '-']), {
    signal,
    input: [
      `route add ${instance.nodeAddress} via ${switchAddress}`,
      `route add ${instance.nodePods} via ${switchAddress}`,
    ].join('\n'),
  });
}

/** No packet passes any more; nothing is told to anybody. */
export async function cutWorker(first: number): Promise<void> {
  await must(inNetwork(first, ['ip', 'link', 'set', workerPort, 'down']));
}

export async function disconnectWorker(first: number): Promise<void> {
  for (const device of [workerPort, theSwitch]) await run(inNetwork(first, ['ip', 'link', 'delete', device]));
}

/** What all nodes have: their own address, routes to nobody else, and pods that keep their addresses among themselves. */
async function prepareNetwork(
  { pods, services }: Instance,
  { pid, address }: { pid: number; address: string },
  signal?: AbortSignal,
): Promise<void> {
  await must(inNetwork(pid, ['ip', '-batch', '-']), {
    signal,
    input: [
      'link set lo up',
      `addr add ${address}/30 dev eth0`,
      'link set eth0 up',
      'route add unreachable default',
      // The node's own processes (API server to a webhook or Service) need a route before kube-proxy's rules can
      // rewrite the address; on `lo` it costs nothing when no rule is there yet.
      `route add ${services} dev lo src ${address}`,
    ].join('\n'),
  });
  await must(inNetwork(pid, ['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']), { signal });
  const leaving = ['--source', pods, '!', '--destination', pods];
  await iptables(pid, ['--table', 'nat', '--append', 'POSTROUTING', ...leaving, '--jump', 'MASQUERADE'], signal);
}

async function iptables(pid: number, args: string[], signal?: AbortSignal): Promise<void> {
  await must(inNetwork(pid, ['iptables', '--wait', ...args]), { signal });
}

export function inNetwork(pid: number, command: string[]): string[] {
  return ['nsenter', `--net=/proc/${pid}/ns/net`, ...command];
}
