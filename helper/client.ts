/**
 * The daemon's end of the helper's socket. Says hello, sends the whole desired state, notices the loss. Knows no more of
 * the helper than the protocol.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { BowlineError } from '../api/errors.ts';
import { protocolVersion } from './protocol.ts';
import type { ApplyAnswer, Desired, HelloAnswer, HelperAnswer, HelperClient, HelperRequest } from './protocol.ts';

export interface ConnectHelperOptions {
  uid: number;
  runDir?: string;
  /** Milliseconds for each answer; default 10,000. */
  timeout?: number;
}

type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never;

export async function connectHelper(options: ConnectHelperOptions, signal: AbortSignal): Promise<HelperClient> {
  const timeout = options.timeout ?? 10_000;
  const socket = connect(join(options.runDir ?? '/run/bowline', String(options.uid), 'helper.sock'));
  try {
    await once(socket, 'connect', { signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]) });
  } catch (error) {
    socket.destroy();
    signal.throwIfAborted();
    throw unreachable(error);
  }
  const session = new Session(socket, timeout);
  try {
    const hello = (await session.ask({ op: 'hello', protocol: protocolVersion })) as HelloAnswer;
    return {
      version: hello.version,
      redirects: hello.redirects,
      apply: (desired: Desired) => session.ask({ op: 'apply', desired }) as Promise<ApplyAnswer>,
      release: async () => void (await session.ask({ op: 'release' })),
      closed: session.closed,
      close: () => socket.destroy(),
    };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

class Session {
  readonly #socket: Socket;
  readonly #timeout: number;
  readonly #waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>();
  readonly closed: Promise<void>;
  #pending = '';
  #id = 0;

  constructor(socket: Socket, timeout: number) {
    this.#socket = socket;
    this.#timeout = timeout;
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => this.#receive(chunk));
    socket.on('error', () => socket.destroy());
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        const gone = new BowlineError('HELPER_MISSING', 'The helper went away.', {
          hint: 'Run `bowline helper status`.',
        });
        for (const { reject } of this.#waiting.values()) reject(gone);
        this.#waiting.clear();
        resolve();
      });
    });
  }

  ask(request: WithoutId<HelperRequest>): Promise<unknown> {
    this.#id += 1;
    const id = this.#id;
    if (this.#socket.destroyed) return Promise.reject(new BowlineError('HELPER_MISSING', 'The helper went away.'));
    return new Promise((resolve, reject) => {
      // A helper that does not answer is as good as none: the connection ends, and with it the wait.
      const timer = setTimeout(() => this.#socket.destroy(), this.#timeout);
      this.#waiting.set(id, {
        resolve: (result) => {
          clearTimeout(timer);
          resolve(result);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
      this.#socket.write(`${JSON.stringify({ id, ...request })}\n`);
    });
  }

  #receive(chunk: string): void {
    this.#pending += chunk;
    const lines = this.#pending.split('\n');
    this.#pending = lines.pop() ?? '';
    for (const line of lines) {
      const answer = JSON.parse(line) as HelperAnswer;
      // What could not be read as a request is answered with id 0; requests are answered in order, so it is the oldest.
      const id = answer.id === 0 ? [...this.#waiting.keys()][0] : answer.id;
      const waiting = this.#waiting.get(id ?? 0);
      this.#waiting.delete(id ?? 0);
      if (answer.ok) waiting?.resolve(answer.result);
      else waiting?.reject(refused(answer.error));
    }
  }
}

function refused(error: { code: string; message: string }): BowlineError {
  const hint =
    error.code === 'WRONG_VERSION'
      ? 'Run `bowline helper install` again, so that both have the same version.'
      : error.code === 'HELD'
        ? 'Stop the other daemon with `bowline daemon stop`.'
        : 'Run `bowline helper status`.';
  return new BowlineError('HELPER_REFUSED', `The helper refused: ${error.message}`, {
    hint,
    details: { helper: error.code },
  });
}

function unreachable(error: unknown): BowlineError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === 'EACCES') {
    return new BowlineError('HELPER_REFUSED', 'The helper of this machine serves another user.', {
      hint: 'Run `bowline helper install`.',
      cause: error,
    });
  }
  const why =
    code === 'ENOENT'
      ? 'is not installed or not started'
      : code === 'ECONNREFUSED'
        ? 'is not running'
        : 'does not answer';
  return new BowlineError('HELPER_MISSING', `The helper ${why}, so names cannot be put on this machine.`, {
    hint: 'Run `bowline helper install` (it asks for root once).',
    cause: error,
  });
}
