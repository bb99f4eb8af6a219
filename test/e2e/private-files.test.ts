/**
 * A COMMAND in the place of the pod, on a machine without the helper: its files stand at their real paths, names resolve,
 * the machine outside sees none of it, and where user namespaces are off it runs with paths in variables.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { after, afterEach, before, suite, test } from 'node:test';
import type { FidelityReport } from '../../cli/fidelity/compare.ts';
import { namespaceOf, processesIn } from '../cluster/processes.ts';
import { waitUntil } from '../cluster/wait.ts';
import { ended, speaks, startDeveloper, type Developer } from './developer.ts';

const account = '/var/run/secrets/kubernetes.io/serviceaccount';

void suite('private files', { timeout: 300_000 }, () => {
  let dev: Developer;
  let untouched: () => Promise<void>;

  before(async () => {
    dev = await startDeveloper({ name: 'private', helper: false });
    await dev.namespace.apply(objects(dev.cluster.nodeImage));
    await dev.namespace.rollout('deploy/reader');
    untouched = await dev.whole();
  });
  after(() => dev?.[Symbol.asyncDispose]());
  afterEach(() => untouched());

  const connect = (...command: string[]): string[] => [
    'connect',
    'deploy/reader',
    '-n',
    dev.namespace.name,
    '--port',
    '8080',
    ...command,
  ];
  const inPlace = async (script: string, ...options: string[]): Promise<string> => {
    const { exitCode, stdout, stderr } = await dev.bowline(connect(...options, '--', 'sh', '-ec', script));
    assert.equal(exitCode, 0, `${script}: ${stderr}${stdout}`);
    return stdout;
  };

  test('ConfigMap, Secret, subPath, items and emptyDir stand where the pod has them', async () => {
    const script = [
      'cat /etc/reader/app.yaml; cat /srv/reader/only.txt; cat /var/lib/reader/password; cat /reader-work/made',
      'readlink /etc/reader/app.yaml; ! touch /etc/reader/x 2>/dev/null; echo mine > /reader-work/mine; cat /reader-work/mine',
      'echo "$CONFIG"',
    ].join('; ');
    assert.deepEqual((await inPlace(script)).split('\n'), [
      'level: info',
      'only this',
      'a-password',
      'made by init',
      '..data/app.yaml',
      'mine',
      '/etc/reader/app.yaml',
      '',
    ]);
    for (const path of ['/etc/reader', '/srv/reader', '/var/lib/reader', '/reader-work'])
      assert.ok(!existsSync(dev.machine.path(path)), path);
  });

  test('the host name is that of the pod, and so is the variable; what the pod may not write the command may not', async () => {
    const { items } = await dev.namespace.get<{ items: Array<{ metadata: { name: string } }> }>(
      'pods',
      '-l',
      'app=reader',
    );
    const [pod] = items.map(({ metadata }) => metadata.name);
    assert.equal(
      await inPlace(
        'hostname; echo $HOSTNAME; getent hosts $HOSTNAME | tr -s " "; ! touch /reader-lent/x 2>/dev/null; cat /reader-lent/made',
      ),
      `${pod}\n${pod}\n127.0.1.1 ${pod}\nmade by init\n`,
    );
  });

  test("a path at which the machine's own stays: the variable leads to the copy, and that is said", async () => {
    const { exitCode, stdout, stderr } = await dev.bowline(
      connect('--', 'sh', '-ec', 'cat "$TEMPORARY/made"; echo "$TEMPORARY"; test ! -e /tmp/made'),
    );
    assert.equal(exitCode, 0, stderr);
    const [text, path = ''] = stdout.split('\n');
    assert.equal(text, 'made by init');
    assert.match(path, /\/volumes\/work$/);
    assert.match(stderr, /The machine's own stays at \/tmp \(\/tmp is the machine's own\)/);
    const report = await dev.bowline(['doctor', 'deploy/reader', '-n', dev.namespace.name, '--fidelity', '--json']);
    const { rows } = JSON.parse(report.stdout) as FidelityReport;
    const row = (name: string) => rows.find((each) => each.name === name);
    assert.deepEqual(
      [row('TEMPORARY')?.state, row('TEMPORARY')?.reason],
      ['rewritten', 'the same file on this machine'],
    );
    assert.match(row('/tmp/made')?.reason ?? '', /^it lies below .*\/volumes\/work$/);
    assert.equal(row('CONFIG')?.state, 'equal');
  });

  test("kubectl finds the cluster by itself, as the pod's service account", async () => {
    const whoami = 'env -u KUBECONFIG HOME=/etc/reader kubectl auth whoami -o jsonpath={.status.userInfo.username}';
    assert.equal(
      await inPlace(`cat ${account}/namespace; echo; ${whoami}`),
      `${dev.namespace.name}\nsystem:serviceaccount:${dev.namespace.name}:reader`,
    );
  });

  test('names resolve inside only', async () => {
    const out = await inPlace('getent hosts reader reader.$NS.svc.cluster.local printer localhost; id -un; pwd');
    assert.match(out, /^127\.66\.\d+\.\d+ +reader/m);
    assert.match(out, /^192\.0\.2\.7 +printer/m);
    assert.ok(out.endsWith(`dev\n${dev.machine.home}\n`), out);
    assert.equal((await dev.machine.run(['getent', 'hosts', 'reader'])).exitCode, 2);
    const off = await dev.bowline(connect('--private-files', 'off', '--', 'getent', 'hosts', 'reader'));
    assert.equal(off.exitCode, 2);
  });

  test('an edited ConfigMap is seen at the real path while the command runs', async () => {
    const script =
      'cat /etc/reader/app.yaml; until grep -q debug /etc/reader/app.yaml; do sleep 0.05; done; cat /etc/reader/*';
    const command = dev.start(connect('--', 'sh', '-ec', script));
    const end = ended(command);
    await speaks(command);
    const edit = (level: string): Promise<string> =>
      dev.namespace.kubectl([
        'patch',
        'configmap',
        'reader',
        '--type=merge',
        '-p',
        JSON.stringify({ data: { 'app.yaml': `level: ${level}\n` } }),
      ]);
    await edit('debug');
    let round = 0;
    const stop = new AbortController();
    // kubelet looks at a pod's volumes now and then, and at once when the pod changes.
    const nudging = waitUntil(
      async () => {
        const { agent } = await dev.connection();
        await dev.namespace.kubectl(['annotate', 'pod', agent?.pod ?? '', '--overwrite', `nudge=${(round += 1)}`]);
        return undefined;
      },
      { what: 'the end of the command', interval: 1000, timeout: 120_000, signal: stop.signal },
    ).catch(() => undefined);
    const { exitCode, stdout, stderr } = await end;
    stop.abort();
    await nudging;
    assert.deepEqual([exitCode, stdout], [0, 'level: info\nlevel: debug\nonly this\n'], stderr);
    await edit('info');
  });

  test('killed with SIGKILL, neither the command line nor the command leaves anything', async () => {
    const script = `cat ${account}/namespace; echo; echo $$; exec sleep 300`;
    const command = dev.start(connect('--', 'sh', '-ec', script));
    const said: string[] = [];
    command.stdout?.on('data', (chunk: Buffer) => said.push(chunk.toString()));
    const pid = await waitUntil(() => /\n(\d+)\n/.exec(said.join(''))?.[1], { what: 'the command' });
    const network = namespaceOf(Number(pid), 'net')!;
    assert.ok(processesWith('private-files', network).length > 0);
    command.kill('SIGKILL');
    await waitUntil(async () => (await dev.status()).connections.length === 0, { what: 'the release' });
    await waitUntil(() => !existsSync(`/proc/${pid}`), { what: 'the end of the command' });
    await waitUntil(() => processesWith('private-files', network).length === 0, {
      what: 'the end of all that was in the place',
    });
    assert.deepEqual(readdirSync(dev.machine.path('/run/user/1500/bowline/private-files')), []);
  });

  test('without user namespaces: a line with the reason, and paths in variables', async () => {
    /** dev in a user namespace that allows no further one. */
    const limited = (...args: string[]): string[] => [
      'unshare',
      '--user',
      '--map-root-user',
      'sh',
      '-c',
      'echo 1 > /proc/sys/user/max_user_namespaces && exec unshare --user --map-user=1500 --map-group=1500 "$@"',
      'sh',
      `${dev.machine.checkout}/bowline`,
      ...args,
    ];
    const env = { BOWLINE_AGENT_IMAGE: dev.cluster.nodeImage, NO_COLOR: '1' };
    const script = 'cat "$CONFIG"; test ! -e /etc/reader';
    const fallen = await dev.machine.run(limited(...connect('--', 'sh', '-ec', script)), { env });
    assert.deepEqual([fallen.exitCode, fallen.stdout], [0, 'level: info\n'], fallen.stderr);
    assert.match(fallen.stderr, /^warning: .*real paths: user namespaces are off .*sysctl.*\n$/m);
    const wanted = await dev.machine.run(limited(...connect('--private-files', 'on', '--', 'true')), { env });
    assert.equal(wanted.exitCode, 7, wanted.stderr);
    assert.match(wanted.stderr, /^error\[PRIVATE_FILES_IMPOSSIBLE\]: .*\n +hint: .*sysctl/m);
    assert.deepEqual((await dev.status()).connections, []);
  });
});

