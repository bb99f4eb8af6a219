/**
 * The programs of the nodes with every flag and file they get. What differs from the defaults either makes them small
 * (one member, no leader election), or lets them run without systemd, without CAP_SYS_RESOURCE and on cgroup v1.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createAuthority, createTokenKeys, writeIdentity } from './pki.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import type { ClusterNode, Instance } from './instance.ts';

export const pauseImage = 'bowline.test/pause:1';

/** A row of node-init's table. */
interface Program {
  name: string;
  command: string[];
  log: string;
  /** HOST:PORT that must accept connections first. */
  after?: string;
}

/** Writes what all nodes share: certificates, of the worker too, because the authority's key is kept nowhere. */
export async function configureCluster(instance: Instance): Promise<void> {
  mkdirSync(etc(instance, ''), { recursive: true });
  await writeCertificates(instance);
  writeCoredns(instance);
}

/** Writes the files of one node; returns the path of node-init's table. */
export function configureNode(instance: Instance, node: ClusterNode): string {
  mkdirSync(etc(node, 'cni'), { recursive: true });
  mkdirSync(node.logs, { recursive: true });
  writeContainerd(node);
  writeKubelet(instance, node);
  const all = [...nodePrograms(instance, node), ...(node === instance ? controlPlane(instance) : [])];
  const table = etc(node, 'programs.json');
  const programs: Program[] = all.map((program) => ({ ...program, log: join(node.logs, `${program.name}.log`) }));
  writeFileSync(table, JSON.stringify(programs, undefined, 2));
  return table;
}

function etc(node: ClusterNode, file: string): string {
  return join(node.folder, 'etc', file);
}

/** Of a node's kubelet, in the folder of keys: certificate and key `NODE.crt` and `.key`, and this. */
const kubeletKubeconfig = ({ pki }: Instance, { nodeName }: ClusterNode): string => join(pki, `${nodeName}.kubeconfig`);

async function writeCertificates(instance: Instance): Promise<void> {
  const { pki, nodeAddress } = instance;
  const authority = await createAuthority();
  const server = await authority.issue({
    commonName: 'kube-apiserver',
    names: [
      nodeAddress,
      instance.apiService,
      '127.0.0.1',
      'localhost',
      'kubernetes',
      'kubernetes.default',
      'kubernetes.default.svc',
      'kubernetes.default.svc.cluster.local',
    ],
  });
  const admin = await authority.issue({ commonName: 'admin', organization: 'system:masters' });
  writeIdentity(pki, 'apiserver', server);
  writeIdentity(pki, 'admin', admin);
  writeFileSync(join(pki, 'ca.crt'), authority.certificate);
  const tokens = await createTokenKeys();
  writeFileSync(join(pki, 'tokens.key'), tokens.privateKey, { mode: 0o600 });
  writeFileSync(join(pki, 'tokens.pub'), tokens.publicKey);
  const common = { name: instance.name, server: `https://${nodeAddress}:6443`, authority };
  writeKubeconfig(instance.kubeconfig, { ...common, user: admin });
  for (const node of [instance, instance.worker]) {
    const kubelet = await authority.issue({
      commonName: `system:node:${node.nodeName}`,
      organization: 'system:nodes',
      names: [node.nodeAddress, node.nodeName],
    });
    writeIdentity(pki, node.nodeName, kubelet);
    writeKubeconfig(kubeletKubeconfig(instance, node), { ...common, user: kubelet });
  }
}

function writeContainerd(node: ClusterNode): void {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  writeFileSync(
    etc(node, 'containerd.toml'),
    `version = 2
root = "${node.folder}/containerd"
state = "${node.folder}/containerd-state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "${node.containerdSocket}"
[${cri}]
sandbox_image = "${pauseImage}"
restrict_oom_score_adj = true
[${cri}.containerd]
snapshotter = "overlayfs"
[${cri}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "${node.folder}/etc/cni"
`,
  );
  const bridge = {
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    hairpinMode: true,
    ipam: { type: 'host-local', ranges: [[{ subnet: node.nodePods }]], routes: [{ dst: '0.0.0.0/0' }] },
  };
  writeFileSync(
    etc(node, 'cni/10-bridge.conflist'),
    JSON.stringify({
      cniVersion: '0.4.0',
      name: 'pods',
      plugins: [bridge, { type: 'portmap', capabilities: { portMappings: true } }],
    }),
  );
}

