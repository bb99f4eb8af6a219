/** One command in a container over a WebSocket (v5.channel.k8s.io, else v4), its output bounded and its exit status told. */
import { Readable } from 'node:stream';
import { BowlineError } from '../../api/errors.ts';
import { pathOf, subjectOf } from './paths.ts';
import { pods } from './resources.ts';
import { abortReason, startDeadline } from './transport/deadline.ts';
import type { WebSocket } from 'ws';
import type { CallOptions, ExecResult, ExecStream } from './cluster.ts';
import type { Transport } from './transport/transport.ts';

export interface ExecTarget {
  namespace: string;
  name: string;
  container: string;
}

const channel = { stdin: 0, stdout: 1, stderr: 2, status: 3, close: 255 } as const;
const defaultTimeout = 15_000;
const defaultMaxBytes = 4 * 1024 * 1024;
const maxStderr = 64 * 1024;
const stdinPiece = 256 * 1024;

export async function execute(
  transport: Transport,
  pod: ExecTarget,
  command: string[],
  options: CallOptions & { stdin?: Buffer; maxBytes?: number } = {},
): Promise<ExecResult> {
  const { stdin, maxBytes = defaultMaxBytes, timeout = defaultTimeout, signal } = options;
  using deadline = startDeadline(timeout, [signal], () =>
    failed(pod, command, `did not end within ${timeout / 1000} s`),
  );
  const ws = await openExec(transport, pod, command, {
    stdin: stdin !== undefined,
    signal: deadline.signal,
    timeout,
  });
  try {
    return await finished(ws, { pod, command, stdin, maxBytes }, deadline.signal);
  } finally {
    ws.terminate();
  }
}

function openExec(
  transport: Transport,
  pod: ExecTarget,
  command: string[],
  { stdin, signal, timeout }: { stdin: boolean; signal: AbortSignal; timeout: number },
): Promise<WebSocket> {
  const place = { namespace: pod.namespace, name: pod.name, subresource: 'exec' };
  const query = new URLSearchParams({
    container: pod.container,
    stdout: 'true',
    stderr: 'true',
    stdin: String(stdin),
  });
  for (const word of command) query.append('command', word);
  return transport.webSocket(
    { method: 'GET', path: pathOf(pods, place), subject: subjectOf('get', pods, place), signal, timeout },
    // Only v5 can say that stdin has ended.
    stdin ? ['v5.channel.k8s.io'] : ['v5.channel.k8s.io', 'v4.channel.k8s.io'],
    query,
  );
}

/**
 * The same, for output of any size: a stream that holds little and makes the command wait for its reader. It ends when
 * the command has ended, whose status `exit` tells. `timeout` bounds the start, and then each silence.
 */
export async function executeStream(
  transport: Transport,
  pod: ExecTarget,
  command: string[],
  { timeout = defaultTimeout, signal }: CallOptions = {},
): Promise<ExecStream> {
  using deadline = startDeadline(timeout, [signal], () =>
    failed(pod, command, `did not start within ${timeout / 1000} s`),
  );
  const ws = await openExec(transport, pod, command, { stdin: false, signal: deadline.signal, timeout });
  const exit = Promise.withResolvers<{ exitCode: number; stderr: string }>();
  exit.promise.catch(() => undefined);
  const stderr: Buffer[] = [];
  let stderrSize = 0;
  let told = false;
  const output = new Readable({
    read: () => ws.resume(),
    destroy(error, done) {
      clearTimeout(silence);
      signal?.removeEventListener('abort', onAbort);
      ws.terminate();
      exit.reject(error ?? failed(pod, command, 'was not waited for'));
      done(error);
    },
  });
  const onAbort = (): void => void output.destroy(abortReason(signal!));
  const silence = setTimeout(
    // While the reader is slow it is not the command that is silent.
    () =>
      ws.isPaused ? silence.refresh() : output.destroy(failed(pod, command, `said nothing for ${timeout / 1000} s`)),
    timeout,
  ).unref();
  signal?.addEventListener('abort', onAbort, { once: true });
  ws.on('message', (message: Buffer) => {
    silence.refresh();
    const payload = message.subarray(1);
    if (message[0] === channel.stdout && payload.length > 0 && !output.push(payload)) ws.pause();
    if (message[0] === channel.stderr && stderrSize < maxStderr) {
      stderr.push(payload.subarray(0, maxStderr - stderrSize));
      stderrSize += payload.length;
    }
    if (message[0] !== channel.status) return;
    told = true;
    const { exitCode, message: reason } = readStatus(payload);
    if (exitCode === undefined) output.destroy(failed(pod, command, `could not be run: ${reason}`));
    else {
      exit.resolve({ exitCode, stderr: Buffer.concat(stderr).toString('utf8') });
      output.push(null);
    }
  });
  ws.on('close', (code) => {
    if (!told) output.destroy(failed(pod, command, `was cut off (WebSocket code ${code})`));
  });
  if (signal?.aborted) onAbort();
  else ws.resume();
  return { output, exit: exit.promise };
}

