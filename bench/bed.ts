/**
 * Everything that a measurement stands on: a cluster, a namespace with an original and a workload to redirect, a pod that
 * calls, and a developer's machine with helper and daemon. Made through the real commands, and taken away again whole.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { down, status } from '../test/cluster/cluster.ts';
import { instanceName } from '../test/cluster/instance.ts';
import { startMachine, type Machine } from '../test/cluster/machine.ts';
import { createNamespace, type TestNamespace } from '../test/cluster/namespace.ts';
import { useCluster, type TestCluster } from '../test/cluster/test-cluster.ts';
import { port } from './wire.ts';

/** Names of the Services; each is also what its program answers to the question who it is. */
export const original = 'original';
export const workload = 'workload';
/** Who answers on the machine, and where: not the Service's own port, which the machine needs for the names. */
export const machineName = 'machine';
export const machinePort = 9100;

export interface Bed extends AsyncDisposable {
  readonly cluster: TestCluster;
  readonly namespace: TestNamespace;
  readonly machine: Machine;
  /** Runs the command as the developer does; returns what it prints, throws with its words when it fails. */
  bowline(...args: string[]): Promise<string>;
  /** The command line for one program of this folder, in the pod that calls. */
  inCaller(program: string, ...args: string[]): string[];
  /** The same on the machine. */
  onMachine(program: string, ...args: string[]): string[];
}

const programs = ['sink.ts', 'client.ts', 'watch.ts', 'wire.ts'];
const folderInPod = '/bench';

export async function startBed(report: (line: string) => void, signal: AbortSignal): Promise<Bed> {
  await using stack = new AsyncDisposableStack();
  const given = process.env['BOWLINE_TEST_KUBECONFIG'] !== undefined;
  const name = instanceName();
  const wasUp = given || (await status(name))?.running === true;
  const cluster = await useCluster(report, signal);
  if (!wasUp) stack.defer(() => down(name, { report }));
  report(`measuring on ${cluster.description}`);

  const namespace = stack.use(await createNamespace(cluster, { prefix: 'bench', signal }));
  const image = cluster.nodeImage;
  await namespace.apply([programsInCluster(), ...served(original, image), ...served(workload, image), caller(image)]);
  await Promise.all([namespace.rollout(`deploy/${original}`), namespace.rollout(`deploy/${workload}`)]);
  await namespace.kubectl(['wait', 'pod/caller', '--for=condition=Ready', '--timeout=60s']);

  const machine = stack.use(await startMachine({ cluster, name: 'bench' }, signal));
  const onMachine = (program: string, ...args: string[]): string[] => [
    'node',
    join(machine.checkout, 'bench', program),
    ...args,
  ];
  const bowline = async (...args: string[]): Promise<string> => {
    const command = [join(machine.checkout, 'bowline'), ...args];
    const { exitCode, stdout, stderr } = await machine.run(command, { signal, timeout: 180_000 });
    if (exitCode !== 0)
      throw new Error(`bowline ${args.join(' ')}: exit status ${exitCode}: ${stderr.trim() || stdout.trim()}`);
    return stdout;
  };
  await installHelper(machine);
  // Not by the signal: when it is aborted there is all the more to release.
  stack.defer(
    async () => void (await machine.run([join(machine.checkout, 'bowline'), 'daemon', 'stop'], { timeout: 90_000 })),
  );
  await startLocalProcess(machine, onMachine('sink.ts', machineName, String(machinePort)));

  const kept = stack.move();
  return {
    cluster,
    namespace,
    machine,
    bowline,
    onMachine,
    inCaller: (program, ...args) => [
      cluster.kubectlPath,
      `--kubeconfig=${cluster.kubeconfig}`,
      `--namespace=${namespace.name}`,
      'exec',
      'caller',
      '--',
      'node',
      `${folderInPod}/${program}`,
      ...args,
    ],
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** What `bowline helper install` runs as root after it has asked, for which it wants a terminal. */
async function installHelper(machine: Machine): Promise<void> {
  const id = async (option: string): Promise<string> => (await machine.run(['id', option])).stdout.trim();
  const install = join(machine.checkout, 'helper/install-main.ts');
  const command = ['node', install, 'install', '--user', await id('-u'), '--gid', await id('-g')];
  const { exitCode, stdout, stderr } = await machine.run(command, { user: 'root' });
  if (exitCode !== 0) throw new Error(`the helper could not be installed: ${stderr.trim() || stdout.trim()}`);
}

/** What a developer runs, to which the workload's requests come; ends with the machine. */
async function startLocalProcess(machine: Machine, command: string[]): Promise<void> {
  const child = machine.spawn(command);
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once('data', () => resolve());
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the process on the machine ended with status ${code}`)));
  });
}

/** Node runs the sources as they are. */
function programsInCluster(): object {
  const data = Object.fromEntries(
    programs.map((file) => [file, readFileSync(join(import.meta.dirname, file), 'utf8')]),
  );
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'programs' }, data };
}

function podSpec(name: string, image: string, command: string[]): object {
  const volumes = [{ name: 'programs', configMap: { name: 'programs' } }];
  const volumeMounts = [{ name: 'programs', mountPath: folderInPod }];
  return { volumes, containers: [{ name, image, command, volumeMounts }] };
}

function served(name: string, image: string): object[] {
  const labels = { app: name };
  const spec = podSpec(name, image, ['node', `${folderInPod}/sink.ts`, name]);
  const readinessProbe = { tcpSocket: { port }, periodSeconds: 1 };
  const [container] = (spec as { containers: object[] }).containers;
  const template = {
    metadata: { labels },
    spec: { ...spec, containers: [{ ...container, ports: [{ containerPort: port }], readinessProbe }] },
  };
  return [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name },
      spec: { selector: { matchLabels: labels }, template },
    },
    { apiVersion: 'v1', kind: 'Service', metadata: { name }, spec: { selector: labels, ports: [{ port }] } },
  ];
}

function caller(image: string): object {
  const idle = "process.on('SIGTERM', () => process.exit(0)); setInterval(() => {}, 1e9)";
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'caller' },
    spec: podSpec('caller', image, ['node', '-e', idle]),
  };
}
