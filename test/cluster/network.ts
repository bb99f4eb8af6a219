/**
 * The node's cable: a pair of virtual devices between this machine and the node's network namespace. Nothing leaves the
 * node by it, and this machine refuses the pod and Service ranges, so that who reaches a pod did so through the API server.
 */
import { must, run } from './run.ts';
import type { Instance } from './instance.ts';

/** Start of the names of the devices by which machines are joined to the node. */
export const machineDevice = 'machine';

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
  await must(inNetwork(pid, ['ip', '-batch', '-']), {
    signal,
    input: [
      'link set lo up',
      `addr add ${nodeAddress}/30 dev eth0`,
      'link set eth0 up',
      'route add unreachable default',
      // The node's own processes (API server to a webhook or Service) need a route before kube-proxy's rules can
      // rewrite the address; on `lo` it costs nothing when no rule is there yet.
      `route add ${instance.services} dev lo src ${nodeAddress}`,
    ].join('\n'),
  });
  await must(inNetwork(pid, ['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']), { signal });
  // Developer machines talk to the API server, which is the node itself; the node carries nothing between them and pods.
  for (const direction of ['--in-interface', '--out-interface']) {
    const rule = [
      '--insert',
      'FORWARD',
      direction,
      `${machineDevice}+`,
      '--match',
      'conntrack',
      '--ctstate',
      'NEW',
      '--jump',
      'REJECT',
    ];
    await must(inNetwork(pid, ['iptables', '--wait', ...rule]), { signal });
  }
}

/** Takes away what does not vanish with the node's processes. */
export async function disconnectNode(instance: Instance): Promise<void> {
  await run(['ip', 'link', 'delete', instance.hostDevice]);
  await run(['ip', 'route', 'delete', 'blackhole', instance.pods]);
  await run(['ip', 'route', 'delete', 'blackhole', instance.services]);
}

export function inNetwork(pid: number, command: string[]): string[] {
  return ['nsenter', `--net=/proc/${pid}/ns/net`, ...command];
}
