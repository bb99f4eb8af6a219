/**
 * The command as people and scripts use it: a COMMAND in the pod's environment, Ctrl-C at every step, --json and --dry-run,
 * exit statuses, restore from nothing, mistakes, completion. After each test cluster and hosts file are as before.
 */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { after, afterEach, before, suite, test } from 'node:test';
import { parseEnv, stripVTControlCharacters } from 'node:util';
import { parse, stringify } from 'yaml';
import { type ClusterObjects, DaemonStatus, DoctorReport, Environment, Plan, Progress } from '../../api/schema.ts';
import { authority } from '../../daemon/cluster/testing/apiserver.ts';
import { deployShop } from '../../examples/shop/deploy.ts';
import { diffSnapshots, snapshot } from '../cluster/snapshot.ts';
import { waitUntil } from '../cluster/wait.ts';
import { ended, speaks, startDeveloper, type Developer } from './developer.ts';

const password = 'not-a-secret-in-an-example';
/** The steps at which a user may press Ctrl-C; a connect that shows another one fails the test. */
const steps = ['check', 'lease', 'agent', 'waiting', 'tunnel', 'redirect', 'proof', 'names', 'done'];

interface KubeConfig {
  'current-context': string;
  clusters: Array<{ name: string; cluster: Record<string, unknown> }>;
  users: Array<{ name: string; user: Record<string, unknown> }>;
  contexts: Array<{ name: string; context: Record<string, unknown> }>;
}