interface Execution {
  pod: ExecTarget;
  command: string[];
  stdin: Buffer | undefined;
  maxBytes: number;
}

function finished(
  ws: WebSocket,
  { pod, command, stdin, maxBytes }: Execution,
  signal: AbortSignal,
): Promise<ExecResult> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  let stdoutSize = 0;
  let stderrSize = 0;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => settle(() => reject(abortReason(signal)));
    const settle = (how: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      how();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    ws.on('message', (message: Buffer) => {
      const payload = message.subarray(1);
      switch (message[0] ?? channel.close) {
        case channel.stdout:
          stdoutSize += payload.length;
          if (stdoutSize > maxBytes) settle(() => reject(failed(pod, command, `wrote more than ${maxBytes} bytes`)));
          else stdout.push(payload);
          return;
        case channel.stderr:
          if (stderrSize < maxStderr) stderr.push(payload.subarray(0, maxStderr - stderrSize));
          stderrSize += payload.length;
          return;
        case channel.status: {
          const status = readStatus(payload);
          if (status.exitCode === undefined)
            return settle(() => reject(failed(pod, command, `could not be run: ${status.message}`)));
          const { exitCode } = status;
          settle(() =>
            resolve({ stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString('utf8'), exitCode }),
          );
          return;
        }
        default:
          return;
      }
    });
    ws.on('close', (code) => settle(() => reject(failed(pod, command, `was cut off (WebSocket code ${code})`))));
    ws.resume();
    if (signal.aborted) onAbort();
    else if (stdin !== undefined) sendStdin(ws, stdin);
  });
}

function sendStdin(ws: WebSocket, stdin: Buffer): void {
  for (let at = 0; at < stdin.length; at += stdinPiece) {
    ws.send(Buffer.concat([Buffer.of(channel.stdin), stdin.subarray(at, at + stdinPiece)]));
  }
  ws.send(Buffer.of(channel.close, channel.stdin));
}

/** The last message: a Status whose cause tells the exit status of a command that failed. */
function readStatus(payload: Buffer): { exitCode: number | undefined; message: string } {
  try {
    const status = JSON.parse(payload.toString('utf8')) as {
      status?: string;
      message?: string;
      details?: { causes?: Array<{ reason?: string; message?: string }> };
    };
    if (status.status === 'Success') return { exitCode: 0, message: '' };
    const cause = status.details?.causes?.find(({ reason }) => reason === 'ExitCode');
    const exitCode = Number.parseInt(cause?.message ?? '', 10);
    return { exitCode: Number.isNaN(exitCode) ? undefined : exitCode, message: status.message ?? 'no reason given' };
  } catch {
    return { exitCode: undefined, message: 'its status is unreadable' };
  }
}

/** Names the program only: arguments may hold secrets. */
function failed(pod: ExecTarget, command: string[], why: string): BowlineError {
  return new BowlineError(
    'API_ERROR',
    `The command "${command[0] ?? ''}" in container "${pod.container}" of pod "${pod.name}" ${why}.`,
    {
      details: { pod: pod.name, namespace: pod.namespace, container: pod.container },
    },
  );
}
