/**
 * Runs one command line as root, asking the user once in the way that fits: not at all as root, by sudo in a terminal, by
 * the desktop's own dialogue without one. Answers its standard output.
 */
import { spawn, spawnSync } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { BowlineError } from '../api/errors.ts';
import { quoteForShell } from '../env-parser/formats.ts';
import type { Io } from './io.ts';

export async function runAsRoot(command: string[], io: Io): Promise<string> {
  if (io.facts.uid === 0) return runPlain(command);
  if (io.facts.platform !== 'win32') {
    if (process.stdin.isTTY) return runPlain(['sudo', '--', ...command]);
    if (sudoAsksNothing()) return runPlain(['sudo', '--non-interactive', '--', ...command]);
  }
  if (hasDesktop(io)) return runByDialogue(command, io);
  throw new BowlineError('HELPER_REFUSED', 'This needs root once, and there is no terminal or desktop to ask on.', {
    hint: `Run as root: ${shown(command)}`,
  });
}

/** Scripts and CI: a user who may become root without a password. */
function sudoAsksNothing(): boolean {
  return spawnSync('sudo', ['--non-interactive', 'true'], { stdio: 'ignore' }).status === 0;
}

async function runPlain([program = '', ...args]: string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ['inherit', 'pipe', 'inherit'] });
  const { promise, reject } = Promise.withResolvers<never>();
  child.once('error', (error) =>
    reject(new BowlineError('HELPER_REFUSED', `${program} could not be started: ${error.message}.`)),
  );
  return Promise.race([text(child.stdout), promise]);
}

async function runByDialogue(command: string[], io: Io): Promise<string> {
  const { exec } = await import('@vscode/sudo-prompt');
  const line = io.facts.platform === 'win32' ? command.map((part) => `"${part}"`).join(' ') : shown(command);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  exec(line, { name: 'Bowline' }, (error, stdout) => {
    if (error)
      reject(
        new BowlineError('HELPER_REFUSED', `Root was not given: ${error.message}.`, { hint: `Run as root: ${line}` }),
      );
    else resolve(String(stdout ?? ''));
  });
  return promise;
}

function hasDesktop({ facts: { platform, env } }: Io): boolean {
  return platform !== 'linux' || Boolean(env['DISPLAY'] ?? env['WAYLAND_DISPLAY']);
}

function shown(command: string[]): string {
  return command.map((part) => (/^[\w./:@=-]+$/.test(part) ? part : quoteForShell(part))).join(' ');
}