void suite('the command', { timeout: 600_000 }, () => {
  let dev: Developer;
  let untouched: () => Promise<void>;

  before(async () => {
    dev = await startDeveloper({ name: 'command', helper: true });
    await deployShop(dev.namespace);
    await dev.namespace.kubectl(['create', 'serviceaccount', 'powerless']);
    untouched = await dev.whole();
  });
  after(() => dev?.[Symbol.asyncDispose]());
  afterEach(() => untouched());

  const connect = (...rest: string[]): string[] => [
    'connect',
    'deploy/stats-api',
    '-n',
    dev.namespace.name,
    '--port',
    '3001',
    ...rest,
  ];
  const lines = (text: string): unknown[] =>
    text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
  const progress = (text: string): Progress[] => lines(text).map((line) => Progress.parse(line));
  const connections = async (): Promise<string[]> =>
    (await dev.status()).connections.filter(({ state }) => state !== 'failed').map(({ name }) => name);

  test('a COMMAND has the variables of the pod, and services at addresses of this machine', async () => {
    const result = await dev.bowline(connect('--', 'env', '-0'));
    assert.equal(result.exitCode, 0, result.stderr);
    assert.equal(result.stderr, '', 'nobody watches, so nothing is said');
    const own = variables(result.stdout);
    const pod = variables(await dev.namespace.kubectl(['exec', 'deploy/stats-api', '--', 'cat', '/proc/1/environ']));
    assert.equal(own['PGPASSWORD'], password, 'from the Secret');
    assert.equal(own['VERSION'], '1.0', 'from the ConfigMap');
    const machines = new Set(['PATH', 'HOME', 'HOSTNAME', 'PWD', 'SHLVL', 'TERM', 'USER', 'SHELL', 'LANG', 'LOGNAME']);
    for (const [name, value] of Object.entries(pod))
      if (!machines.has(name) && !/_(SERVICE|PORT)(_|$)/.test(name)) assert.equal(own[name], value, name);
    assert.equal(own['HOME'], dev.machine.home, 'what belongs to the machine stays');
    for (const service of ['POSTGRES', 'REDIS', 'CATALOG'])
      assert.match(own[`${service}_SERVICE_HOST`] ?? '', /^127\.66\./, service);
    assert.equal(own['KUBERNETES_SERVICE_HOST'], 'kubernetes.default.svc', 'a name of its certificate');
  });

  test('the end of the COMMAND is the end of the connection, and its exit status ours', async () => {
    const endOf = async (...command: string[]): Promise<[number, string, string]> => {
      const { exitCode, stdout, stderr } = await dev.bowline(connect('--', ...command));
      assert.deepEqual(await connections(), []);
      return [exitCode, stdout, stderr];
    };
    assert.deepEqual(await endOf('sh', '-c', 'echo out; echo err >&2; exit 7'), [7, 'out\n', 'err\n']);
    assert.deepEqual(await endOf('sh', '-c', 'kill -TERM $$'), [128 + 15, '', '']);
    const [status, , said] = await endOf('no-such-program');
    assert.equal(status, 7);
    assert.match(said, /^error\[COMMAND_NOT_STARTED\]: no-such-program .*no such program/);
  });

  test('signals reach the COMMAND, which decides', async () => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      const script = `trap 'echo ${signal}; exit 9' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`;
      const command = dev.start(connect('--', 'sh', '-c', script));
      const end = ended(command);
      await speaks(command);
      command.kill(signal);
      const { exitCode, stdout, stderr } = await end;
      assert.deepEqual([exitCode, stdout, stderr], [9, `ready\n${signal}\n`, '']);
      assert.deepEqual(await connections(), []);
    }
  });

  test('a program that stops listening while its COMMAND runs on: one line says so', async () => {
    const program = `
      const server = require('node:http').createServer((request, response) => {
        response.setHeader('connection', 'close').end('here');
        server.close();
      });
      server.listen(3001, '127.0.0.1', () => console.log('up'));
      setInterval(() => undefined, 1000);`;
    const command = dev.start(connect('--', 'node', '-e', program));
    const end = ended(command);
    const told = Promise.withResolvers<void>();
    command.stderr?.on('data', (chunk: Buffer) => chunk.includes('any more') && told.resolve());
    await speaks(command);
    const call = `fetch('http://stats-api/').then((answer) => answer.text(), () => 'nothing').then(console.log)`;
    const asked = (): Promise<string> => dev.namespace.kubectl(['exec', 'deploy/frontend', '--', 'node', '-e', call]);
    assert.equal(await asked(), 'here\n');
    assert.equal(await asked(), 'nothing\n');
    await Promise.race([told.promise, end]);
    command.kill('SIGTERM');
    assert.equal((await end).stderr, 'bowline: nothing listens on localhost:3001 any more; callers are reset\n');
  });

  test('Ctrl-C at every step of connect: exit status 130, nothing is left', async (t) => {
    const seen = progress(await dev.must([...connect(), '--json'])).flatMap((line) =>
      line.type === 'step' ? [line.step] : [],
    );
    assert.deepEqual(
      seen.filter((step) => !steps.includes(step)),
      [],
      'a step that this test does not know',
    );
    await dev.must(['disconnect']);
    for (const step of new Set(seen)) {
      const command = dev.start([...connect(), '--json']);
      const end = ended(command);
      createInterface(command.stdout!).on('line', (line) => {
        const parsed = Progress.parse(JSON.parse(line));
        if (parsed.type === 'step' && parsed.step === step) command.kill('SIGINT');
      });
      const { exitCode, stdout } = await end;
      const last = progress(stdout).at(-1);
      if (last?.type === 'result' && ['names', 'done'].includes(step)) {
        // It was faster than the signal: then it stands, and is untied as ever.
        t.diagnostic(`${step}: connected before the signal came`);
        await dev.must(['disconnect']);
      } else {
        assert.equal(exitCode, 130, `at ${step}: ${stdout}`);
        assert.equal(last?.type === 'error' && last.error.code, 'CANCELLED', step);
      }
      assert.deepEqual(await connections(), [], step);
      await untouched();
    }
    t.diagnostic(`interrupted at ${seen.join(', ')}`);
  });

  test('--json of every command', async () => {
    const { namespace } = dev;
    const where = ['-n', namespace.name];
    const plan = Plan.parse(await dev.json([...connect(), '--dry-run']));
    assert.ok(plan.actions.length > 0);

    const connecting = progress(await dev.must([...connect(), '--json']));
    const result = connecting.at(-1);
    assert.equal(result?.type === 'result' && result.connection?.name, `${namespace.name}/stats-api`);
    const { connections } = await dev.json<{ connections: unknown[] }>(['list']);
    assert.deepEqual([connections.length, DaemonStatus.parse(await dev.json(['status'])).connections.length], [1, 1]);
    assert.equal(Environment.parse(await dev.json(['env'])).variables['PGPASSWORD'], password);
    const { checks } = DoctorReport.parse(await dev.json(['doctor', ...where]));
    assert.deepEqual(
      checks.filter(({ state }) => state !== 'ok'),
      [],
    );
    for (const wanted of ['daemon', 'helper', 'api-server', 'rights'])
      assert.ok(
        checks.some(({ check }) => check === wanted),
        wanted,
      );
    assert.equal((await dev.json<{ running: boolean }>(['daemon', 'status'])).running, true);
    assert.equal((await dev.json<{ running: boolean }>(['daemon', 'start'])).running, true);
    assert.equal((await dev.json<{ running: boolean }>(['helper', 'status'])).running, true);
    assert.match((await dev.json<{ script: string }>(['completion', 'bash'])).script, /complete /);
    assert.ok(lines(await dev.must(['logs', '--lines', '20', '--json'])).length === 20);
    assert.deepEqual(
      Plan.parse(await dev.json(['restore', ...where, '--dry-run'])).actions,
      [],
      'what is held is not left over',
    );
    assert.deepEqual(progress(await dev.must(['restore', ...where, '--json'])).at(-1), {
      type: 'result',
      restored: [],
    });

    const again = await dev.bowline([...connect(), '--json']);
    assert.equal(again.exitCode, 6);
    const refusal = progress(again.stdout).at(-1);
    assert.equal(refusal?.type === 'error' && refusal.error.code, 'ALREADY_CONNECTED');
    const unknown = await dev.bowline(['env', 'nowhere', '--json']);
    assert.deepEqual(
      [unknown.exitCode, (JSON.parse(unknown.stdout) as { code: string }).code],
      [2, 'CONNECTION_NOT_FOUND'],
    );

    assert.equal(progress(await dev.must(['disconnect', '--json'])).at(-1)?.type, 'result');
    const command = await dev.bowline([...connect('--json'), '--', 'echo', 'mine']);
    assert.deepEqual([command.exitCode, command.stdout], [0, 'mine\n'], 'standard output is the command’s');
    assert.ok(progress(command.stderr).length > 5);
    assert.equal(progress(await dev.must(['daemon', 'stop', '--json'])).at(-1)?.type, 'result');
    const stopped = await dev.bowline(['daemon', 'status', '--json']);
    assert.deepEqual([stopped.exitCode, JSON.parse(stopped.stdout)], [7, { running: false }]);
  });

  test('Ctrl-C after the connect and before the COMMAND has started: exit status 130, nothing is left', async () => {
    const command = dev.start([...connect('--json'), '--', 'sleep', '600']);
    const end = ended(command);
    createInterface(command.stderr!).on('line', (line) => {
      if (line.startsWith('{"type":"result"')) command.kill('SIGINT');
    });
    assert.equal((await end).exitCode, 130);
    assert.deepEqual(await connections(), []);
    await untouched();
  });

  test('--dry-run changes nothing, and lists what a connect then does', async () => {
    const plan = Plan.parse(await dev.json([...connect(), '--dry-run']));
    await untouched();
    assert.deepEqual(await connections(), []);
    assert.match(await dev.must([...connect(), '--dry-run']), /^create leases\/bowline-deployment-stats-api /m);
    const text = JSON.stringify(plan);
    assert.ok(!text.includes('PRIVATE KEY') && !text.includes(password), 'secrets are masked');

    const before = await snapshot(dev.cluster, dev.namespace.name);
    await dev.must(connect());
    const { id } = await dev.connection();
    const difference = diffSnapshots(before, await snapshot(dev.cluster, dev.namespace.name));
    await dev.must(['disconnect']);
    // What controllers of the cluster make of ours is theirs.
    const real = [...difference.matchAll(/^(\w+)\/(\S+): (new|changed)$/gm)]
      .filter(
        ([, kind = '', name = '']) =>
          !/^(Pod|Endpoints|EndpointSlice|ReplicaSet\/bowline-keeper)/.test(`${kind}/${name}`),
      )
      .map(
        ([, kind = '', name = '', how]) =>
          `${how === 'new' ? 'create' : 'patch'} ${kind.toLowerCase()}s/${name.replace(id, 'ID')}`,
      );
    const planned = plan.actions
      .filter(({ verb }) => verb !== 'machine')
      .map(({ verb, object }) => `${verb} ${object.replace(sessionOf(plan), 'ID')}`);
    assert.deepEqual(planned.sort(), real.sort());
    assert.deepEqual(
      plan.actions.filter(({ verb }) => verb === 'machine').map(({ object }) => object),
      ['hosts'],
    );
  });

  test('in a pipe it is quiet', async () => {
    for (const args of [
      connect(),
      ['disconnect'],
      ['disconnect', '--all'],
      ['restore', '-n', dev.namespace.name],
      ['list'],
      ['daemon', 'start'],
    ]) {
      const { exitCode, stdout, stderr } = await dev.bowline(args);
      assert.deepEqual([exitCode, stdout], [0, ''], args.join(' '));
      assert.equal(stderr, stripVTControlCharacters(stderr));
      assert.match(stderr, /^(.+\n)?$/, `${args.join(' ')}: no steps, at most one line with the outcome`);
    }
  });

  test('env for a shell, a dotenv file and a program says the same', async () => {
    await dev.must(connect());
    const second = ['connect', 'deploy/catalog', '-n', dev.namespace.name, '--port', '3001', '--dry-run'];
    assert.match(
      await dev.must(second),
      new RegExp(`^warning: Port 3001 of this machine answers for ${dev.namespace.name}/stats-api too`, 'm'),
      'a second one onto the same port',
    );
    const wanted = JSON.parse(await dev.must(['env', '--format', 'json'])) as Record<string, string>;
    assert.equal(wanted['PGPASSWORD'], password);
    const script = `eval "$(${dev.machine.checkout}/bowline env --format sh 2>/dev/null)" && env -0`;
    const byShell = variables((await dev.machine.run(['sh', '-c', script])).stdout);
    for (const [name, value] of Object.entries(wanted)) assert.equal(byShell[name], value, name);
    assert.deepEqual(parseEnv(await dev.must(['env', '--format', 'dotenv'])), wanted);
    const wrong = await dev.bowline(['env', '--format', 'yaml']);
    assert.equal(wrong.exitCode, 2);
    await dev.must(['disconnect']);
  });

  test('status: whether the program listens; of what has failed only why, until a disconnect', async () => {
    await dev.must(connect());
    const port = (): Promise<string> => dev.must(['status', 'stats-api']);
    const nobody =
      /^ +port +nothing listens on localhost:3001 since \d\d:\d\d:\d\d: the originals answer port \d+ of the pod/m;
    assert.match(await port(), nobody);
    const script = "require('http').createServer((_, answer) => answer.end()).listen(3001, () => console.log('up'))";
    const program = dev.machine.spawn(['node', '-e', script]);
    await speaks(program);
    assert.match(await port(), /^ +port +localhost:3001 answers port/m);
    const end = ended(program);
    program.kill('SIGKILL');
    await end;
    assert.match(await port(), nobody);
    const doctor = await dev.bowline(['doctor', 'deploy/stats-api', '-n', dev.namespace.name]);
    assert.match(doctor.stdout, /Nothing listens on localhost:3001: the originals answer instead/);

    // Without the map it is not made again: as when somebody else has ended the session.
    const { id } = await dev.connection();
    await dev.namespace.kubectl(['delete', `configmap/bowline-${id}`, 'lease/bowline-deployment-stats-api']);
    await waitUntil(async () => (await dev.connection()).state === 'failed', { what: 'the end of the connection' });
    const status = await dev.must(['status', 'stats-api']);
    assert.match(status, /its Lease was deleted/);
    assert.doesNotMatch(status, /answer|keeper|when it was connected/);
    const { exitCode, stderr } = await dev.bowline(['disconnect', '--all']);
    assert.equal(exitCode, 0);
    assert.match(stderr, /stats-api had failed and is no longer listed: .*its Lease was deleted/);
    assert.deepEqual((await dev.status()).connections, []);
  });

  test('restore puts back what a daemon left that is gone with its state', async () => {
    await dev.must(connect());
    const { pid } = await dev.json<{ pid: number }>(['daemon', 'status']);
    process.kill(pid, 'SIGKILL');
    await dev.sh('rm -r ~/.local/state/bowline "$XDG_RUNTIME_DIR/bowline"');
    const where = ['-n', dev.namespace.name];
    const plan = Plan.parse(await dev.json(['restore', ...where, '--dry-run']));
    const planned = plan.actions.map(({ verb, object }) => `${verb} ${object}`);
    assert.ok(
      planned.includes('patch services/stats-api') && planned.includes('delete leases/bowline-deployment-stats-api'),
      planned.join('\n'),
    );
    assert.notEqual((await dev.namespace.get<{ items: unknown[] }>('leases')).items.length, 0, 'a dry run');
    const restored = progress(await dev.must(['restore', ...where, '--json'])).at(-1);
    assert.ok(restored?.type === 'result' && (restored.restored ?? []).length > 0);
    await waitUntil(() => !dev.machine.hosts().includes('bowline'), { what: 'end of the hosts block' });
    await untouched();
    assert.deepEqual(progress(await dev.must(['restore', ...where, '--json'])).at(-1), {
      type: 'result',
      restored: [],
    });
  });

  test('mistakes: code, cause, next step and exit status', async () => {
    const fails = async (
      args: string[],
      status: number,
      message: RegExp,
      env: Record<string, string> = {},
    ): Promise<void> => {
      const { exitCode, stdout, stderr } = await dev.bowline(args, { env });
      assert.match(stderr, message, args.join(' '));
      assert.deepEqual([exitCode, stdout], [status, ''], args.join(' '));
    };
    const home = dev.machine.home;
    const own = parse(readFileSync(dev.machine.path(dev.machine.kubeconfig), 'utf8')) as KubeConfig;
    const write = (name: string, change: (config: KubeConfig) => void): string => {
      const config = structuredClone(own);
      change(config);
      const path = dev.machine.path(`${home}/${name}`);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, stringify(config));
      chownSync(path, 1500, 1500);
      return `${home}/${name}`;
    };
    const namespace = dev.namespace.name;

    await fails(['connect', 'deploy/stats-api', '--port', 'x'], 2, /^error\[BAD_ARGUMENT\]: .*"x".*\n +hint: /);
    await fails(['conect'], 2, /^error\[BAD_ARGUMENT\]: .*conect.*\n +hint: .*connect/);
    await fails(
      ['connect', '--context', own['current-context'].slice(0, -1)],
      3,
      new RegExp(`^error\\[CONTEXT_NOT_FOUND\\]: .*\\n +hint: .*${own['current-context']}`),
    );
    await fails(
      connect('--kubeconfig', `${home}/none`),
      3,
      /^error\[KUBECONFIG_NOT_FOUND\]: .*\/home\/dev\/none.*\n +hint: /,
    );
    await fails(connect(), 3, /^error\[KUBECONFIG_NOT_FOUND\]: .*\n +hint: /, { KUBECONFIG: `${home}/none` });
    await fails(
      ['connect', 'deploy/stats-api', '-n', namespace.slice(0, -1)],
      5,
      new RegExp(`^error\\[NAMESPACE_NOT_FOUND\\]: .*\\n +hint: .*${namespace}`),
    );
    await fails(
      ['connect', 'deploy/stat-api', '-n', namespace],
      5,
      /^error\[WORKLOAD_NOT_FOUND\]: .*\n +hint: .*stats-api/,
    );
    await fails(connect('--container', 'stat'), 5, /^error\[CONTAINER_NOT_FOUND\]: .*\n +hint: .*stats-api/);
    await fails(['disconnect', 'nowhere'], 2, /^error\[CONNECTION_NOT_FOUND\]: /);

    const server = new URL(String(own.clusters[0]?.cluster['server']));
    const nobody = `https://${server.hostname}:1`;
    const unreachable = write('unreachable', ({ clusters }) => (clusters[0]!.cluster['server'] = nobody));
    await fails(
      connect('--kubeconfig', unreachable),
      5,
      new RegExp(`^error\\[API_UNREACHABLE\\]: .*${nobody}.*\\n +hint: `),
    );
    const stranger = Buffer.from(authority.certificate).toString('base64');
    const distrusting = write(
      'distrusting',
      ({ clusters }) => (clusters[0]!.cluster['certificate-authority-data'] = stranger),
    );
    await fails(connect('--kubeconfig', distrusting), 3, /^error\[CERTIFICATE_UNKNOWN\]: .*\n +hint: /);
    const refused = write('refused', ({ users }) => (users[0]!.user = { token: 'wrong-token-of-mine' }));
    await fails(
      connect('--kubeconfig', refused),
      3,
      /^error\[CREDENTIALS_EXPIRED\]: (?!.*wrong-token-of-mine).*\n +hint: /,
    );
    const token = (await dev.namespace.kubectl(['create', 'token', 'powerless'])).trim();
    const powerless = write('powerless', ({ users }) => (users[0]!.user = { token }));
    await fails(connect('--kubeconfig', powerless), 4, /^error\[RIGHTS_MISSING\]: .*pods\/proxy[^]*\n +hint: /);
    const past = `e30.${Buffer.from(JSON.stringify({ exp: 1_600_000_000 })).toString('base64url')}.c2ln`;
    const expired = write('expired', ({ users }) => (users[0]!.user = { token: past }));
    await fails(connect('--kubeconfig', expired), 3, /^error\[CREDENTIALS_EXPIRED\]: .*2020-09-13.*\n +hint: /);

    const doctor = await dev.bowline(['doctor', '--json', '--kubeconfig', unreachable]);
    assert.equal(doctor.exitCode, 7);
    const { checks } = DoctorReport.parse(JSON.parse(doctor.stdout));
    assert.match(checks.find(({ check }) => check === 'api-server')?.message ?? '', new RegExp(nobody));
  });

  test('a daemon that cannot start, or whose folder is not private, is said with the reason', async () => {
    await dev.must(['daemon', 'stop']);
    const cannot = await dev.bowline(['daemon', 'start'], { env: { XDG_STATE_HOME: '/etc' } });
    assert.equal(cannot.exitCode, 7);
    assert.match(cannot.stderr, /^error\[\w+\]: .*\/etc\/bowline/);
    const folder = dev.machine.path(`${dev.machine.home}/run`);
    mkdirSync(`${folder}/bowline`, { recursive: true });
    for (const path of [folder, `${folder}/bowline`]) chownSync(path, 1500, 1500);
    chmodSync(`${folder}/bowline`, 0o777);
    const open = await dev.bowline(['daemon', 'start'], { env: { XDG_RUNTIME_DIR: `${dev.machine.home}/run` } });
    assert.equal(open.exitCode, 7);
    assert.match(open.stderr, /^error\[\w+\]: .*\/home\/dev\/run\/bowline/);
  });

  test('diagnostics: one file that only its owner can read, with what helps and without secrets; also without a daemon', async () => {
    await dev.must(connect());
    await dev.namespace.kubectl(['wait', '--for=condition=Available', 'deploy/bowline-keeper', '--timeout=60s']);
    const file = `${dev.machine.home}/diagnostics.json`;
    assert.equal((await dev.must(['diagnostics', '--output', file])).trim(), file);
    assert.equal(await dev.sh(`stat -c %a ${file}`), '600');
    const text = await dev.sh(`cat ${file}`);
    const written = JSON.parse(text) as {
      status: { connections: Array<{ id: string }> };
      log: unknown[];
      redirects: unknown;
      objects: ClusterObjects;
    };
    assert.equal(written.status.connections.length, 1);
    assert.ok(written.log.length > 0);
    assert.match(JSON.stringify(written.redirects), /stats-api/);
    const { objects, unreadable } = written.objects;
    assert.deepEqual(unreadable, []);
    const session = `bowline-${written.status.connections[0]?.id}`;
    const listed = objects.map(({ kind, name }) => `${kind} ${name.replace(/^(bowline-(keeper|agent))-.*/, '$1')}`);
    for (const expected of [
      'Lease bowline-deployment-stats-api',
      `ConfigMap ${session}`,
      'ConfigMap bowline-agent',
      `Secret ${session}`,
      `Service ${session}-originals`,
      'Service stats-api',
      `ReplicaSet ${session}`,
      'ServiceAccount bowline-keeper',
      'Role bowline-keeper',
      'RoleBinding bowline-keeper',
      'Deployment bowline-keeper',
      'ReplicaSet bowline-keeper',
      'Pod bowline-keeper',
    ])
      assert.ok(listed.includes(expected), `${expected} is not in ${listed.join(', ')}`);
    assert.ok(
      listed.some((each) => each.startsWith(`Pod ${session}-`)),
      listed.join(', '),
    );
    assert.deepEqual(
      objects.filter(({ redirected }) => redirected).map(({ name }) => name),
      ['stats-api'],
    );
    for (const object of objects) {
      assert.equal(object.namespace, dev.namespace.name);
      assert.ok(Date.parse(object.created ?? '') > 0, JSON.stringify(object));
      const known = ['kind', 'namespace', 'name', 'created', 'deleted', 'labels', 'redirected'];
      assert.deepEqual(
        Object.keys(object).filter((key) => !known.includes(key)),
        [],
      );
    }
    for (const secret of [password, 'PRIVATE KEY', 'BEGIN CERTIFICATE']) assert.ok(!text.includes(secret), secret);
    const again = await dev.bowline(['diagnostics', '--output', file]);
    assert.deepEqual([again.exitCode, await dev.sh(`cat ${file}`)], [2, text], 'nothing is written over');
    await dev.must(['disconnect', '--all']);

    await dev.must(['daemon', 'stop']);
    const alone = JSON.parse(await dev.must(['diagnostics', '--output', '-'])) as { status: unknown; log: unknown[] };
    assert.equal(alone.status, 'not running');
    assert.ok(alone.log.length > 0);
  });

  test('bash completes commands, options, their values and connections', async () => {
    await dev.must(connect());
    const complete = async (...words: string[]): Promise<string[]> => {
      const quoted = ['bowline', ...words].map((word) => `'${word}'`).join(' ');
      const script = `source <(bowline completion bash); COMP_WORDS=(${quoted}); COMP_CWORD=${words.length}; _bowline; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const path = `${dev.machine.checkout}:${dev.machine.checkout}/node_modules/.bin:/usr/bin:/bin`;
      return (await dev.machine.run(['bash', '-c', script], { env: { PATH: path } })).stdout.trim().split('\n').sort();
    };
    assert.deepEqual(await complete('con'), ['connect']);
    assert.deepEqual(await complete('daemon', 'sta'), ['start', 'status']);
    assert.deepEqual(await complete('connect', 'deploy/x', '--na'), ['--names', '--namespace']);
    assert.deepEqual(await complete('connect', '--names', ''), ['auto', 'env', 'hosts']);
    assert.deepEqual(await complete('disconnect', ''), [`${dev.namespace.name}/stats-api`]);
    assert.deepEqual(await complete('connect', 'deploy/x', '--', 'red'), await complete('connect', '--', 'red'));
    await dev.must(['disconnect']);
  });
});

/** `NAME=value` separated by NUL, as `env -0` prints it. */
function variables(text: string): Record<string, string> {
  const entries = text.split('\0').filter((entry) => entry.includes('='));
  return Object.fromEntries(
    entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  );
}

/** The session that a plan was made for; a connect draws another one. */
function sessionOf(plan: Plan): string {
  const lease = plan.actions.find(({ object }) => object.startsWith('leases/'))?.body as {
    metadata: { labels: Record<string, string> };
  };
  return lease.metadata.labels['bowline.dev/session'] ?? assert.fail('a plan without a session');
}
