/** The command at a terminal: a real one of the kernel, between the command and these tests. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { ended, startDeveloper, type Developer } from './developer.ts';
import { deployShop } from '../../examples/shop/deploy.ts';
import type { RunResult } from '../cluster/run.ts';

const ctrlC = '\u0003';

void suite('at a terminal', { timeout: 300_000 }, () => {
  let dev: Developer;
  let untouched: () => Promise<void>;

  before(async () => {
    dev = await startDeveloper({ name: 'terminal', helper: false });
    await deployShop(dev.namespace);
    untouched = await dev.whole();
  });
  after(() => dev?.[Symbol.asyncDispose]());

  const redirect = (...more: string[]): string[] => [
    'connect',
    'deploy/stats-api',
    '-n',
    dev.namespace.name,
    '--port',
    '3001',
    ...more,
  ];

  /** Runs `bowline ARGS` there; `type` may answer what is typed when something is seen. Both streams are one: the screen. */
  async function atTerminal(args: string[], type?: { when: RegExp; keys: string }): Promise<RunResult> {
    const words = [`${dev.machine.checkout}/bowline`, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
    const env = { BOWLINE_AGENT_IMAGE: dev.cluster.nodeImage, NO_COLOR: '1', TERM: 'xterm' };
    const terminal = dev.machine.spawn(['script', '--quiet', '--return', '--command', words.join(' '), '/dev/null'], {
      env,
    });
    const end = ended(terminal);
    let screen = '';
    let typed = type === undefined;
    terminal.stdout?.on('data', (chunk: Buffer) => {
      screen += chunk.toString();
      if (typed || type?.when.test(stripVTControlCharacters(screen)) !== true) return;
      typed = true;
      terminal.stdin?.write(type.keys);
    });
    const { exitCode, stderr } = await end;
    assert.ok(typed, `${type?.when.source} was not seen: ${screen}`);
    return { exitCode, stdout: screen, stderr };
  }

  /** What stays on the screen: of a line that is drawn again and again its last form. */
  const left = (screen: string): string[] =>
    screen
      .split('\n')
      .map((line) => stripVTControlCharacters(line.replace(/\r$/, '').split('\r\u001b[K').at(-1) ?? ''))
      .filter((line) => line !== '');

  test('the helper is installed by sudo, which asks at the terminal where it must', async () => {
    const { exitCode, stdout } = await atTerminal(['helper', 'install']);
    assert.equal(exitCode, 0, stdout);
    assert.match(await dev.must(['helper', 'status']), /\brun(s|ning)\b/);
  });

  test('connect draws the running step, and leaves one line for each with its seconds', async () => {
    const { exitCode, stdout } = await atTerminal(redirect());
    assert.equal(exitCode, 0, stdout);
    assert.match(stripVTControlCharacters(stdout), /⠋ .+ \d\.\d s/, 'a step while it runs');
    const lines = left(stdout);
    const steps = lines.filter((line) => line.startsWith('✓'));
    assert.ok(steps.length >= 6, stdout);
    for (const line of steps) assert.match(line, /^✓ \S.+ \d+\.\d s$/);
    assert.deepEqual(
      lines.filter((line) => /^[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]/.test(line)),
      [],
      'no half-drawn line stays',
    );
    const status = await atTerminal(['status']);
    assert.match(status.stdout, /^ +state +connected since /m);
    assert.equal((await atTerminal(['disconnect'])).exitCode, 0);
    await untouched();
  });

  test('Ctrl-C while it connects: it says what it stops, ends with 130, and nothing is left', async () => {
    const { exitCode, stdout } = await atTerminal(redirect(), { when: /✓ .*\n?/, keys: ctrlC });
    assert.equal(exitCode, 130, stdout);
    await untouched();
  });

  test('Ctrl-C goes to the COMMAND, once, and it decides', async () => {
    const script = 'trap "echo heard; exit 9" INT; echo ready; while :; do sleep 0.05; done';
    const { exitCode, stdout } = await atTerminal(redirect('--', 'sh', '-c', script), { when: /^ready/m, keys: ctrlC });
    assert.equal(exitCode, 9, stdout);
    assert.equal(stdout.match(/heard/g)?.length, 1, stdout);
    await untouched();
  });
});
