/** `npm run cluster -- COMMAND`: the real Kubernetes for tests, demo and benchmark. See --help. */
import { buildBinaries } from './binary.ts';
import { down, status, up } from './cluster.ts';
import { load } from './image-import.ts';
import { findInstance, instanceName } from './instance.ts';
import { ensurePackages } from '../../setup/packages.ts';
import type { Instance } from './instance.ts';

const help = `A real Kubernetes on this machine, for tests, demo and benchmark: one node, and a second one while a test asks for it.

Usage: npm run cluster -- COMMAND

  up               start it and wait until it is ready (the first time it is built, which takes minutes)
  down             end it and remove all of it but the build cache
  status           say which cluster serves, and how to reach it
  load IMAGE.tar   import an image archive as "docker save" writes it
  kubeconfig       print the path of the administrator's kubeconfig
  build            only build the programs

Environment:
  BOWLINE_CLUSTER          name of the cluster, for several side by side (default: bowline)
  BOWLINE_TEST_KUBECONFIG  kubeconfig of a cluster to use instead; it is never started, stopped or changed from here
`;

const report = (line: string): void => console.error(`cluster: ${line}`);

async function main(args: string[], signal: AbortSignal): Promise<number> {
  const [command, ...rest] = args;
  if (command === undefined || command === 'help' || args.includes('--help') || args.includes('-h')) {
    console.log(help);
    return command === undefined ? 2 : 0;
  }
  if (rest.length !== (command === 'load' ? 1 : 0)) throw new Error(`${command}: wrong arguments; see --help`);
  const given = process.env['BOWLINE_TEST_KUBECONFIG'];
  const name = instanceName();
  switch (command) {
    case 'build':
      await ensurePackages(report, signal);
      report(`the programs are in ${(await buildBinaries(report, signal)).kubernetes}`);
      return 0;
    case 'kubeconfig':
      console.log(given ?? existing(name).kubeconfig);
      return 0;
    case 'status':
      return given === undefined ? await printStatus(name) : printGiven(given);
    case 'up':
    case 'down':
      if (given !== undefined) return printGiven(given);
      if (command === 'down') await down(name, { report, signal });
      else {
        await ensurePackages(report, signal);
        await up(name, { report, signal });
      }
      return 0;
    case 'load':
      if (given !== undefined)
        throw new Error('load: images of a given cluster (BOWLINE_TEST_KUBECONFIG) come from its registry');
      await load(existing(name), rest[0] ?? '', signal);
      return 0;
    default:
      throw new Error(`${command} is no command; see --help`);
  }
}

function existing(name: string): Instance {
  const instance = findInstance(name);
  if (instance === undefined) throw new Error(`there is no cluster ${name}; start it with "npm run cluster -- up"`);
  return instance;
}

function printGiven(kubeconfig: string): number {
  report(`the cluster of BOWLINE_TEST_KUBECONFIG serves (${kubeconfig}); nothing to do`);
  return 0;
}

async function printStatus(name: string): Promise<number> {
  const found = await status(name);
  if (found === undefined) {
    console.log(`cluster ${name}: not there`);
    return 1;
  }
  const { instance } = found;
  console.log(`cluster ${name}: ${found.ready ? 'ready' : found.running ? 'running, not ready' : 'stopped'} (our own Kubernetes ${found.version})
kubeconfig  ${instance.kubeconfig}
kubectl     ${instance.bin}/kubectl
API server  https://${instance.nodeAddress}:6443
pods        ${instance.pods}, services ${instance.services}
logs        ${instance.logs}
images      ${found.images.join(' ')}`);
  return found.ready ? 0 : 1;
}

const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => interrupted.abort(new Error(`ended by ${name}`)));
try {
  process.exitCode = await main(process.argv.slice(2), interrupted.signal);
} catch (error) {
  console.error(`cluster: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
