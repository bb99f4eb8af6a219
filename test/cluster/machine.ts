/**
 * The developer's machine of a test: namespaces of its own for network, mounts and host name, with a private disk, an
 * unprivileged user `dev`, and a cable to the cluster's node that can be cut. From it the API server can be reached, and
 * no pod or Service: who reaches one did so through the product.
 */
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { quote, privateDisk } from './disk.ts';
import { claimMachine, recordMachine, removeMachine } from './machine-registry.ts';
import { inNetwork, machineDevice } from './network.ts';
import { findNode } from './node.ts';
import { recordProcess } from './processes.ts';
import { must, run } from './run.ts';
import type { ChildProcess } from 'node:child_process';
import type { Instance } from './instance.ts';
import type { RunResult } from './run.ts';
import type { TestCluster } from './test-cluster.ts';

const user = { name: 'dev', id: 1500 } as const;
const home = `/home/${user.name}`;
const runtime = `/run/user/${user.id}`;
const checkout = '/opt/bowline';
const givenMachines = '/var/lib/bowline-test/machines-of-a-given-cluster';

export interface MachineOptions {
  cluster: TestCluster;
  /** Host name; two machines of one cluster have two names. */
  name: string;
}

export interface CommandOptions {
  /** Default dev. */
  user?: 'dev' | 'root';
  /** Beside what a login gives: HOME, USER, PATH, XDG_RUNTIME_DIR. */
  env?: Record<string, string>;
  /** Default the home of the user. */
  cwd?: string;
}

export interface Machine {
  readonly name: string;
  /** The home of dev, as seen in the machine. */
  readonly home: string;
  /** This project as seen in the machine; cannot be written there. */
  readonly checkout: string;
  /** The administrator's kubeconfig, in the place where every tool looks for it; belongs to dev. */
  readonly kubeconfig: string;
  /** Runs a command to its end. */
  run(
    command: string[],
    options?: CommandOptions & { input?: string | Buffer; signal?: AbortSignal; timeout?: number },
  ): Promise<RunResult>;
  /** Starts a command with pipes. Its pid is that of the command itself, so it can be signalled. */
  spawn(command: string[], options?: CommandOptions): ChildProcess;
  /** No packet passes until restored; nothing is told to either side, as when a laptop sleeps or a VPN is lost. */
  cutLink(): Promise<void>;
  restoreLink(): Promise<void>;
  /**
   * Another address in another network from now on, as with another Wi-Fi or a VPN: what was connected from the former one
   * gets no answer any more, and no word of that.
   */
  changeNetwork(): Promise<void>;
  /** The text of its /etc/hosts. */
  hosts(): string;
  /** A path of the machine as this process can open it. */
  path(inside: string): string;
}

export async function startMachine(options: MachineOptions, signal?: AbortSignal): Promise<Machine & AsyncDisposable> {
  const { cluster, name } = options;
  if (!/^[a-z][a-z0-9-]{0,30}$/.test(name)) throw new Error(`${name} is not a host name of up to 31 characters`);
  const { instance } = cluster;
  const machines = instance?.machines ?? givenMachines;
  const node = instance === undefined ? undefined : findNode(instance);
  if (instance !== undefined && node === undefined) throw new Error(`cluster ${instance.name} does not run`);
  await claimMachine(machines, name, node?.pid);
  try {
    const isolation = instance === undefined ? 'mnt' : 'net';
    const holder = await startHolder(machines, name, isolation);
    let device: string | undefined;
    let network = 0;
    if (instance !== undefined && node !== undefined) {
      device = await connectMachine(instance, node.pid, holder, signal);
      recordMachine(machines, name, { holder: recordProcess(holder), isolation, device });
    }
    const machine = describe(name, holder);
    giveKubeconfig(machine, cluster.kubeconfig);
    const setLink = async (state: 'up' | 'down'): Promise<void> => {
      if (device === undefined || node === undefined)
        throw new Error('the link of a machine can be cut only with our own cluster');
      await must(inNetwork(node.pid, ['ip', 'link', 'set', device, state]));
    };
    return {
      ...machine,
      cutLink: () => setLink('down'),
      restoreLink: () => setLink('up'),
      changeNetwork: async () => {
        if (instance === undefined || node === undefined || device === undefined)
          throw new Error('a machine can change its network only with our own cluster');
        for (const [pid, end] of [
          [node.pid, device],
          [holder, 'eth0'],
        ] as const)
          await must(inNetwork(pid, ['ip', '-4', 'addr', 'flush', 'dev', end]));
        await setAddresses(instance, { nodePid: node.pid, holder, device, network: (network += 1) });
      },
      [Symbol.asyncDispose]: () => removeMachine(machines, name, node?.pid),
    };
  } catch (error) {
    await removeMachine(machines, name, node?.pid);
    throw error;
  }
}

