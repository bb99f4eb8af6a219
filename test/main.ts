/**
 * `npm test`: everything, on a machine that has nothing of it. Checks and unit tests first, then a real Kubernetes and
 * the tests on it, then all of it away again. `npm test -- unit` and `npm test -- e2e [FILE...]` run a part.
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { ensurePackages } from '../setup/packages.ts';
import { down, status, up } from './cluster/cluster.ts';
import { instanceName } from './cluster/instance.ts';

const root = join(import.meta.dirname, '..');
const report = (line: string): void => void process.stderr.write(`test: ${line}\n`);
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort(new Error(signal)));

const [part = 'all', ...files] = process.argv.slice(2);
if (!['all', 'check', 'unit', 'e2e'].includes(part)) {
  process.stderr.write('usage: npm test [-- check | unit | e2e [FILE...]]\n');
  process.exit(2);
}

async function run(what: string, args: string[], environment: Record<string, string> = {}): Promise<boolean> {
  const started = performance.now();
  report(what);
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...environment },
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
    ...reporter,
    ...found,
    'test/architecture.test.ts',
    'test/attack-list.test.ts',
  ]);
}

/** On BOWLINE_TEST_KUBECONFIG, else on the test cluster: one that is up already is used and left up. */
async function e2e(): Promise<boolean> {
  const found = files.length > 0 ? files : globSync('test/{attacks,cluster,e2e}/*.test.ts', { cwd: root }).sort();
  // One file after the other: each may cut links and kill daemons, and two cores carry the whole cluster.
  const args = ['--test', '--test-concurrency=1', '--test-timeout=600000', ...reporter, ...found];
  const given = process.env['BOWLINE_TEST_KUBECONFIG'];
  if (given !== undefined) return run(`tests on the cluster of ${given}`, args);
  const name = instanceName();
  const wasUp = (await status(name))?.ready === true;
  const options = { report, signal: interrupted.signal };
  try {
    await up(name, options);
    return await run(`tests on a real Kubernetes (${found.length} files)`, args);
  } finally {
    if (!wasUp) await down(name, { report, signal: new AbortController().signal });
  }
}

await ensurePackages(report, interrupted.signal);
const outcomes: boolean[] = [];
if (part === 'all' || part === 'check')
  outcomes.push(await run('check', ['setup/check.ts']), await run('supply chain', ['setup/supply-chain.ts']));
if (part === 'all' || part === 'unit') outcomes.push(await unit());
if (part === 'all' || part === 'e2e') outcomes.push(await e2e());
process.exitCode = outcomes.every(Boolean) ? 0 : 1;
