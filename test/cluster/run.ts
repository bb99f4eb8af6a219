/**
 * Runs other programs for the harness: output collected, failure explained with what the program said. The programs are
 * the system's own (ip, mount, ctr, kubectl), so their words are the best error there is.
 */
import { spawn } from 'node:child_process';
import type { SpawnOptions } from 'node:child_process';

export interface RunOptions {
  input?: string | Buffer;
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  signal?: AbortSignal | undefined;
  /** Milliseconds until the program is killed; default 60,000. */
  timeout?: number;
}

export interface RunResult {
  /** 128 + signal number where a signal ended it, as a shell says it. */
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end, whatever its exit status. Throws only when it cannot be started or is aborted. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const [program, ...args] = command;
  if (program === undefined) throw new Error('run needs a command');
  const timeout = AbortSignal.timeout(options.timeout ?? 60_000);
  const spawnOptions: SpawnOptions = {
    stdio: ['pipe', 'pipe', 'pipe'],
    signal: options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]),
    killSignal: 'SIGKILL',
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env }),
  };
  const child = spawn(program, args, spawnOptions);
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
  // A program that ends without reading its input closes the pipe; its exit status says the rest.
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(options.input ?? '');
  const exitCode = await new Promise<number>((resolve, reject) => {
    child.on('error', (error) => {
      const late = timeout.aborted && options.signal?.aborted !== true;
      const said = Buffer.concat(stderr).toString().trim();
      reject(
        late ? new Error(`${command.join(' ')} did not end in time${said && `: ${said}`}`, { cause: error }) : error,
      );
    });
    child.on('close', (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : (signalNumbers[signal] ?? 0)));
    });
  });
  return { exitCode, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
}

/** Runs a program that must succeed; returns its standard output. */
export async function must(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await run(command, options);
  if (result.exitCode === 0) return result.stdout;
  const said = result.stderr.trim() || result.stdout.trim();
  throw new Error(`${command.join(' ')} failed with exit status ${result.exitCode}${said && `: ${said}`}`);
}

const signalNumbers: Partial<Record<NodeJS.Signals, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };
