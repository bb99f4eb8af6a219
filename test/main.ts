/**
 * `npm test`: everything, on a machine that has nothing of it. Checks and unit tests first, then a real Kubernetes and
 * the tests on it, then all of it away again. `npm test -- unit` and `npm test -- e2e [FILE...]` run a part.
 * `npm run test:faults [-- crash | faults | nodes | race | rotation] [--only PATTERN] [--seed N] [--minutes N] [--resume FILE]` runs the matrices of
 * docs/reliability.md whole; with a file the crash matrix goes on with what an earlier run has left.
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ensurePackages } from '../setup/packages.ts';
import { down, status, up } from './cluster/cluster.ts';
import { instanceName } from './cluster/instance.ts';

const root = join(import.meta.dirname, '..');
/** Each test file is a process that loads much of the same. */
const compiled = join(root, 'node_modules/.cache/node-compile-cache');
const report = (line: string): void => void process.stderr.write(`test: ${line}\n`);
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort(new Error(signal)));

const [part = 'all', ...rest] = process.argv.slice(2);
const matrices = {
  crash: ['helper-crash', 'crash', 'keeper-crash'],
  faults: ['faults'],
  nodes: ['nodes', 'same-node'],
  race: ['race'],
  rotation: ['rotation'],
};
/**
 * These run two at a time: each has a namespace and a machine of its own, does one thing after the other, and waits most of
 * the time. Never one that counts lost requests, installs a keeper for the whole cluster, or stops a part of it.
 */
const sideBySide = new Set(
  [
    'attacks/agent',
    'attacks/keeper',
    'e2e/bad-input',
    'e2e/baked-agent',
    'e2e/canary',
    'e2e/cluster-access',
    'e2e/command',
    'e2e/doctor',
    'e2e/environment',
    'e2e/fidelity',
    'e2e/names',
    'e2e/ownership',
    'e2e/private-files',
    'e2e/redirect',
    'e2e/terminal',
    'e2e/volumes',
    'e2e/without-helper',
  ].map((name) => `test/${name}.test.ts`),
);
/** Those of which `npm test` takes a part. */
const sampled = [...matrices.crash, ...matrices.faults, ...matrices.race];

function usage(): never {
  process.stderr.write(
    'usage: npm test [-- check | unit | e2e [FILE...]]\n' +
      '       npm run test:faults [-- crash | faults | nodes | race | rotation] [--only PATTERN] [--seed N] [--minutes N] [--resume FILE]\n',
  );
  process.exit(2);
}

const filesOf = (names: string[]): string[] => names.map((name) => `test/faults/${name}.test.ts`);

/** The files of the matrices that are asked for; the tests find the rest of it in the environment. */
function faults(args: string[]): string[] {
  const options = {
    only: { type: 'string', default: '' },
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '120' },
    resume: { type: 'string' },
  } as const;
  try {
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
    process.env['BOWLINE_FAULTS'] = values.only;
    process.env['BOWLINE_SEED'] = values.seed;
    process.env['BOWLINE_MINUTES'] = values.minutes;
    if (values.resume !== undefined) process.env['BOWLINE_RESUME'] = resolve(values.resume);
    if (positionals.length === 0) return filesOf(Object.values(matrices).flat());
    return positionals.flatMap((name) => filesOf(matrices[name as keyof typeof matrices]));
  } catch {
    return usage();
  }
}

if (!['all', 'check', 'unit', 'e2e', 'faults'].includes(part)) usage();
/** Those that were named; everything without. */
const files = part === 'faults' ? faults(rest) : rest;

async function run(what: string, args: string[]): Promise<boolean> {
  const started = performance.now();
  report(what);
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
    cwd: root,
    stdio: 'inherit',
    env: { NODE_COMPILE_CACHE: compiled, ...process.env },
    signal: interrupted.signal,
  });
  const code = await new Promise<number | null>((resolve) => child.on('error', () => resolve(1)).on('close', resolve));
  report(`${what}: ${code === 0 ? 'passed' : 'FAILED'} in ${((performance.now() - started) / 1000).toFixed(0)} s`);
  return code === 0;
}

const reporter = ['--test-reporter=spec', '--test-reporter-destination=stdout'];

async function unit(): Promise<boolean> {
  const found = globSync('{api,agent-image,bench,cli,daemon,env-parser,helper,keeper,setup,tunnel}/**/*.test.ts', {
    cwd: root,
  });
  return run(`unit tests (${found.length} files)`, [
    '--test',
    '--test-timeout=300000',
    '--test-concurrency=3',
    ...reporter,
    ...found,
    'test/architecture.test.ts',
    'test/attack-list.test.ts',
    'test/faults/growth.test.ts',
    'test/faults/matrix.test.ts',
  ]);
}

/** Two cores carry the whole cluster besides: more than two at a time wait for each other. */
async function tests(what: string, found: string[], concurrency: 1 | 2): Promise<boolean> {
  if (found.length === 0) return true;
  const limit = part === 'faults' ? 3 * 3_600_000 : 600_000;
  const how = ['--test', `--test-concurrency=${concurrency}`, `--test-timeout=${limit}`];
  return run(`${what} (${found.length} files)`, [...how, ...reporter, ...found]);
}

/** On BOWLINE_TEST_KUBECONFIG, else on the test cluster: one that is up already is used and left up. */
async function onCluster(): Promise<boolean> {
  const all = globSync('test/{attacks,cluster,e2e}/*.test.ts', { cwd: root }).sort();
  const found = files.length > 0 ? files : [...all, ...filesOf(sampled)];
  const given = process.env['BOWLINE_TEST_KUBECONFIG'];
  if (given !== undefined) return tests(`tests on the cluster of ${given}`, found, 1); // machines there share one network
  const together = found.filter((file) => sideBySide.has(file));
  const alone = found.filter((file) => !sideBySide.has(file));
  const name = instanceName();
  const wasUp = (await status(name))?.running === true;
  const options = { report, signal: interrupted.signal };
  try {
    await up(name, options);
    const calm = await tests('tests on a real Kubernetes, two files at a time', together, 2);
    return (await tests('tests on a real Kubernetes, one file at a time', alone, 1)) && calm;
  } finally {
    if (!wasUp) await down(name, { report, signal: new AbortController().signal });
  }
}

await ensurePackages(report, interrupted.signal);
const outcomes: boolean[] = [];
if (part === 'all' || part === 'check')
  outcomes.push(await run('check', ['setup/check.ts']), await run('supply chain', ['setup/supply-chain.ts']));
if (part === 'all' || part === 'unit') outcomes.push(await unit());
if (part === 'all' || part === 'e2e' || part === 'faults') outcomes.push(await onCluster());
process.exitCode = outcomes.every(Boolean) ? 0 : 1;
