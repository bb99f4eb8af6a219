/**
 * Runs the user's command with the pod's variables: standard streams inherited, signals passed on, its end as a shell
 * would report it. The terminal sends its own signals (Ctrl-C) to the command itself, so those are not sent twice.
 */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { constants } from 'node:os';
import { notStarted } from './find-program.ts';

const passedOn = ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP', 'SIGUSR2', 'SIGCONT'] as const;
const fromTerminal = new Set<string>(['SIGINT', 'SIGQUIT', 'SIGCONT']);

export interface RunOptions {
  command: string[];
  env: Readonly<Record<string, string | undefined>>;
  /** The container's variables that a program on the machine shall have; they win over `env`. */
  podVariables: Readonly<Record<string, string>>;
  /** Programs that become the command, with their arguments: the way into a namespace. */
  enter?: readonly string[];
  streams?: Streams;
}

/** Streams of its own, instead of those of this process, for a command that is ours. */
export interface Streams {
  stdio: StdioOptions;
  onStart: (child: ChildProcess) => void;
}

/** Resolves with the exit status, 128 + number for a signal. Rejects with COMMAND_NOT_STARTED. */
export async function runCommand({ command, env, podVariables, enter = [], streams }: RunOptions): Promise<number> {
  const [program = '', ...args] = [...enter, ...command];
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let child: ChildProcess | undefined;
  // Before the command is there: it may be up, and be told to end, before `spawn` comes back to us.
  const forwards = passedOn.map((name) => {
    const forward = (): void => {
      if (fromTerminal.has(name) && process.stdin.isTTY) return;
      child?.kill(name);
    };
    process.on(name, forward);
    return () => process.removeListener(name, forward);
  });
  try {
    child = spawn(program, args, { stdio: streams?.stdio ?? 'inherit', env: { ...env, ...podVariables } });
    streams?.onStart(child);
    child.once('error', (error: NodeJS.ErrnoException) => reject(notStarted(command[0] ?? '', reasonOf(error), error)));
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
    return await promise;
  } finally {
    for (const stop of forwards) stop();
  }
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return 'there is no such program';
  return error.code === 'EACCES' ? 'it may not be executed' : error.message;
}
