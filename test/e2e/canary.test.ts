/**
 * Values planted in Secrets are looked for, plain and encoded, in everything that Bowline writes, prints, answers, sends
 * to the cluster or shows in process lists, after a run with faults in it. They may be in the program's variables and
 * files, and nowhere else.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { after, before, suite, test } from 'node:test';
import { nodeImage } from '../cluster/stock-images.ts';
import { must } from '../cluster/run.ts';
import { waitUntil } from '../cluster/wait.ts';
import { speaks, startDeveloper, type Developer } from './developer.ts';

/** With characters that every encoding writes otherwise. */
const plant = (name: string): string => `${name}/+&=?%"${randomBytes(12).toString('hex')}'ü`;
const canaries = {
  variable: plant('variable'),
  file: plant('file'),
  init: plant('init'),
  line: plant('line'),
  entry: plant('entry'),
};
/** What no quoting changes. */
const randomOf = (value: string): string => /[0-9a-f]{24}/.exec(value)![0];

/** The ways in which a value may be written down. A piece of base64 depends on what stands before the value. */
function traces(value: string): Array<[how: string, text: string]> {
  const bytes = Buffer.from(value);
  const base64 = [0, 1, 2].map((before): [string, string] => {
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64');
    return [`base64 after ${before}`, text.slice(4, -4)];
  });
  return [
    // Found in the value itself, its JSON, its URL encoding, a line of a shell.
    ['plain or quoted', randomOf(value)],
    ...base64,
    ...base64.map(([how, text]): [string, string] => [
      `${how}, for URLs`,
      text.replaceAll('+', '-').replaceAll('/', '_'),
    ]),
    ['hexadecimal', bytes.toString('hex').slice(0, 40)],
    ['URL', encodeURIComponent(value)],
  ];
}

