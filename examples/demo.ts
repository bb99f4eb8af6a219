/**
 * `npm run demo`: a real Kubernetes, a small shop in it, and a developer's machine that is tied to one of its services
 * and untied again. Every line that follows a `$` is run as it stands, by a real program, and checked.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { styleText } from 'node:util';
import { down, status } from '../test/cluster/cluster.ts';
import { findInstance, instanceName } from '../test/cluster/instance.ts';
import { startMachine, type Machine } from '../test/cluster/machine.ts';
import { createNamespace, type TestNamespace } from '../test/cluster/namespace.ts';
import { diffSnapshots, snapshot } from '../test/cluster/snapshot.ts';
import { useCluster } from '../test/cluster/test-cluster.ts';
import { deployShop } from './shop/deploy.ts';

const interrupted = new AbortController();
for (const [name, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  process.once(name, () => {
    process.exitCode = status;
    interrupted.abort(new Error(`ended by ${name}`));
  });

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const title = (text: string): void => print(`\n${styleText('bold', text)}`);
const shown = (command: string): void => print(styleText('cyan', `  $ ${command}`));
const output = (text: string): void => {
  if (text.trim() === '') return;
  for (const line of text.trimEnd().split('\n')) print(`    ${line}`);
};

const agentImage = 'bowline.test/node:24';

/** Runs a command on the developer's machine as its user would type it, shows both, and fails when it fails. */
async function onMachine(machine: Machine, command: string): Promise<string> {
  shown(command);
  // As on a terminal: both streams in the order in which they are written.
  const result = await machine.run(['sh', '-c', `exec 2>&1\n${command}`], {
    signal: interrupted.signal,
    env: { NO_COLOR: '1' },
  });
  output(result.stdout);
  assert.equal(result.exitCode, 0, `"${command}" ended with status ${result.exitCode}`);
  return result.stdout;
}

/** A request as another service of the shop would send it, from inside the cluster. */
async function fromFrontend(namespace: TestNamespace, url: string): Promise<{ servedBy: string; version?: string }> {
  const script = `fetch('${url}').then(async (r) => console.log(await r.text()))`;
  return JSON.parse(await namespace.kubectl(['exec', 'deploy/frontend', '--', 'node', '-e', script])) as {
    servedBy: string;
    version?: string;
  };
}

async function tied(namespace: TestNamespace, machine: Machine): Promise<void> {
  const here = 'on my machine';
  const run = `VERSION="${here}" exec ${machine.checkout}/node_modules/.bin/node ${machine.checkout}/examples/shop/stats-api.ts`;
  const connect = [
    'connect',
    'deploy/stats-api',
    '-n',
    namespace.name,
    '--port',
    '3001',
    '--agent-image',
    agentImage,
    '--progress',
    '--',
    'sh',
    '-c',
    run,
  ];
  shown(`bowline ${connect.slice(0, -1).join(' ')} '${run.replace('exec ', '')}'`);
  const bowline = machine.spawn([`${machine.checkout}/bowline`, ...connect], { env: { NO_COLOR: '1' } });
  for (const stream of [bowline.stdout, bowline.stderr])
    stream?.on('data', (chunk: Buffer) => output(chunk.toString()));
  const ended = new Promise<number | null>((resolve) => bowline.once('close', (code) => resolve(code)));
  try {
    await namespace.waitFor('an answer from the machine', async () => {
      assert.equal(bowline.exitCode, null, 'bowline ended early; its output is above');
      return (await fromFrontend(namespace, 'http://stats-api/stats')).version === here;
    });
    title('5. A request from inside the cluster is answered by the process on the machine');
    shown('kubectl exec deploy/frontend -- fetch http://stats-api/stats');
    const answer = await fromFrontend(namespace, 'http://stats-api/stats');
    output(JSON.stringify(answer, null, 2));
    // It has the pod's host name too; what it was started with tells it from the pod.
    assert.equal(answer.version, here);

    title('6. The machine reaches the database and the other services by their names');
    const password = await secret(namespace, 'password');
    const user = await secret(namespace, 'username');
    assert.match(
      await onMachine(
        machine,
        `PGPASSWORD=${password} psql -h postgres -U ${user} -d shop -Atc 'SELECT count(*) FROM articles'`,
      ),
      /^\d+$/m,
    );
    assert.match(await onMachine(machine, 'redis-cli -h redis PING'), /PONG/);
    assert.match(
      await onMachine(machine, `curl -sS http://catalog.${namespace.name}.svc.cluster.local/articles | head -c 120`),
      /articles/,
    );
    await onMachine(machine, `${machine.checkout}/bowline status`);

    title('7. Untie: the command ends, and with it the connection');
    shown('Ctrl-C');
  } finally {
    interrupt(bowline);
    await ended;
  }
}

