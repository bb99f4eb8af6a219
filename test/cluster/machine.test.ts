/** The developer's machine on the cluster that serves: what it reaches, what it does not, and that it leaves nothing. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { deployEcho } from './load.ts';
import { startMachine } from './machine.ts';
import { createNamespace } from './namespace.ts';
import { processesIn } from './processes.ts';
import { useCluster } from './test-cluster.ts';
import { waitUntil } from './wait.ts';
import type { Machine } from './machine.ts';
import type { TestCluster } from './test-cluster.ts';

const given = process.env['BOWLINE_TEST_KUBECONFIG'] !== undefined;
const skip =
  process.getuid?.() !== 0 ? 'needs root' : given ? 'has a network of its own only with our own cluster' : false;

void describe('a machine', { skip }, () => {
  let cluster: TestCluster;
  let machine: Machine & AsyncDisposable;
  const shell = (script: string, user: 'dev' | 'root' = 'dev') =>
    machine.run(['sh', '-c', script], { user, timeout: 20_000 });

  before(async () => {
    cluster = await useCluster(() => undefined);
    machine = await startMachine({ cluster, name: `m-${process.pid}` });
  });
  after(() => machine[Symbol.asyncDispose]());

  void test('has a user without rights, who may use sudo', async () => {
    assert.equal((await shell('id -un; pwd; hostname')).stdout, `dev\n/home/dev\n${machine.name}\n`);
    assert.notEqual((await shell('touch /etc/x')).exitCode, 0);
    assert.equal((await shell('sudo id -u')).stdout, '0\n');
    assert.notEqual(hostname(), machine.name);
  });

  void test('reaches the API server with its kubeconfig', async () => {
    const { stdout } = await machine.run([cluster.kubectlPath, 'get', 'nodes', '-o', 'name']);
    assert.equal(stdout, 'node/node1\n');
  });

  void test('reaches no Service and no pod', async () => {
    const service = cluster.instance?.apiService;
    const result = await shell(`curl -k -sS -m 3 https://${service}`);
    assert.equal(result.exitCode, 7, result.stderr);
  });

  void test('reaches no pod even when it asks the node to forward', async () => {
    await using namespace = await createNamespace(cluster);
    await deployEcho(namespace, { name: 'echo' });
    const { items } = await namespace.get<{ items: Array<{ status: { podIP: string } }> }>('pods');
    const address = items[0]?.status.podIP;
    assert.ok(address !== undefined);
    const gateway = (
      await shell(`ip -4 route get ${cluster.instance?.nodeAddress} | grep -o 'via [^ ]*'`)
    ).stdout.trim();
    assert.equal((await shell(`ip route add ${address} ${gateway}`, 'root')).exitCode, 0);
    const result = await shell(`curl -sS -m 3 http://${address}:8080`);
    assert.equal(result.exitCode, 7, result.stderr);
  });

  void test('an unknown name fails at once', async () => {
    const began = performance.now();
    const result = await shell('getent hosts nowhere.example');
    assert.equal(result.exitCode, 2);
    assert.ok(performance.now() - began < 2000);
  });

  void test('its files are its own', async () => {
    const before = readFileSync('/etc/hosts', 'utf8');
    await shell(
      "sed 's/printer/plotter/' /etc/hosts > /etc/hosts.new && mv /etc/hosts.new /etc/hosts && touch /usr/left /tmp/left",
      'root',
    );
    assert.match(machine.hosts(), /plotter/);
    assert.equal(readFileSync('/etc/hosts', 'utf8'), before);
    assert.deepEqual(
      [existsSync('/usr/left'), existsSync(machine.path('/usr/left')), existsSync('/tmp/left')],
      [false, true, false],
    );
  });

  void test('the checkout can be read and not written', async () => {
    assert.equal((await machine.run(['node', '-p', '1+1'], { cwd: machine.checkout })).stdout, '2\n');
    assert.notEqual((await shell(`touch ${machine.checkout}/left`, 'root')).exitCode, 0);
  });

  void test('a started command has its own pid, and can be signalled', async () => {
    const child = machine.spawn(['sleep', '600']);
    await waitUntil(() => readFileSync(`/proc/${child.pid}/comm`, 'utf8') === 'sleep\n', { what: 'sleep' });
    const ended = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)));
    child.kill('SIGTERM');
    assert.equal(await ended, 'SIGTERM');
  });

  void test('nothing passes a cut link, and all does again when it is restored', async () => {
    const version = `curl -k -sS -m 2 https://${cluster.instance?.nodeAddress}:6443/version`;
    assert.equal((await shell(version)).exitCode, 0);
    await machine.cutLink();
    assert.equal((await shell(version)).exitCode, 28);
    await machine.restoreLink();
    await waitUntil(async () => (await shell(version)).exitCode === 0, { what: 'API server', timeout: 10_000 });
  });

  void test('two machines are side by side, and what runs in one ends with it', async () => {
    await using other = await startMachine({ cluster, name: `${machine.name}-b` });
    const network = (await other.run(['readlink', '/proc/self/ns/net'])).stdout.trim();
    other.spawn(['sh', '-c', 'setsid sleep 600 & sleep 600']);
    await waitUntil(() => processesIn('net', network).length >= 4, { what: 'both sleeps beside shell and holder' });
    await other[Symbol.asyncDispose]();
    assert.deepEqual(processesIn('net', network), []);
    assert.equal((await shell('true')).exitCode, 0);
  });
});
