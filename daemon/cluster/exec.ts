/** One command in a container over a WebSocket (v5.channel.k8s.io, else v4), its output bounded and its exit status told. */
import { BowlineError } from '../../api/errors.ts';
import { pathOf, subjectOf } from './paths.ts';
import { pods } from './resources.ts';
import { abortReason, startDeadline } from './transport/deadline.ts';
import type { WebSocket } from 'ws';
import type { CallOptions, ExecResult } from './cluster.ts';
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
  const place = { namespace: pod.namespace, name: pod.name, subresource: 'exec' };
  const query = new URLSearchParams({
    container: pod.container,
    stdout: 'true',
    stderr: 'true',
    stdin: String(stdin !== undefined),
  });
  for (const word of command) query.append('command', word);
  const ws = await transport.webSocket(
    {
      method: 'GET',
      path: pathOf(pods, place),
      subject: subjectOf('get', pods, place),
      signal: deadline.signal,
      timeout,
    },
    // Only v5 can say that stdin has ended.
    stdin === undefined ? ['v5.channel.k8s.io', 'v4.channel.k8s.io'] : ['v5.channel.k8s.io'],
    query,
  );
  try {
    return await finished(ws, { pod, command, stdin, maxBytes }, deadline.signal);
  } finally {
    ws.terminate();
  }
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
