/** Real programs that read what the formats write. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** Whether a program can be started here. */
export function isInstalled(program: string, ...args: string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** A file with the text, in a folder of its own; gone when disposed of. */
export function temporaryFile(text: string): { path: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), 'formats-'));
  const path = join(folder, 'variables');
  writeFileSync(path, text);
  return { path, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
}

/** The environment of a program that a shell script starts at its end; `$FILE` is the file with the text. */
export function environmentAfter(shell: string[], text: string, script: string): Record<string, string> {
  const [program = '', ...args] = shell;
  using file = temporaryFile(text);
  const env = { PATH: process.env['PATH'], FILE: file.path, HOME: dirname(file.path), NODE: process.execPath };
  const print = `"$NODE" -e 'process.stdout.write(JSON.stringify(process.env))'`;
  const output = execFileSync(program, [...args, `${script}\n${print}`], {
    env,
    encoding: 'utf8',
    maxBuffer: 10 * 1024 * 1024,
  });
  return JSON.parse(output) as Record<string, string>;
}