function writeKubelet(instance: Instance, node: ClusterNode): void {
  // Pods inherit this one; nothing listens there, and the node has no way out anyway.
  writeFileSync(etc(node, 'resolv.conf'), 'nameserver 192.0.2.1\n');
  const configuration = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: join(instance.pki, 'ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    tlsCertFile: join(instance.pki, `${node.nodeName}.crt`),
    tlsPrivateKeyFile: join(instance.pki, `${node.nodeName}.key`),
    containerRuntimeEndpoint: `unix://${node.containerdSocket}`,
    clusterDNS: [instance.dnsService],
    clusterDomain: 'cluster.local',
    resolvConf: etc(node, 'resolv.conf'),
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${node.cgroup}`,
    failCgroupV1: false,
    failSwapOn: false,
    enforceNodeAllocatable: [],
    // The disk is the developer's own and may be nearly full; that is no reason to evict pods or images.
    evictionHard: {
      'memory.available': '100Mi',
      'nodefs.available': '1%',
      'imagefs.available': '1%',
      'nodefs.inodesFree': '1%',
    },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    serializeImagePulls: false,
  };
  writeFileSync(etc(node, 'kubelet.json'), JSON.stringify(configuration, undefined, 2));
}

function writeCoredns(instance: Instance): void {
  writeFileSync(
    etc(instance, 'Corefile'),
    `.:53 {
    errors
    health ${instance.nodeAddress}:8089
    ready ${instance.nodeAddress}:8090
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig ${instance.kubeconfig}
        pods insecure
        ttl 1
    }
    cache 1
}
`,
  );
}

type Started = Omit<Program, 'log'>;

function nodePrograms(instance: Instance, node: ClusterNode): Started[] {
  const after = `${instance.nodeAddress}:6443`;
  return [
    { name: 'containerd', command: ['/usr/bin/containerd', '--config', etc(node, 'containerd.toml')] },
    {
      name: 'kubelet',
      after,
      command: [
        join(instance.bin, 'kubelet'),
        `--config=${etc(node, 'kubelet.json')}`,
        `--kubeconfig=${kubeletKubeconfig(instance, node)}`,
        `--hostname-override=${node.nodeName}`,
        `--root-dir=${node.folder}/kubelet`,
        `--node-ip=${node.nodeAddress}`,
      ],
    },
    {
      name: 'kube-proxy',
      after,
      command: [
        join(instance.bin, 'kube-proxy'),
        `--kubeconfig=${instance.kubeconfig}`,
        '--proxy-mode=iptables',
        `--cluster-cidr=${instance.pods}`,
        `--hostname-override=${node.nodeName}`,
        '--conntrack-max-per-core=0', // may not be set from a network namespace
      ],
    },
  ];
}

function controlPlane(instance: Instance): Started[] {
  const bin = (name: string): string => join(instance.bin, name);
  const pki = (file: string): string => join(instance.pki, file);
  const etcd = '127.0.0.1:2379';
  const api = '127.0.0.1:6443';
  const kubeconfig = `--kubeconfig=${instance.kubeconfig}`;
  return [
    {
      name: 'etcd',
      command: [
        bin('etcd'),
        `--data-dir=${instance.folder}/etcd`,
        '--unsafe-no-fsync', // the cluster's life is shorter than the disk's cache
        '--log-level=warn',
        `--listen-client-urls=http://${etcd}`,
        `--advertise-client-urls=http://${etcd}`,
        '--listen-peer-urls=http://127.0.0.1:2380',
      ],
    },
    {
      name: 'kube-apiserver',
      after: etcd,
      command: [
        bin('kube-apiserver'),
        `--etcd-servers=http://${etcd}`,
        '--secure-port=6443',
        `--advertise-address=${instance.nodeAddress}`,
        `--service-cluster-ip-range=${instance.services}`,
        `--client-ca-file=${pki('ca.crt')}`,
        `--tls-cert-file=${pki('apiserver.crt')}`,
        `--tls-private-key-file=${pki('apiserver.key')}`,
        '--authorization-mode=Node,RBAC',
        '--enable-admission-plugins=NodeRestriction', // beside the default ones, PodSecurity among them
        '--allow-privileged=true',
        '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
        `--service-account-key-file=${pki('tokens.pub')}`,
        `--service-account-signing-key-file=${pki('tokens.key')}`,
        `--kubelet-client-certificate=${pki('admin.crt')}`,
        `--kubelet-client-key=${pki('admin.key')}`,
        `--kubelet-certificate-authority=${pki('ca.crt')}`,
        '--kubelet-preferred-address-types=InternalIP',
      ],
    },
    {
      name: 'kube-controller-manager',
      after: api,
      command: [
        bin('kube-controller-manager'),
        kubeconfig,
        '--leader-elect=false',
        '--use-service-account-credentials=true',
        `--service-account-private-key-file=${pki('tokens.key')}`,
        `--root-ca-file=${pki('ca.crt')}`,
        `--cluster-cidr=${instance.pods}`,
        `--service-cluster-ip-range=${instance.services}`,
      ],
    },
    { name: 'kube-scheduler', after: api, command: [bin('kube-scheduler'), kubeconfig, '--leader-elect=false'] },
    { name: 'coredns', after: api, command: [bin('coredns'), '-conf', etc(instance, 'Corefile')] },
  ];
}
