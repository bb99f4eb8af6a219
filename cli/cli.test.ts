/** The command as a process, against a daemon process whose connections are made up but whose everything else is real. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { lives, testHome, until, type TestHome } from '../daemon/testing/fake-daemon-process.ts';

const main = fileURLToPath(new URL('main.ts', import.meta.url));
let home: TestHome;
let runs: ChildProcess[] = [];
beforeEach(async () => {
  home = await testHome();
});
afterEach(async () => {
  // What a failed test left would start a daemon again.
  for (const child of runs) child.kill('SIGKILL');
  runs = [];
  await home[Symbol.asyncDispose]();
});

interface Run {
  child: ChildProcess;
  ended: Promise<{ status: number | null; signal: string | null; out: string; err: string }>;
}

function start(args: string[], env: Record<string, string> = {}, cwd?: string): Run {
  const child = spawn(process.execPath, ['--', main, ...args], {
    env: { ...home.env, ...env },
    ...(cwd && { cwd }),
    stdio: 'pipe',
  });
  runs.push(child);
  const ended = Promise.all([once(child, 'exit'), text(child.stdout), text(child.stderr)]).then(
    ([[status, signal], out, err]) => ({
      status: status as number | null,
      signal: signal as string | null,
      out,
      err,
    }),
  );
  return { child, ended };
}

const bowline = (...args: string[]): Run['ended'] => start(args).ended;

async function names(): Promise<string[]> {
  const client = await home.client();
  return (await client.call('listConnections', {})).connections.map(({ name }) => name);
}

void test('connects in the background, shows it, and unties', async () => {
  await home.startFake();
  const connected = await bowline('connect', 'deploy/api', '-n', 'shop', '-p', '8080:80', '--drain', '0');
  const said =
    'Connected shop/api: api:80 -> localhost:8080; the services of namespace shop answer at the variables of `bowline env`.\n';
  assert.deepEqual(connected, { status: 0, signal: null, out: '', err: said }, 'in a pipe one line');
  const list = await bowline('list');
  assert.match(list.out, /^NAME +STATE +CONTEXT +PORTS.*\nshop\/api +connected +test +8080:80 /);
  const status = JSON.parse((await bowline('status', '--json')).out) as { connections: Array<{ name: string }> };
  assert.equal(status.connections[0]?.name, 'shop/api');
  assert.match((await bowline('status', 'api')).out, /localhost:8080 answers port 80 of the pod/);
  const untied = await bowline('disconnect');
  const end = 'Untied shop/api: cluster and machine are as before.\n';
  assert.deepEqual(untied, { status: 0, signal: null, out: '', err: end });
  assert.deepEqual(await names(), []);
  for (const args of [['list'], ['disconnect', '--all']])
    assert.deepEqual(await bowline(...args), { status: 0, signal: null, out: '', err: 'There is no connection.\n' });
  assert.equal((await bowline('restore')).err, 'Nothing to restore.\n');
  const stopped = await bowline('daemon', 'stop');
  assert.deepEqual([stopped.status, stopped.out], [0, '']);
  assert.match(stopped.err, /^The daemon has ended; nothing is left of it\.\n$/);
  assert.equal((await bowline('daemon', 'stop')).err, 'No daemon runs.\n');
});

void test('the steps in a pipe: none, or with --progress each with its seconds', async () => {
  await home.startFake();
  const plain = await bowline('connect', 'api', '--drain', '0', '--', 'sh', '-c', 'echo err >&2');
  assert.equal(plain.err, 'warning: a warning of the environment\nerr\n', 'else standard error is the command’s');
  const shown = await bowline('connect', 'api', '--drain', '0', '--progress', '--', 'true');
  assert.match(
    shown.err,
    /^✓ starting the agent \d\.\d s\nConnected default\/api: .*\nwarning: .*\n✓ waiting for .*\nUntied default\/api: .*\n$/,
  );
});

void test('--json is one document, or lines that end with a result or an error', async () => {
  await home.startFake();
  assert.deepEqual(
    lines((await bowline('connect', 'a', '--drain', '0', '--json')).out).map(({ type }) => type),
    ['step', 'result'],
  );
  const failed = await bowline('connect', 'broken', '--json');
  assert.equal(failed.status, 5);
  assert.deepEqual(
    lines(failed.out).map(({ type }) => type),
    ['step', 'error'],
  );
  assert.deepEqual(
    lines((await bowline('disconnect', '--all', '--json')).out).map(({ type }) => type),
    ['step', 'result'],
  );
  const missing = await bowline('env', 'none', '--json');
  assert.equal(missing.status, 2);
  assert.equal((JSON.parse(missing.out) as { code: string }).code, 'CONNECTION_NOT_FOUND');
  const bad = await bowline('list', '--jsn', '--json');
  assert.equal((JSON.parse(bad.out) as { code: string }).code, 'BAD_ARGUMENT');
  assert.ok(
    Array.isArray(
      (JSON.parse((await bowline('connect', 'a', '--dry-run', '--json')).out) as { actions: unknown }).actions,
    ),
  );
});

void test('a command has the pod’s variables and the machine’s own, and its status is ours', async () => {
  await home.startFake({ FAKE_VARIABLES: JSON.stringify({ DB: "it's\n$x", PATH: '/pod', HOME: '/pod' }) });
  const script =
    'process.stdout.write(JSON.stringify([process.env.DB, process.env.PATH, process.env.HOME])); process.exit(7)';
  const ran = await bowline('connect', 'api', '--drain', '0', '--', process.execPath, '-e', script);
  assert.deepEqual(JSON.parse(ran.out), ["it's\n$x", home.env['PATH'], home.env['HOME']]);
  assert.equal(ran.status, 7);
  assert.deepEqual(await names(), [], 'untied when it ended');
});

void test('a command that a signal ended, that does not exist, or that is missing', async () => {
  await home.startFake();
  assert.equal((await bowline('connect', 'api', '--drain', '0', '--', 'sh', '-c', 'kill -TERM $$')).status, 143);
  const unknown = await bowline('connect', 'api', '--drain', '0', '--', 'no-such-program');
  assert.equal(unknown.status, 7);
  assert.match(unknown.err, /error\[COMMAND_NOT_STARTED\]: no-such-program .*no such program/);
  const folder = await bowline('connect', 'api', '--', home.env['HOME'] ?? '');
  assert.match(folder.err, /error\[COMMAND_NOT_STARTED\]/);
  await writeFile(`${home.env['HOME']}/text`, '#!/bin/sh\n');
  const text = await bowline('connect', 'broken', '--', `${home.env['HOME']}/text`);
  assert.match(text.err, /error\[COMMAND_NOT_STARTED\]: .*may not be executed/, 'before anything is tied');
  assert.deepEqual(await names(), []);
  assert.equal((await bowline('connect', 'api', '--')).status, 2);
});

void test('signals reach the command, and it is untied when it ends of them', async () => {
  await home.startFake();
  const script = `process.on('SIGTERM', () => { console.log('term'); process.exit(3); }); console.log('ready'); setInterval(() => {}, 1000)`;
  const { child, ended } = start(['connect', 'api', '--drain', '0', '--', process.execPath, '-e', script]);
  await once(child.stdout!, 'data');
  child.kill('SIGTERM');
  const { status, out } = await ended;
  assert.equal(status, 3);
  assert.equal(out, 'ready\nterm\n');
  assert.deepEqual(await names(), []);
});

void test('a killed command line unties', async () => {
  await home.startFake();
  const { child, ended } = start(['connect', 'api', '--drain', '0', '--', 'sh', '-c', 'echo ready; exec sleep 2']);
  await once(child.stdout!, 'data');
  assert.deepEqual(await names(), ['default/api']);
  child.kill('SIGKILL');
  await until('it is released', async () => (await names()).length === 0);
  await ended;
});

void test('Ctrl-C while connecting undoes everything, and a second one does not skip that', async () => {
  await home.startFake();
  for (const args of [
    ['connect', 'slow'],
    ['connect', 'slow', '--', 'true'],
  ]) {
    const { child, ended } = start(args);
    await until('it is connecting', async () => (await names()).length === 1);
    child.kill('SIGINT');
    child.kill('SIGINT');
    const { status, err } = await ended;
    assert.equal(status, 130);
    assert.match(err, /error\[CANCELLED\]/);
    assert.deepEqual(await names(), []);
  }
});

void test('Ctrl-C while untying says what is waited for, and goes on', async () => {
  await home.startFake();
  await bowline('connect', 'api', '--drain', '1');
  const { child, ended } = start(['disconnect', 'default/api']);
  await until('it is untying', async () => {
    const { connections } = await (await home.client()).call('listConnections', {});
    return connections[0]?.state === 'disconnecting';
  });
  child.kill('SIGINT');
  const { status, err } = await ended;
  assert.equal(status, 0);
  assert.match(err, /Still waiting for: waiting for open requests/);
  assert.deepEqual(await names(), []);
});

void test(
  'a killed daemon comes back to the same state, and running commands keep their hold',
  { timeout: 60_000 },
  async () => {
    const first = await home.startFake({ FAKE_HOLD_GRACE: '1000' });
    await bowline('connect', 'stays', '--drain', '0');
    const { child, ended } = start(['connect', 'held', '--drain', '0', '--', 'sh', '-c', 'echo ready; read line']);
    await once(child.stdout!, 'data');
    first.child.kill('SIGKILL');
    await once(first.child, 'exit');
    await home.startFake({ FAKE_HOLD_GRACE: '1000' });
    assert.deepEqual((await names()).sort(), ['default/held', 'default/stays']);
    // The grace has to pass for a hold that was not taken up to show.
    await until('the grace is over', async () =>
      (await readFile(home.paths.logFile, 'utf8')).includes('hold.grace-over'),
    );
    child.stdin?.end('end\n');
    const { status, err } = await ended;
    assert.equal(status, 0, err);
    assert.deepEqual(await names(), ['default/stays']);
  },
);

void test('a command that ends just after the daemon came back is untied by that one', async () => {
  const first = await home.startFake();
  const { child, ended } = start(['connect', 'held', '--drain', '0', '--', 'sh', '-c', 'echo ready; read line']);
  await once(child.stdout!, 'data');
  child.kill('SIGSTOP');
  first.child.kill('SIGKILL');
  await once(first.child, 'exit');
  await home.startFake();
  child.stdin?.end('end\n');
  child.kill('SIGCONT');
  const { status, err } = await ended;
  assert.equal(status, 0, err);
  assert.deepEqual(await names(), []);
});

void test('what a killed daemon held for a command that is gone too is released', async () => {
  const first = await home.startFake();
  const { child } = start(['connect', 'held', '--drain', '0', '--', 'sh', '-c', 'echo ready; exec sleep 2']);
  await once(child.stdout!, 'data');
  child.kill('SIGSTOP');
  first.child.kill('SIGKILL');
  await once(first.child, 'exit');
  child.kill('SIGKILL');
  await home.startFake({ FAKE_HOLD_GRACE: '200' });
  await until('it is released', async () => (await names()).length === 0);
});

void test('SIGTERM releases everything and leaves neither socket nor endpoint', async () => {
  const { child } = await home.startFake();
  await bowline('connect', 'a', '--drain', '0');
  await bowline('connect', 'b', '--drain', '0');
  child.kill('SIGTERM');
  const [status] = (await once(child, 'exit')) as [number];
  assert.equal(status, 0);
  assert.deepEqual(JSON.parse((await bowline('status', '--json')).out), { daemon: null, saved: 0, connections: [] });
  await home.startFake();
  assert.deepEqual(await names(), []);
});

void test('SIGTERM ends it within its bound also when a release does not', async () => {
  const { child } = await home.startFake({ FAKE_RELEASE_BOUND: '200' });
  await bowline('connect', 'a', '--drain', '3600');
  child.kill('SIGTERM');
  await once(child, 'exit', { signal: AbortSignal.timeout(10_000) });
  // Not released, so not forgotten.
  await home.startFake();
  assert.deepEqual(await names(), ['default/a']);
});

void test('the real daemon starts on demand, once, however many want it', { timeout: 60_000 }, async () => {
  const runs = await Promise.all(Array.from({ length: 4 }, () => bowline('daemon', 'start', '--json')));
  const pids = new Set(runs.map(({ out }) => (JSON.parse(out) as { pid: number }).pid));
  assert.deepEqual(
    runs.map(({ status }) => status),
    [0, 0, 0, 0],
  );
  assert.equal(pids.size, 1);
  const [pid = 0] = pids;
  const refused = await bowline('connect', 'deploy/x');
  assert.equal(refused.status, 3);
  assert.match(refused.err, /error\[KUBECONFIG_NOT_FOUND\]: .*\n  hint: /);
  assert.equal((await bowline('daemon', 'stop')).status, 0);
  assert.equal(lives(pid), false);
  assert.equal((await bowline('daemon', 'status')).status, 7);
  // Those that were slower are gone too, and do not come up now that there is none.
  if (process.platform === 'linux')
    await until('the slower daemons have ended', () => daemonsOf(home.paths.stateFolder).length === 0);
});

void test('saved connections start the daemon, whichever command looks', { timeout: 60_000 }, async () => {
  for (const command of ['list', 'status', 'env']) {
    await mkdir(home.paths.sessionsFolder, { recursive: true, mode: 0o700 });
    await writeFile(`${home.paths.sessionsFolder}/unreadable.json`, '{}', { mode: 0o600 });
    const { err } = await bowline(command);
    assert.match(err, /^No daemon runs; one is started for 1 saved connection\.\n/, command);
    assert.equal((await bowline('daemon', 'stop')).status, 0);
  }
});

void test('a daemon that cannot start is reported with its last words', async () => {
  await mkdir(home.paths.stateFolder, { recursive: true, mode: 0o700 });
  // A folder where the log should be.
  await mkdir(home.paths.logFile);
  const { status, err } = await bowline('daemon', 'start');
  assert.equal(status, 7);
  assert.match(err, /error\[DAEMON_START_FAILED\][^]*EISDIR/);
});

void test('mistakes are usage errors with the nearest there is', async () => {
  const cases: Array<[string[], RegExp]> = [
    [['conect'], /Did you mean connect\?/],
    [['connect', '--prot', '1'], /Did you mean --port\?/],
    [['connect', 'x', '-p', '70000'], /not LOCAL or LOCAL:REMOTE/],
    [['connect', 'x', '-p', '1:2:3'], /not LOCAL or LOCAL:REMOTE/],
    [['connect', 'x', '-p', '80:UPPER'], /not LOCAL or LOCAL:REMOTE/],
    [
      ['connect', 'x', '--if-down', 'maybe'],
      /: "maybe" is not a choice of --if-down\.\n  hint: One of refuse, original\.\n$/,
    ],
    [['connect', 'x', '--drain', 'soon'], /not a number of seconds/],
    [['connect', 'x', '--timeout', '0'], /from 1 to 86400/],
    [['connect', 'x', '-n', ''], /--namespace is empty/],
    [['connect', 'x', '--context='], /--context is empty/],
    [['restore', '--kubeconfig', ''], /--kubeconfig is empty/],
    [['connect', '-p', '80'], /--port needs a TARGET/],
    [['connect', 'x', 'npm', 'start'], /Too many arguments .*: npm start\.\n  hint: Put -- before .* -- npm start\n$/],
    [['list', 'x'], /Too many arguments for `list`: x\.\n  hint: /],
    [['connect', '-n'], /: -n, --namespace <NS> needs its value\.\n/],
    [['disconnect', 'x', '--all'], /not both/],
    [['list', '--', 'ls'], /takes a command/],
    [['daemon', 'sart'], /Did you mean start\?/],
    [['completion', 'tcsh'], /bash, zsh, fish, powershell/],
  ];
  for (const [args, expected] of cases) {
    const { status, err, out } = await bowline(...args);
    assert.equal(status, 2, args.join(' '));
    assert.match(err, expected, args.join(' '));
    assert.equal(out, '');
  }
  assert.equal((await bowline('disconnect')).status, 2, 'nothing is connected');
  assert.equal((await bowline('disconnect', '--all')).status, 0, 'nothing to do is done');
});

void test('env writes what each reader takes', async () => {
  await home.startFake({ FAKE_VARIABLES: JSON.stringify({ A: "it's", 'b.c': 'x', PATH: '/pod' }) });
  await bowline('connect', 'api', '--drain', '0');
  const sh = await bowline('env');
  assert.equal(sh.out, `export A='it'\\''s'\n`);
  assert.match(sh.err, /left out: b\.c/);
  assert.match(sh.err, /\nwarning: a warning of the environment\nnote: 2 more with --verbose\n$/);
  const verbose = await bowline('env', '--format', 'docker', '--verbose');
  assert.match(verbose.err, /\nnote: .*--network host.*\nnote: one note\nnote: another\n$/);
  const json = JSON.parse((await bowline('env', '--json')).out) as Record<string, unknown>;
  assert.deepEqual([json['warnings'], json['notes']], [['a warning of the environment'], ['one note', 'another']]);
  assert.equal((await bowline('env', 'default/api', '--format', 'dotenv')).out, `A="it's"\nb.c=x\n`);
  assert.deepEqual(JSON.parse((await bowline('env', '--format', 'json')).out), { A: "it's", 'b.c': 'x' });
  assert.deepEqual(JSON.parse((await bowline('env', '--format', 'json', '--all')).out), {
    A: "it's",
    'b.c': 'x',
    PATH: '/pod',
  });
});

void test('env shows what was asked for, and what is different in this shell', async () => {
  await home.startFake({
    FAKE_VARIABLES: JSON.stringify({ DB_HOST: 'db', DB_PORT: '5432', MODE: 'x y', PATH: '/pod' }),
  });
  await bowline('connect', 'api', '--drain', '0');
  const chosen = await bowline('env', '--only', 'DB_*, MODE', '--except', 'DB_PORT,NONE', '--format', 'json');
  assert.deepEqual(JSON.parse(chosen.out), { DB_HOST: 'db', MODE: 'x y' });
  assert.match(chosen.err, /warning: no variable is named NONE/);
  const json = JSON.parse((await bowline('env', '--only', 'MODE', '--json')).out) as Record<string, unknown>;
  assert.deepEqual(json['origins'], { MODE: 'container' });

  const here = { DB_HOST: 'localhost', DB_PORT: '5432', MINE: '1' };
  const masked = await start(['env', '--diff'], here).ended;
  assert.match(
    masked.out,
    /^\+ MODE=\*{3}\n~ DB_HOST=\*{3} {2}\(here \*{3}\)\n\d+ that only this shell has are not shown; --all shows them\n$/,
  );
  const all = await start(['env', '--diff', '--all'], here).ended;
  assert.match(all.out, /^- MINE=\*{3}\n/m);
  assert.doesNotMatch(masked.out + all.out, /DB_PORT|PWD|SHLVL|localhost|x y/);
  const shown = await start(['env', '--diff', '--show-values'], here).ended;
  assert.match(shown.out, /^\+ MODE='x y'\n~ DB_HOST='db' {2}\(here 'localhost'\)\n/);
  const same = await start(['env', '--diff', '--json', '--only', 'DB_PORT'], here).ended;
  assert.deepEqual((JSON.parse(same.out) as { changed: unknown[] }).changed, []);
  for (const wrong of [['--only', 'A,,B'], ['--show-values'], ['--diff', '--watch', 'x']])
    assert.equal((await bowline('env', ...wrong)).status, 2, wrong.join(' '));
});

void test('env --watch keeps a file for its user only while the connection lasts', async () => {
  await home.startFake({ FAKE_VARIABLES: JSON.stringify({ A: '1' }) });
  await bowline('connect', 'api', '--drain', '0');
  const file = `${home.env['HOME']}/pod.env`;
  await writeFile(file, 'mine');
  const refused = await bowline('env', '--watch', file);
  assert.equal(refused.status, 2);
  assert.match(refused.err, /pod\.env is there already/);
  assert.equal(await readFile(file, 'utf8'), 'mine');
  await rm(file);

  const watching = start(['env', 'api', '--format', 'dotenv', '--watch', file]);
  await until('the file is there', () => existsSync(file));
  assert.equal(await readFile(file, 'utf8'), 'A=1\n');
  assert.equal(statSync(file).mode & 0o777, 0o600);
  await bowline('disconnect');
  assert.equal((await watching.ended).status, 0);
  assert.deepEqual(
    (await readdir(home.env['HOME'] ?? '')).filter((name) => name.includes('pod.env')),
    [],
    'nothing is left of it',
  );

  await bowline('connect', 'api', '--drain', '0');
  const interrupted = start(['env', '--watch', file]);
  await until('the file is there again', () => existsSync(file));
  interrupted.child.kill('SIGINT');
  assert.equal((await interrupted.ended).status, 0);
  assert.equal(existsSync(file), false);
});

void test('the environment file of the folder is read and checked before anything is touched', async () => {
  await home.startFake();
  const folder = await mkdtemp(`${home.env['HOME']}/project-`);
  const connect = (...args: string[]): Run['ended'] =>
    start(['connect', 'api', '--drain', '0', ...args], {}, folder).ended;
  await writeFile(`${folder}/azds-local.env`, 'FINE=1\nPASSWORD="s3cret\nX=${nothing.y}\n');
  const bad = await connect();
  assert.equal(bad.status, 2);
  assert.match(bad.err, /^error\[ENVIRONMENT_FILE_INVALID\]: .*azds-local\.env has 2 problems:\n.*azds-local\.env:2:/);
  assert.match(bad.err, /azds-local\.env:3:.*\n {2}3 \| X=\$\{nothing\.y\}\n.*\^/);
  assert.deepEqual(await names(), [], 'nothing was touched');
  assert.equal((await connect('--no-env-file')).status, 0);
  assert.equal((await bowline('disconnect')).status, 0);

  await writeFile(`${folder}/KubernetesLocalProcessConfig.yaml`, 'version: 0.1\nenableFeatures: [Telepathy]\n');
  const both = await connect();
  assert.equal(both.status, 2);
  assert.match(both.err, /two environment files.*\n.*--env-file/);
  const chosen = await connect('--env-file', 'KubernetesLocalProcessConfig.yaml');
  assert.equal(chosen.status, 0);
  assert.match(chosen.err, /^warning: .*KubernetesLocalProcessConfig\.yaml:2:.*Telepathy/s);
  assert.equal(chosen.err.match(/is not known and has no effect/g)?.length, 1, 'once, though the daemon says it too');
  await bowline('disconnect');
  const inJson = await connect('--env-file', 'KubernetesLocalProcessConfig.yaml', '--json');
  const [first] = inJson.out.split('\n').map((line) => JSON.parse(line || '{}') as Record<string, string>);
  assert.deepEqual([first?.['type'], first?.['code'], inJson.err], ['warning', 'ENVIRONMENT_FILE', '']);
  assert.match(first?.['message'] ?? '', /Config\.yaml:2:18: This feature is not known and has no effect\.$/);
  await bowline('disconnect');
  const nowhere = await connect('--env-file', 'nowhere.env');
  assert.equal(nowhere.status, 2);
  assert.match(nowhere.err, /error\[ENVIRONMENT_FILE_INVALID\]: .*nowhere\.env cannot be read: there is no such file/);
});

void test('each command has help, and the version is that of the package', async () => {
  const packageFile = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  assert.equal((await bowline('--version')).out, `${packageFile.version}\n`);
  const { out, status } = await bowline('--help');
  assert.equal(status, 0);
  for (const [, name = ''] of out.matchAll(/^ {2}([a-z]+) .*$/gm)) {
    if (name === 'bowline' || name === 'help') continue;
    const help = await bowline(name, '--help');
    assert.equal(help.status, 0, name);
    assert.match(help.out, new RegExp(`^Usage: bowline ${name} `), name);
  }
});

function lines(output: string): Array<{ type: string }> {
  return output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string });
}

/** Processes of daemons that keep their state there. */
function daemonsOf(stateFolder: string): string[] {
  const state = `XDG_STATE_HOME=${dirname(stateFolder)}`;
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const [environment, command] = ['environ', 'cmdline'].map((file) => readFileSync(`/proc/${pid}/${file}`, 'utf8'));
      return command!.includes('daemon/main.ts') && environment!.split('\0').includes(state);
    } catch {
      return false; // ended meanwhile
    }
  });
}
