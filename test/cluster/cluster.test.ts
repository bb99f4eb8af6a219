/** The cluster of a name of its own: up, hurt, and down again without a trace. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { down, status, up } from './cluster.ts';
import { findInstance } from './instance.ts';
import { startMachine } from './machine.ts';
import { createNamespace } from './namespace.ts';
import { findNode } from './node.ts';
import { kill } from './processes.ts';
import { must } from './run.ts';
import { ownCluster } from './test-cluster.ts';
import { waitUntil } from './wait.ts';
import { startWorker } from './worker.ts';
import type { Instance } from './instance.ts';

const name = 'selftest';
const said: string[] = [];
const options = { report: (line: string) => void said.push(line) };

void describe('a cluster', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let instance: Instance;
  let untouched: Traces;

  before(async () => {
    await down(name, options);
    untouched = await traces();
    instance = await up(name, options);
  });
  after(async () => {
    await down(name, options);
  });

  void test('runs a pod that is found by its name', async () => {
    await using namespace = await createNamespace(ownCluster(instance));
    await namespace.apply([httpd, service]);
    await namespace.kubectl(['wait', 'pod/httpd', '--for=condition=Ready', '--timeout=30s']);
    const page = await namespace.waitFor('answer by name', () =>
      namespace.kubectl(['exec', 'httpd', '--', 'wget', '-q', '-O', '-', 'http://web/etc/hostname']),
    );
    assert.equal(page.trim(), 'httpd');
  });

  void test('refuses what the restricted Pod Security level forbids', async () => {
    await using namespace = await createNamespace(ownCluster(instance), {
      labels: { 'pod-security.kubernetes.io/enforce': 'restricted' },
    });
    await assert.rejects(namespace.apply([httpd]), /violates PodSecurity/);
  });

  void test('up again changes nothing and is quick', async () => {
    const node = findNode(instance);
    const began = performance.now();
    await up(name, options);
    assert.deepEqual(findNode(instance), node);
    assert.ok(performance.now() - began < 5000);
  });

  void test('two ups at the same time are one after the other', async () => {
    const node = findNode(instance);
    await Promise.all([up(name, options), up(name, options)]);
    assert.deepEqual(findNode(instance), node);
  });

  void test('a killed kubelet comes back by itself', async () => {
    const [first] = kubelets(instance);
    assert.ok(first !== undefined);
    kill(first);
    await waitUntil(() => kubelets(instance).some((pid) => pid !== first), { what: 'another kubelet' });
    await waitUntil(async () => (await status(name))?.ready, { what: 'readiness' });
  });

  void test('a node that was killed is made afresh by up', async () => {
    const node = findNode(instance);
    assert.ok(node !== undefined);
    kill(node.pid);
    await waitUntil(() => findNode(instance) === undefined, { what: 'end of the node' });
    instance = await up(name, options);
    assert.equal((await status(name))?.ready, true);
  });

  void test('down leaves nothing, after a crash and with machines, a worker and pods', async () => {
    const cluster = ownCluster(instance);
    const machine = await startMachine({ cluster, name: 'forgotten' });
    machine.spawn(['sleep', '600']).unref();
    await startWorker(cluster);
    await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(httpd) });
    await cluster.kubectl(['wait', 'pod/httpd', '--for=condition=Ready', '--timeout=30s']);
    const node = findNode(instance);
    assert.ok(node !== undefined);
    kill(node.pid);
    await down(name, options);
    assert.equal(findInstance(name), undefined);
    assert.equal(existsSync(instance.folder), false);
    assert.deepEqual(processesNaming(instance.folder), []);
    assert.deepEqual(added(untouched, await traces()), []);
  });
});

const httpd = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'httpd', labels: { app: 'httpd' } },
  spec: {
    containers: [
      {
        name: 'httpd',
        image: 'bowline.test/node:24',
        command: ['httpd', '-f', '-p', '8080', '-h', '/'],
        readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
      },
    ],
  },
};

const service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web' },
  spec: { selector: { app: 'httpd' }, ports: [{ port: 80, targetPort: 8080 }] },
};

type Traces = Record<string, string[]>;

/** All that a cluster might leave on this machine, as names; without /tmp, where everybody comes and goes. */
async function traces(): Promise<Traces> {
  const folders = [
    '/etc',
    '/run',
    '/run/lock',
    '/run/netns',
    '/usr/libexec',
    '/var/lib',
    '/var/lib/cni',
    '/var/log',
    '/var/run',
  ];
  return {
    links: lines(await must(['ip', '-o', 'link'])).map((line) => line.split(/[:@]/)[1]?.trim() ?? ''),
    routes: lines(await must(['ip', 'route', 'show', 'table', 'all'])),
    rules: lines(await must(['iptables-save'])).filter((line) => !line.startsWith('#')),
    mounts: lines(readFileSync('/proc/self/mountinfo', 'utf8')).map((line) => line.split(' ')[4] ?? ''),
    cgroups: readdirSync('/sys/fs/cgroup').flatMap((tree) => childrenOf(join('/sys/fs/cgroup', tree))),
    files: folders.flatMap(childrenOf),
  };
}

function added(before: Traces, after: Traces): string[] {
  return Object.entries(after).flatMap(([kind, lines]) =>
    lines.filter((line) => before[kind]?.includes(line) !== true).map((line) => `${kind}: ${line}`),
  );
}

/** Without the children of this process: what a test asks the cluster with ends with the test. */
function processesNaming(text: string): number[] {
  const found = readdirSync('/proc').filter((entry) => /^\d+$/.test(entry) && commandOf(Number(entry)).includes(text));
  return found.map(Number).filter((pid) => pid !== process.pid && parentOf(pid) !== process.pid);
}

function parentOf(pid: number): number | undefined {
  try {
    // After the name, which may hold anything: state, parent.
    return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[1]);
  } catch {
    return undefined;
  }
}

function kubelets(instance: Instance): number[] {
  return processesNaming(join(instance.bin, 'kubelet'));
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

function childrenOf(folder: string): string[] {
  return existsSync(folder) && statSync(folder).isDirectory()
    ? readdirSync(folder).map((entry) => join(folder, entry))
    : [];
}
