import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempDisposableSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathsOf, platformFacts } from '../../api/paths.ts';
import type { Io } from '../io.ts';
import { buildProgram } from '../program.ts';
import { bashCompletion } from './bash.ts';
import { fishCompletion } from './fish.ts';
import { completionModel } from './model.ts';
import { powershellCompletion } from './powershell.ts';
import { zshCompletion } from './zsh.ts';

const nothing = (): void => undefined;
const facts = platformFacts();
const io: Io = {
  facts,
  paths: pathsOf(facts),
  json: false,
  command: undefined,
  watched: false,
  steps: false,
  status: 0,
  out: nothing,
  err: nothing,
};
const commands = completionModel(await buildProgram(io));

function has(shell: string): boolean {
  return spawnSync(shell, ['--version']).error === undefined;
}

/** What bash offers at the end of the words, by the very function that Tab calls. */
function completeInBash(...words: string[]): string[] {
  const script = `
    bowline() { printf 'shop/api\\nshop/web\\n'; }
    ${bashCompletion(commands)}
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    _bowline
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const output = execFileSync('bash', ['--norc', '-c', script, 'bash', 'bowline', ...words], { encoding: 'utf8' });
  return output.split('\n').filter((line) => line !== '');
}

void test('the model has every command and option', () => {
  const paths = commands.map(({ path }) => path.join(' '));
  for (const path of [
    '',
    'connect',
    'list',
    'status',
    'env',
    'disconnect',
    'restore',
    'logs',
    'doctor',
    'diagnostics',
    'daemon stop',
    'helper install',
    'completion',
  ]) {
    assert.ok(paths.includes(path), path);
  }
  const connect = commands.find(({ path }) => path[0] === 'connect');
  assert.deepEqual(connect?.options.find(({ long }) => long === '--if-down')?.choices, ['refuse', 'original']);
  assert.equal(connect?.options.find(({ long }) => long === '--port')?.short, '-p');
});

void test('bash: commands, options, values, names', { skip: !has('bash') && 'there is no bash' }, () => {
  assert.deepEqual(completeInBash('con'), ['connect']);
  assert.ok(completeInBash('').includes('doctor'));
  assert.deepEqual(completeInBash('daemon', 'st').sort(), ['start', 'status', 'stop']);
  assert.deepEqual(completeInBash('connect', '--na').sort(), ['--names', '--namespace']);
  assert.deepEqual(completeInBash('connect', 'deploy/x', '--if-down', ''), ['refuse', 'original']);
  assert.deepEqual(completeInBash('connect', '-n', 'status', '--st'), ['--stop-original'], 'a value is no command');
  assert.deepEqual(completeInBash('disconnect', ''), ['shop/api', 'shop/web']);
  assert.deepEqual(completeInBash('env', 'shop/a'), ['shop/api']);
  assert.deepEqual(completeInBash('completion', 'z'), ['zsh']);
  assert.ok(completeInBash('connect', 'x', '--', 'ls').includes('ls'), 'behind -- it is another program');
  assert.deepEqual(completeInBash('daemon', '--a'), []);
});

/** What fish offers, by its own `complete -C`. */
function completeInFish(line: string): string[] {
  const script = `function bowline; printf 'shop/api\\nshop/web\\n'; end\n${fishCompletion(commands)}\ncomplete -C ${JSON.stringify(line)}`;
  using home = mkdtempDisposableSync(join(tmpdir(), 'bowline-fish-')); // it makes folders there
  const output = execFileSync('fish', ['--no-config', '-c', script], {
    encoding: 'utf8',
    env: { ...process.env, HOME: home.path },
  });
  return output.split('\n').flatMap((offer) => offer.split('\t')[0] || []);
}

void test('fish: commands, options, values, names', { skip: !has('fish') && 'there is no fish' }, () => {
  assert.deepEqual(completeInFish('bowline con'), ['connect']);
  assert.deepEqual(completeInFish('bowline daemon st').sort(), ['start', 'status', 'stop']);
  assert.deepEqual(completeInFish('bowline connect --na').sort(), ['--names', '--namespace']);
  assert.deepEqual(completeInFish('bowline connect deploy/x --if-down ').sort(), ['original', 'refuse']);
  assert.deepEqual(completeInFish('bowline disconnect ').sort(), ['shop/api', 'shop/web']);
  assert.deepEqual(completeInFish('bowline completion z'), ['zsh']);
});

/** What the line is after Tab in a real interactive zsh, by a key that completes and then writes the line down. */
function completeInZsh(line: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'bowline-'));
  const file = (name: string): string => join(folder, name);
  const setup = `
    PS1= PROMPT= RPROMPT=
    bowline() { print -l shop/api shop-other }
    autoload -Uz compinit && compinit -D -u
    source ${file('script')}
    complete-and-tell() { zle complete-word; print -r -- "$BUFFER" > ${file('line')}; print; print DO''NE }
    zle -N complete-and-tell
    bindkey '^T' complete-and-tell
    print REA''DY`;
  const driver = `
    zmodload zsh/zpty
    zpty shell zsh -f -i
    zpty -w shell "source ${file('setup')}"
    zpty -m -r shell out '*READY*'
    zpty -w -n shell "$1"$'\\x14'
    zpty -m -r shell out '*DONE*'
    zpty -d shell`;
  try {
    writeFileSync(file('script'), zshCompletion(commands));
    writeFileSync(file('setup'), setup);
    execFileSync('zsh', ['-f', '-c', driver, 'zsh', line], { timeout: 20_000 });
    return readFileSync(file('line'), 'utf8').trim();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

void test('zsh: commands, options, values, names', { skip: !has('zsh') && 'there is no zsh' }, () => {
  assert.equal(completeInZsh('bowline con'), 'bowline connect');
  assert.equal(completeInZsh('bowline daemon sta'), 'bowline daemon sta');
  assert.equal(completeInZsh('bowline connect --kubec'), 'bowline connect --kubeconfig=');
  assert.equal(completeInZsh('bowline connect deploy/x --if-down=or'), 'bowline connect deploy/x --if-down=original');
  assert.equal(completeInZsh('bowline disconnect shop/'), 'bowline disconnect shop/api');
  assert.equal(completeInZsh('bowline connect x -- mkfif'), 'bowline connect x -- mkfifo');
  assert.equal(completeInZsh('bowline connect -p 80 --por'), 'bowline connect -p 80 --port=');
  assert.equal(completeInZsh('bowline completion z'), 'bowline completion zsh');
});

void test('every script has every command and option', () => {
  for (const make of [bashCompletion, zshCompletion, fishCompletion, powershellCompletion]) {
    const script = make(commands);
    for (const { options, subcommands } of commands) {
      for (const { name } of subcommands) assert.ok(script.includes(name), `${make.name} ${name}`);
      for (const { long } of options) assert.ok(script.includes(long.replace(/^--/, '')), `${make.name} ${long}`);
    }
  }
});

const checks: Array<[shell: string, args: string[], script: string]> = [
  ['bash', ['-n'], bashCompletion(commands)],
  ['zsh', ['-n'], zshCompletion(commands)],
  ['pwsh', ['-NoProfile', '-Command', '-'], powershellCompletion(commands)],
];
for (const [shell, args, script] of checks) {
  void test(`${shell} takes its script`, { skip: !has(shell) && `there is no ${shell}` }, () => {
    const { status, stderr } = spawnSync(shell, args, { input: script, encoding: 'utf8' });
    assert.equal(stderr, '');
    assert.equal(status, 0);
  });
}
