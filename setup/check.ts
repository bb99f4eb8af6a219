/** `npm run check`: types, lint, format, dead code and boundaries, side by side. Fast enough for every save. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const bin = (name: string): string => join(root, 'node_modules/.bin', name);

const checks: Array<{ name: string; command: string[] }> = [
  { name: 'types', command: [bin('tsc'), '-p', '.'] },
  { name: 'lint', command: [bin('oxlint'), '--type-aware', '--deny-warnings'] },
  { name: 'format', command: [bin('oxfmt'), '--check'] },
  { name: 'dead code', command: [bin('knip'), '--no-progress'] },
  { name: 'boundaries', command: [process.execPath, '--test', '--test-reporter=dot', 'test/architecture.test.ts'] },
];

interface Outcome {
  name: string;
  passed: boolean;
  seconds: number;
  output: string;
}

function run({ name, command }: (typeof checks)[number]): Promise<Outcome> {
  const started = performance.now();
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const [program = '', ...args] = command;
  const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const end = (passed: boolean): void =>
    resolve({ name, passed, seconds: (performance.now() - started) / 1000, output });
  child.on('error', (error) => {
    output += error.message;
    end(false);
  });
  child.on('close', (code) => end(code === 0));
  return promise;
}

const outcomes = await Promise.all(checks.map(run));
for (const { name, passed, seconds, output } of outcomes) {
  process.stdout.write(`${passed ? 'ok    ' : 'FAILED'} ${name.padEnd(12)} ${seconds.toFixed(1)} s\n`);
  if (!passed) process.stdout.write(`${output.trimEnd()}\n\n`);
}
process.exitCode = outcomes.every((outcome) => outcome.passed) ? 0 : 1;