const interrupt = (child: ChildProcess): void => void (child.exitCode === null && child.kill('SIGINT'));

async function secret(namespace: TestNamespace, key: string): Promise<string> {
  const { data } = await namespace.get<{ data: Record<string, string> }>('secret', 'postgres');
  return Buffer.from(data[key] ?? '', 'base64').toString();
}

async function demo(): Promise<void> {
  title('1. A real Kubernetes');
  const cluster = await useCluster((line) => print(`  ${line}`), interrupted.signal);
  print(`  ${cluster.description}`);

  title('2. A shop in it: frontend, catalog, cart, stats-api, PostgreSQL, Redis');
  await using namespace = await createNamespace(cluster, { prefix: 'shop', signal: interrupted.signal });
  await deployShop(namespace);
  output(await namespace.kubectl(['get', 'pods,services']));

  title("3. A developer's machine: another network, an ordinary user, no way to pods or services");
  await using machine = await startMachine({ cluster, name: 'laptop' }, interrupted.signal);
  await onMachine(machine, `${machine.checkout}/bowline helper install`);
  const before = { cluster: await snapshot(cluster, namespace.name), hosts: machine.hosts() };
  const original = await fromFrontend(namespace, 'http://stats-api/stats');
  output(`before, stats-api is served by pod ${original.servedBy}, version ${original.version}`);

  title('4. Tie it to stats-api, and run the service here');
  await tied(namespace, machine);

  title('8. Everything is as it was');
  const served = await fromFrontend(namespace, 'http://stats-api/stats');
  output(`stats-api is served by pod ${served.servedBy}, version ${served.version}`);
  assert.equal(served.servedBy, original.servedBy);
  const difference = diffSnapshots(before.cluster, await snapshot(cluster, namespace.name));
  assert.equal(difference, '', 'the cluster is not as it was');
  output('every object of the namespace, compared byte for byte: no difference');
  assert.equal(machine.hosts(), before.hosts, 'the hosts file is not as it was');
  output('the hosts file: no difference');
  await onMachine(machine, `${machine.checkout}/bowline daemon stop`);
  await onMachine(machine, `${machine.checkout}/bowline helper uninstall`);
}

const clusterName = nameOrEnd();
const keep =
  process.argv.includes('--keep') ||
  process.env['BOWLINE_TEST_KUBECONFIG'] !== undefined ||
  (await status(clusterName))?.running === true;

/** A name that cannot be one is a mistake of whoever calls. */
function nameOrEnd(): string {
  try {
    return instanceName();
  } catch (error) {
    process.stderr.write(`demo: ${(error as Error).message}\n`);
    return process.exit(2);
  }
}

/** What stays behind, and how to come to it. */
function farewell(): string {
  const given = process.env['BOWLINE_TEST_KUBECONFIG'];
  if (given !== undefined) return `The cluster of ${given} was used, and is as it was.`;
  if (!keep) return '`npm run demo -- --keep` leaves the cluster up, to try things on it.';
  return [
    'The cluster stays up:',
    `  export KUBECONFIG=${findInstance(clusterName)?.kubeconfig}`,
    '  npm run cluster -- status   what there is, and where kubectl is',
    '  npm run cluster -- down     ends it',
  ].join('\n');
}

try {
  await demo();
  print(`\n${styleText('green', 'Done.')} ${farewell()}`);
} catch (error) {
  if (interrupted.signal.aborted) print('\nInterrupted.');
  else {
    print(`\n${styleText('red', 'The demo failed:')} ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
} finally {
  if (!keep) await down(clusterName, { report: (line) => print(`  ${line}`), signal: new AbortController().signal });
}
