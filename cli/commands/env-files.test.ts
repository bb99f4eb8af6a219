/** The commands about environment files, as processes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { testHome, type TestHome } from '../../daemon/testing/fake-daemon-process.ts';

const main = fileURLToPath(new URL('../main.ts', import.meta.url));
const yamlName = 'KubernetesLocalProcessConfig.yaml';
let home: TestHome;
let project: string;
beforeEach(async () => {
  home = await testHome();
  project = join(home.env['HOME']!, 'project');
  await mkdir(project);
});
afterEach(() => home[Symbol.asyncDispose]());

const write = (name: string, content: string): Promise<void> => writeFile(join(project, name), content);

const bowline = (...args: string[]): ReturnType<typeof run> => run('env', ...args);

async function run(...args: string[]): Promise<{ status: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [main, ...args], { cwd: project, env: home.env, stdio: 'pipe' });
  const [[status], out, err] = await Promise.all([once(child, 'exit'), text(child.stdout), text(child.stderr)]);
  return { status: status as number | null, out, err };
}

void test('validate: nothing wrong, without a daemon', async () => {
  await write('azds-local.env', 'A=${volumes.x}/y\nB=1\n');
  const { status, out } = await bowline('validate');
  assert.deepEqual(
    { status, out },
    {
      status: 0,
      out: `${join(project, 'azds-local.env')}: nothing wrong (2 variables, 1 token); volumes and Services were not checked\n`,
    },
  );
});

void test('validate: all problems of both files, with places', async () => {
  await write('azds-local.env', 'A=${volumes.x.y}\nB="open\n');
  await write(yamlName, 'version: 0.1\nenviroment: []\nenv:\n  - name: A\n    value: $(service:x)\n');
  const { status, out } = await bowline('validate', '--offline');
  assert.equal(status, 2);
  const path = (name: string): string => join(project, name);
  assert.equal(
    out,
    `error: ${path('azds-local.env')}:1:3: The name of a volume has no dots
  1 | A=\${volumes.x.y}
    |   ^^^^^^^^^^^^^^
  expected: \${volumes.NAME}, \${volumes.NAME/PATH} or \${volumes.NAME|LOCALPATH}

error: ${path('azds-local.env')}:2:3: The closing " is missing
  2 | B="open
    |   ^
  expected: " at the end of the value

${path('azds-local.env')}: 2 problems; volumes and Services were not checked
error: ${path(yamlName)}:5:12: This is no token
  5 |     value: $(service:x)
    |            ^^^^^^^^^^^^
  expected: $(volumeMounts:NAME), $(services:NAME) or $(externalEndpoints:HOST:PORTS); $$( for a dollar sign and a parenthesis
  did you mean services?

warning: ${path(yamlName)}:2:1: This key of the file is not known and has no effect
  2 | enviroment: []
    | ^^^^^^^^^^
  expected: version, env, volumeMounts, enableFeatures
  did you mean env?

${path(yamlName)}: 1 problem; volumes and Services were not checked
`,
  );
});

void test('validate: what the connected workload does not have', async () => {
  await home.startFake();
  assert.equal((await run('connect', 'deploy/api', '-n', 'shop', '-p', '8080:80')).status, 0);
  await write(
    'one.env',
    [
      'A=${services.catalog}',
      'B=${services.catalog?}',
      'C=${services.billing.x}',
      'D=${services.billing.invoices}',
      'E=${services.absent.x}',
      'F=${services.absent.x?}',
      'G=${services.barred.x}',
      'my.H=${services.absent.billing}',
    ].join('\n'),
  );
  const { status, out } = await bowline('validate', 'one.env', '--json');
  assert.equal(status, 5);
  const { checkedAgainst, files } = JSON.parse(out) as {
    checkedAgainst: string;
    files: Array<Record<'problems' | 'missing' | 'warnings', Array<{ line: number; column: number; message: string }>>>;
  };
  assert.equal(checkedAgainst, 'shop/api');
  assert.deepEqual(files[0]!.problems, []);
  assert.deepEqual(
    files[0]!.missing.map(({ line, column, message }) => [line, column, message]),
    [
      [1, 3, 'There is no Service catalog in the namespace shop'],
      [3, 3, 'There is no Service x in the namespace billing'],
      [5, 3, 'There is no namespace absent'],
      [8, 6, 'There is no namespace absent'],
    ],
  );
  assert.deepEqual(
    files[0]!.warnings.map(({ line, column, message }) => `${line}:${column} ${message}`),
    [
      '7:3 This could not be checked: You may not list services in barred',
      '8:1 A shell cannot hold the name my.H: programs get it from `bowline connect ... -- COMMAND` only',
    ],
  );
  assert.equal((await bowline('validate', 'one.env', '--offline')).status, 0);
  const unknown = await bowline('validate', 'one.env', '--connection', 'nowhere');
  assert.match(unknown.err, /CONNECTION_NOT_FOUND/);
});

void test('validate: no file, and one that cannot be read', async () => {
  const none = await bowline('validate');
  assert.equal(none.status, 2);
  assert.match(none.err, /ENVIRONMENT_FILE_INVALID.*no environment file in/);
  const missing = await bowline('validate', 'missing.env');
  assert.equal(missing.status, 2);
  assert.match(missing.err, /ENVIRONMENT_FILE_INVALID.*there is no such file/);
});

void test('a mistyped subcommand is taken for a connection, and the hint says which is meant', async () => {
  const without = await bowline('validat');
  assert.equal(without.status, 2);
  assert.match(
    without.err,
    /CONNECTION_NOT_FOUND.*There is no connection "validat"[^]*Did you mean `bowline env validate`\?/,
  );
  await home.startFake();
  assert.match((await bowline('convrt')).err, /CONNECTION_NOT_FOUND[^]*Did you mean `bowline env convert`\?/);
  const other = await bowline('shop/api');
  assert.match(other.err, /CONNECTION_NOT_FOUND/);
  assert.doesNotMatch(other.err, /bowline env/);
});

void test('a file that comes through a pipe, in more pieces than one', async () => {
  // A pipe holds 64 KiB.
  const written = `printf '#'; head -c 100000 /dev/zero | tr '\\0' x; printf '\\nB=\${x}\\n'`;
  const child = spawn('bash', ['-c', `exec "$0" "$1" env validate <(${written})`, process.execPath, main], {
    cwd: project,
    env: home.env,
    stdio: 'pipe',
  });
  const [[status], out] = await Promise.all([once(child, 'exit'), text(child.stdout), text(child.stderr)]);
  assert.equal(status, 2);
  assert.match(out, /:2:3: This is no token/);
});

void test('convert: there and back', async () => {
  const azds = 'A=${volumes.x|./local}/y\nB=${services.shop.api}\n';
  await write('azds-local.env', azds);
  const there = await bowline('convert');
  assert.deepEqual([there.status, there.err], [0, '']);
  await write('other.yaml', there.out);
  assert.deepEqual(await bowline('convert', 'other.yaml', '--to', 'azds'), { status: 0, out: azds, err: '' });
});

void test('convert: what is lost is said, and a wrong file is not converted', async () => {
  await write(yamlName, 'version: 0.1\nenv: [{ name: A, value: "$(externalEndpoints:x.example.com:1)" }]\n');
  const lost = await bowline('convert');
  assert.deepEqual([lost.status, lost.out], [0, '']);
  assert.match(lost.err, /^warning: .*:2:26: azds-local.env has no hosts outside of the cluster, so A is left out\n/);
  await write(yamlName, 'version: 7.0\n');
  const wrong = await bowline('convert');
  assert.equal(wrong.status, 2);
  assert.match(wrong.err, /This version is not known[^]*error\[ENVIRONMENT_FILE_INVALID\]/);
});

void test('schema: for editors', async () => {
  const { status, out } = await bowline('schema');
  assert.equal(status, 0);
  assert.equal((JSON.parse(out) as { title: string }).title, yamlName);
});