void suite('secrets stay secret', { timeout: 600_000 }, () => {
  let dev: Developer;
  let untouched: () => Promise<void>;
  /** What was written or said, by its name. */
  const collected: Array<{ what: string; text: string }> = [];
  const note = (what: string, text: string): void => void collected.push({ what, text });

  before(async () => {
    dev = await startDeveloper({ name: 'canary', helper: true });
    await dev.namespace.apply(objects());
    await dev.namespace.rollout('deploy/keeper', 120_000);
    untouched = await dev.whole();
  });
  after(() => dev?.[Symbol.asyncDispose]());

  const target = (): string[] => ['deploy/keeper', '-n', dev.namespace.name];
  /** A command that is not asked for values: whatever it says is looked through. */
  const say = async (...args: string[]): Promise<number> => {
    const { exitCode, stdout, stderr } = await dev.bowline(args, { timeout: 180_000 });
    note(`bowline ${args.join(' ')}`, stdout + stderr);
    return exitCode;
  };

  test('a run with everything: commands, events, status, faults, a crash', async () => {
    // Throws what nobody catches when it is told to, as an error of ours would.
    const crash = `${dev.machine.home}/crash.mjs`;
    await dev.sh(`cat > ${crash}`, {
      input: `process.on('SIGUSR2', () => setImmediate(() => { throw new Error('made to crash'); }));\n`,
    });
    await dev.must(['daemon', 'start'], {
      env: { BOWLINE_LOG_LEVEL: 'debug', NODE_OPTIONS: `--import=${crash}` },
    });
    const events = listenToEvents(dev);
    assert.equal(await say('connect', ...target(), '--dry-run'), 0);
    assert.equal(await say('connect', ...target(), '--dry-run', '--json'), 0);

    // The program has them all, at their places: without this the rest would prove nothing.
    const has = 'printf "%s\\n" "$PASSWORD"; cat /etc/keeper/file /work/config; echo; read -r _';
    const program = dev.start(['connect', ...target(), '--port', '8080', '--progress', '--', 'sh', '-ec', has]);
    const said: string[] = [];
    const complaints: string[] = [];
    program.stdout?.on('data', (chunk: Buffer) => said.push(chunk.toString()));
    program.stderr?.on('data', (chunk: Buffer) => complaints.push(chunk.toString()));
    const closed = once(program, 'close');
    await speaks(program);
    await waitUntil(() => said.join('').includes(canaries.init), { what: 'the program with all values' });
    assert.ok(said.join('').includes(canaries.variable) && said.join('').includes(canaries.file));
    note('process lists', processLists());
    for (const args of [
      ['status'],
      ['status', '--json'],
      ['list'],
      ['list', '--json'],
      ['env', '--diff'],
      ['doctor', '--json'],
    ])
      await say(...args);
    await say('doctor', ...target(), '--fidelity');
    await say('doctor', ...target(), '--fidelity', '--json');
    note('objects of the session', await clusterText(dev));

    // The helper and the agent crash, the agent goes, and then the daemon crashes.
    const helper = Number(await dev.sh('cat /var/lib/bowline/1500.pid', { user: 'root' }));
    process.kill(helper, 'SIGABRT');
    await waitUntil(async () => !(await dev.status()).helper.installed, { what: "notice of the helper's end" });
    await say('status');
    assert.equal(await say('helper', 'install'), 0);
    note('crash of the agent', await crashAgent(dev));
    const { agent } = await dev.connection();
    const pod = agent?.pod ?? '';
    note('log of the keeper', await dev.namespace.kubectl(['logs', 'deploy/bowline-keeper', '--all-containers']));
    note('log of the agent', await dev.namespace.kubectl(['logs', pod, '--all-containers']));
    await dev.namespace.kubectl(['delete', 'pod', pod, '--grace-period=0', '--force']);
    await waitUntil(
      async () => {
        const now = await dev.connection();
        return now.state === 'connected' && now.agent?.pod !== pod;
      },
      { what: 'the connection with another agent', timeout: 90_000 },
    );
    const { daemon } = await dev.status();
    assert.match(readFileSync(`/proc/${daemon.pid}/limits`, 'utf8'), /^Max core file size +0 +0 /m);
    process.kill(daemon.pid, 'SIGUSR2');
    await waitUntil(
      async () => {
        const { exitCode, stdout } = await dev.bowline(['status', '--json']);
        const now = JSON.parse(exitCode === 0 ? stdout : '{}') as { daemon?: { pid: number } };
        return now.daemon !== undefined && now.daemon.pid !== daemon.pid;
      },
      { what: 'another daemon', timeout: 60_000 },
    );
    await waitUntil(async () => (await dev.connection()).state === 'connected', {
      what: 'the connection, taken up again',
      timeout: 90_000,
    });
    note('objects after the faults', await clusterText(dev));
    assert.equal(await say('diagnostics', '--output', '-'), 0);
    assert.equal(await say('logs'), 0);
    program.stdin?.end('\n');
    assert.deepEqual(await closed, [0, null], complaints.join(''));
    note('standard error of connect', complaints.join(''));
    const heard = await events.end();
    assert.ok(heard.includes('"event":"connected"') && heard.includes('/etc/keeper'), 'the events were heard');
    note('events of the daemon', heard);
    await untouched();
  });

  test('what is refused: a volume that is too large, an unknown format, names that do not exist', async () => {
    assert.equal(await say('connect', ...target(), '--max-volume', '1', '--json'), 0);
    await waitUntil(
      async () => (await dev.connection()).files?.mounts.every(({ state }) => state === 'skipped' || state === 'ready'),
      { what: 'the refused volumes' },
    );
    await say('status');
    await say('env', '--format', 'nothing');
    await say('env', 'keepr');
    await say('env', '--only', 'PASSWRD');
    await say('connect', ...target());
    assert.equal(await say('disconnect', '--json'), 0);
    await untouched();
  });

  test('an environment file with a secret on a bad line: its owner sees the line, and nobody else', async () => {
    const file = `${dev.machine.home}/azds-local.env`;
    await dev.sh(`cat > ${file}`, { input: `PASSWORD="${canaries.line}\nOTHER=\${nothing.x}${canaries.line}\n` });
    const { exitCode, stderr } = await dev.bowline(['connect', ...target(), '--env-file', file]);
    assert.equal(exitCode, 2);
    assert.match(stderr, /ENVIRONMENT_FILE_INVALID/);
    // Another client has not looked at it before; what it is told may end in its log.
    const body = JSON.stringify({
      kubeconfig: dev.machine.kubeconfig,
      namespace: dev.namespace.name,
      target: 'deploy/keeper',
      environmentFile: { path: file, text: await dev.sh(`cat ${file}`) },
    });
    const script = `
      import { openClient } from '${dev.machine.checkout}/api/client.ts';
      import { pathsOf, platformFacts } from '${dev.machine.checkout}/api/paths.ts';
      import { json } from 'node:stream/consumers';
      const facts = platformFacts();
      const client = await openClient(pathsOf(facts), facts.uid);
      await client.call('planConnect', { body: await json(process.stdin) }).then(
        () => process.exit(1),
        (error) => console.log(JSON.stringify(error.toShape())),
      );`;
    const node = ['node', '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script];
    const answer = await dev.machine.run(node, { input: body });
    assert.equal(answer.exitCode, 0, answer.stderr);
    assert.match(answer.stdout, /ENVIRONMENT_FILE_INVALID/);
    note('the answer of the API to a bad environment file', answer.stdout);
    await dev.sh(`rm ${file}`);
    await untouched();
  });

  test('a secret in a right environment file: in the saved session, for its owner only, until the connection ends', async () => {
    const { home } = dev.machine;
    const [file, watched] = [`${home}/azds-local.env`, `${home}/watched.env`];
    const mark = randomOf(canaries.entry);
    const holders = async (): Promise<string[]> => {
      const found = await dev.sh(`grep -rlF ${mark} ${home} /run/user/1500 /tmp /dev/shm 2>/dev/null || true`);
      return found.split('\n').filter((each) => each !== '');
    };
    await dev.sh(`cat > ${file}`, { input: `API_KEY=\`${canaries.entry}\`\n` });
    assert.equal(await say('connect', ...target(), '--env-file', file), 0);
    await dev.sh(`rm ${file}`);
    for (const args of [['status', '--json'], ['list', '--json'], ['env', '--diff'], ['logs']]) await say(...args);
    note('objects of the session with an environment file', await clusterText(dev));
    note('process lists with an environment file', processLists());

    const { exitCode, stdout } = await dev.bowline(['diagnostics'], { cwd: home });
    const written = stdout.trim();
    assert.deepEqual([exitCode, written.startsWith(`${home}/bowline-diagnostics-`)], [0, true]);
    assert.equal(await dev.sh(`stat -c '%a %U' ${written}`), '600 dev');

    // Killed, it cannot remove what it was asked to write; beside that it leaves nothing.
    const watching = dev.start(['env', '--format', 'dotenv', '--watch', watched]);
    const said = Promise.all([text(watching.stdout!), text(watching.stderr!)]);
    await waitUntil(() => readIfThere(dev.machine.path(watched)).includes(mark), { what: 'the watched file' });
    watching.kill('SIGKILL');
    note('env --watch that was killed', (await said).join(''));
    const [session = '', ...others] = (await holders()).filter((each) => each !== watched);
    assert.match(session, /\/sessions\/[^/]+\.json$/);
    assert.deepEqual(others, []);
    assert.equal(await dev.sh(`stat -c '%a %U' ${session} ${watched}`), '600 dev\n600 dev');
    await dev.sh(`rm ${watched}`);

    assert.equal(await say('disconnect'), 0);
    assert.deepEqual(await holders(), []);
    await untouched();
  });

  test('none of it is anywhere', async () => {
    for (const [what, folder] of [
      ['files of the user', dev.machine.home],
      ['runtime folder', '/run/user/1500'],
      ['log and journal of the helper', '/var/lib/bowline'],
      ['shared memory', '/dev/shm'],
      ['temporary files', '/tmp'],
    ] as const)
      note(what, filesBelow(dev.machine.path(folder)));
    note('events of Kubernetes', await dev.namespace.kubectl(['get', 'events', '-o', 'json']));
    const found = collected.flatMap(({ what, text }) =>
      Object.entries(canaries).flatMap(([name, value]) =>
        traces(value)
          .filter(([, trace]) => text.includes(trace))
          .map(([how]) => `${name}, ${how}: in ${what}`),
      ),
    );
    assert.deepEqual(found, []);
    assert.ok(collected.length > 20);
  });
});

/** Everything that the daemon announces, and the next one when it has gone. */
function listenToEvents({ machine }: Developer): { end: () => Promise<string> } {
  const script = `
    import { setTimeout } from 'node:timers/promises';
    import { openClient } from '${machine.checkout}/api/client.ts';
    import { pathsOf, platformFacts } from '${machine.checkout}/api/paths.ts';
    process.stdin.resume().once('end', () => process.exit());
    const facts = platformFacts();
    for (;;) {
      try {
        const client = await openClient(pathsOf(facts), facts.uid);
        for await (const line of client.stream('events', { query: { since: 0 } })) console.log(JSON.stringify(line));
      } catch {
        await setTimeout(50); // there is none now
      }
    }`;
  const child = machine.spawn(['node', '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script]);
  const heard = text(child.stdout!);
  return {
    async end() {
      child.stdin?.end();
      return heard;
    },
  };
}

/** By an error that nobody catches, and then by the way in which the runtime ends itself; what it says of both, and before. */
async function crashAgent(dev: Developer): Promise<string> {
  const { cluster, namespace } = dev;
  assert.ok(cluster.instance, 'its processes are seen on a node of our own only');
  const pod = (await dev.connection()).agent?.pod ?? '';
  const { metadata } = await namespace.get<{ metadata: { uid: string } }>(`pod/${pod}`);
  const pid = readdirSync('/proc').find((each) => {
    const [cgroup = '', line = ''] = ['cgroup', 'cmdline'].map((file) => readIfThere(`/proc/${each}/${file}`));
    return cgroup.replaceAll('_', '-').includes(metadata.uid) && line.includes('node');
  });
  // No signal of others ends the first process of a container; its debugger listens after this one.
  process.kill(Number(pid), 'SIGUSR1');
  const throwing = `
    import { setTimeout } from 'node:timers/promises';
    const targets = () => fetch('http://127.0.0.1:9229/json/list').then((answer) => answer.json(), () => []);
    let target;
    while ((target = (await targets())[0]) === undefined) await setTimeout(50);
    const socket = new WebSocket(target.webSocketDebuggerUrl);
    socket.onclose = () => process.exit();
    const expression = 'setImmediate(() => { setImmediate(() => process.abort()); throw new Error("made to crash"); })';
    socket.onopen = () => socket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression } }));`;
  const node = [process.execPath, '--input-type=module', '-e', throwing];
  await must(['nsenter', '--net', `--target=${pid}`, ...node], { timeout: 30_000 });
  await waitUntil(
    async () => {
      const { status } = await namespace.get<{ status: { containerStatuses: Array<{ restartCount: number }> } }>(
        `pod/${pod}`,
      );
      return status.containerStatuses.some(({ restartCount }) => restartCount > 0);
    },
    { what: 'the agent started again', timeout: 60_000 },
  );
  const said = await namespace.kubectl(['logs', pod, '--previous']);
  assert.match(said, /made to crash/);
  await waitUntil(async () => (await dev.connection()).state === 'connected', {
    what: 'the connection',
    timeout: 90_000,
  });
  return said;
}

/** Empty when it has gone, or is not there yet. */
function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'latin1').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

/** Command lines and titles of all processes, and the variables of those that are ours and not the user's program. */
function processLists(): string {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      const line = readIfThere(`/proc/${pid}/cmdline`) + readIfThere(`/proc/${pid}/comm`);
      const ours = /\/(daemon|helper|cli)\/main\.ts/.test(line);
      return `${line}\n${ours ? `${readIfThere(`/proc/${pid}/environ`)}\n` : ''}`;
    })
    .join('');
}