/** A process that does nothing but keep the namespaces; resolves when the disk in them is ready. */
async function startHolder(machines: string, name: string, isolation: 'net' | 'mnt'): Promise<number> {
  const disk = join(machines, name, 'disk');
  mkdirSync(disk);
  const project = resolve(import.meta.dirname, '../..');
  const script = [
    privateDisk({ mountPoint: disk, shared: [{ folder: project, at: checkout, readOnly: true }], ownProc: false }),
    `hostname ${name}`,
    'rm -f /etc/resolv.conf /etc/hosts',
    `printf %s ${quote(hostsFile(name))} > /etc/hosts`,
    // Nothing answers at that address, at once: a name that is not in the hosts file does not exist here.
    "printf 'nameserver 127.0.0.1\\noptions timeout:1 attempts:1\\n' > /etc/resolv.conf",
    "printf 'passwd: files\\ngroup: files\\nshadow: files\\nhosts: files dns\\nservices: files\\nprotocols: files\\n' > /etc/nsswitch.conf",
    `echo '${user.name}:x:${user.id}:${user.id}:Developer:${home}:/bin/bash' >> /etc/passwd`,
    `echo '${user.name}:x:${user.id}:' >> /etc/group`,
    `echo '${user.name}:*:20000::::::' >> /etc/shadow`, // no password, but an account that is in order, for sudo
    `echo '${user.name} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/${user.name}`,
    `install -d -o ${user.id} -g ${user.id} -m 755 ${home}`,
    `install -d -o ${user.id} -g ${user.id} -m 700 ${runtime}`,
    // Goes on when it is written down that it is there; when who started it is gone, so is it.
    'echo ready && read -r go || exit 1',
    'exec sleep infinity < /dev/null > /dev/null 2>&1',
  ].join('\n');
  const namespaces = ['--mount', '--uts', ...(isolation === 'net' ? ['--net'] : [])];
  const holder = spawn('unshare', [...namespaces, '--propagation', 'slave', 'sh', '-c', script], {
    detached: true, // Ctrl-C in the test's terminal is not for it
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let said = '';
  holder.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await new Promise<void>((ready, reject) => {
    holder.stdout.once('data', () => ready());
    holder.once('error', reject);
    holder.once('exit', () => reject(new Error(`machine ${name} did not start: ${said.trim()}`)));
  });
  const pid = holder.pid ?? 0;
  recordMachine(machines, name, { holder: recordProcess(pid), isolation });
  holder.stdin.end('go\n');
  holder.stdout.destroy();
  holder.stderr.destroy();
  holder.unref();
  return pid;
}

/** A cable from the node to the machine; returns the name of the node's end, whose number also gives the addresses. */
async function connectMachine(
  instance: Instance,
  nodePid: number,
  holder: number,
  signal?: AbortSignal,
): Promise<string> {
  const number = await addCable(nodePid, holder, signal);
  const device = `${machineDevice}${number}`;
  await must(inNetwork(nodePid, ['ip', 'link', 'set', device, 'up']), { signal });
  await must(inNetwork(holder, ['ip', '-batch', '-']), {
    input: [
      'link set lo up',
      'link set eth0 up',
      'route add unreachable default',
      `route add unreachable ${instance.pods}`,
      `route add unreachable ${instance.services}`,
    ].join('\n'),
    signal,
  });
  await setAddresses(instance, { nodePid, holder, device, network: 0 }, signal);
  return device;
}

interface Cable {
  nodePid: number;
  holder: number;
  /** The node's end. */
  device: string;
  /** The first, the second, ... network of this machine. */
  network: number;
}

async function setAddresses(instance: Instance, cable: Cable, signal?: AbortSignal): Promise<void> {
  const { nodePid, holder, device } = cable;
  const number = Number(device.slice(machineDevice.length));
  const network = `10.${201 + (cable.network % 2)}.${instance.slot}`;
  const [nodeEnd, machineEnd] = [`${network}.${4 * number + 1}`, `${network}.${4 * number + 2}`];
  await must(inNetwork(nodePid, ['ip', 'addr', 'add', `${nodeEnd}/30`, 'dev', device]), { signal });
  await must(inNetwork(holder, ['ip', '-batch', '-']), {
    input: `addr add ${machineEnd}/30 dev eth0\nroute add ${instance.nodeAddress} via ${nodeEnd}\n`,
    signal,
  });
}

/** The first number that is free; making the device is what takes it. */
async function addCable(nodePid: number, holder: number, signal?: AbortSignal): Promise<number> {
  for (let number = 0; number < 63; number += 1) {
    const add = [
      'ip',
      'link',
      'add',
      `${machineDevice}${number}`,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      String(holder),
    ];
    const result = await run(inNetwork(nodePid, add), { signal });
    if (result.exitCode === 0) return number;
    if (!result.stderr.includes('File exists')) throw new Error(`${add.join(' ')}: ${result.stderr.trim()}`);
  }
  throw new Error('63 machines are joined to this cluster already');
}

function describe(name: string, holder: number): Omit<Machine, 'cutLink' | 'restoreLink' | 'changeNetwork'> {
  const path = (inside: string): string => join(`/proc/${holder}/root`, inside);
  return {
    name,
    home,
    checkout,
    kubeconfig: `${home}/.kube/config`,
    path,
    hosts: () => readFileSync(path('/etc/hosts'), 'utf8'),
    run: (command, options = {}) => {
      const { input, signal, timeout } = options;
      const rest = { ...(input === undefined ? {} : { input }), ...(timeout === undefined ? {} : { timeout }), signal };
      return run(inMachine(holder, command, options), { env: environment(options), ...rest });
    },
    spawn: (command, options = {}) => {
      const [program = '', ...args] = inMachine(holder, command, options);
      return spawn(program, args, { env: environment(options), stdio: 'pipe' });
    },
  };
}

/** Each of these programs becomes the next one, so the process that is started is in the end the command. */
function inMachine(holder: number, command: string[], options: CommandOptions): string[] {
  const enter = ['nsenter', `--target=${holder}`, '--net', '--mount', '--uts'];
  const become =
    options.user === 'root'
      ? []
      : ['setpriv', `--reuid=${user.id}`, `--regid=${user.id}`, '--init-groups', '--inh-caps=-all'];
  return [...enter, 'env', '-C', options.cwd ?? homeOf(options), ...become, ...command];
}

function environment(options: CommandOptions): NodeJS.ProcessEnv {
  const isRoot = options.user === 'root';
  return {
    HOME: homeOf(options),
    USER: isRoot ? 'root' : user.name,
    LOGNAME: isRoot ? 'root' : user.name,
    SHELL: '/bin/bash',
    LANG: 'C.UTF-8',
    PATH: `${checkout}/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
    ...(isRoot ? {} : { XDG_RUNTIME_DIR: runtime }),
    ...options.env,
  };
}

function homeOf(options: CommandOptions): string {
  return options.user === 'root' ? '/root' : home;
}

function giveKubeconfig(machine: Pick<Machine, 'kubeconfig' | 'path'>, source: string): void {
  const file = machine.path(machine.kubeconfig);
  mkdirSync(dirname(file), { mode: 0o700 });
  copyFileSync(source, file);
  chmodSync(file, 0o600);
  for (const path of [dirname(file), file]) chownSync(path, user.id, user.id);
}

/** As Debian makes it, with lines a user added: none of it may ever change. */
function hostsFile(name: string): string {
  return `127.0.0.1\tlocalhost
127.0.1.1\t${name}

# The following lines are desirable for IPv6 capable hosts
::1     localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters

192.0.2.7  printer printer.lan   # by hand, with two spaces
`;
}