/** Those of one machine, which is its network; they have the word in their command lines. */
function processesWith(word: string, network: string): number[] {
  return processesIn('net', network).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`/1500/bowline/${word}`);
    } catch {
      return false; // it has ended
    }
  });
}

function objects(image: string): object[] {
  const labels = { app: 'reader' };
  const meta = { name: 'reader' };
  const mount = (name: string, mountPath: string, more: object = {}): object => ({ name, mountPath, ...more });
  const work = mount('work', '/reader-work');
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta },
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: meta,
      data: { 'app.yaml': 'level: info\n', 'only.txt': 'only this\n' },
    },
    { apiVersion: 'v1', kind: 'Secret', metadata: meta, stringData: { one: 'a-password\n', two: 'not mounted\n' } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: meta,
      spec: { selector: labels, ports: [{ port: 80, targetPort: 8080 }] },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: meta,
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            serviceAccountName: 'reader',
            terminationGracePeriodSeconds: 0,
            initContainers: [
              {
                name: 'init',
                image,
                command: ['sh', '-c', 'echo made by init > /reader-work/made'],
                volumeMounts: [work],
              },
            ],
            containers: [
              {
                name: 'reader',
                image,
                command: ['node', '-e', 'require("node:http").createServer((q, a) => a.end()).listen(8080)'],
                ports: [{ containerPort: 8080 }],
                env: [
                  { name: 'CONFIG', value: '/etc/reader/app.yaml' },
                  { name: 'TEMPORARY', value: '/tmp' },
                  { name: 'NS', valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } },
                ],
                volumeMounts: [
                  work,
                  mount('work', '/reader-lent', { readOnly: true }),
                  mount('work', '/tmp'),
                  mount('config', '/etc/reader'),
                  mount('config', '/srv/reader/only.txt', { subPath: 'only.txt' }),
                  mount('secret', '/var/lib/reader', { readOnly: true }),
                ],
              },
            ],
            volumes: [
              { name: 'work', emptyDir: {} },
              { name: 'config', configMap: { name: 'reader' } },
              { name: 'secret', secret: { secretName: 'reader', items: [{ key: 'one', path: 'password' }] } },
            ],
          },
        },
      },
    },
  ];
}