/** All objects of the namespace but the Secrets of the test itself; ours decoded. */
async function clusterText(dev: Developer): Promise<string> {
  const kinds = 'pods,replicasets,deployments,services,endpointslices,configmaps,leases,serviceaccounts,events';
  const objects = await dev.namespace.kubectl(['get', kinds, '-o', 'json']);
  const secrets = await dev.namespace.get<{ items: Array<{ data?: Record<string, string> }> }>(
    'secrets',
    '-l',
    'app.kubernetes.io/managed-by=bowline',
  );
  const decoded = secrets.items.flatMap(({ data = {} }) =>
    Object.values(data).map((value) => Buffer.from(value, 'base64').toString()),
  );
  return [objects, ...decoded].join('\n');
}

function filesBelow(folder: string): string {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => {
      try {
        return `${name}\n${readFileSync(`${parentPath}/${name}`, 'latin1')}\n`;
      } catch {
        return ''; // just gone
      }
    })
    .join('');
}

function objects(): object[] {
  const labels = { app: 'keeper' };
  const image = { image: nodeImage, imagePullPolicy: 'IfNotPresent' };
  const meta = { name: 'keeper' };
  const secret = (key: string) => ({ secretKeyRef: { name: 'keeper', key } });
  const work = { name: 'work', mountPath: '/work' };
  return [
    { apiVersion: 'v1', kind: 'Secret', metadata: meta, stringData: canaries },
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
            terminationGracePeriodSeconds: 0,
            initContainers: [
              {
                name: 'render',
                ...image,
                command: ['sh', '-c', 'printf %s "$INIT" > /work/config'],
                env: [{ name: 'INIT', valueFrom: secret('init') }],
                volumeMounts: [work],
              },
            ],
            containers: [
              {
                name: 'keeper',
                ...image,
                command: ['node', '-e', 'require("node:http").createServer((q, a) => a.end()).listen(8080)'],
                ports: [{ containerPort: 8080 }],
                env: [
                  { name: 'PASSWORD', valueFrom: secret('variable') },
                  { name: 'URL', value: 'postgres://keeper:$(PASSWORD)@database/' },
                ],
                volumeMounts: [{ name: 'secret', mountPath: '/etc/keeper' }, work],
              },
            ],
            volumes: [
              { name: 'secret', secret: { secretName: 'keeper', items: [{ key: 'file', path: 'file' }] } },
              { name: 'work', emptyDir: {} },
            ],
          },
        },
      },
    },
  ];
}
