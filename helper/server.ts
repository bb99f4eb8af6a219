/**
 * The helper's socket. Who may open it is decided by the kernel, at connect, as the peer's credentials would say it (Node has
 * no SO_PEERCRED): mode 0600, owned by the one user, in a folder that only root may write, see docs/security.md. Owns which connection holds the machine: the first that applies; when it
 * closes, what it asked for stays for a short grace, so that a daemon that restarts finds its names in place.
 */
import { chmodSync, chownSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import type { Machine } from './machine.ts';
import { limits, protocolVersion, type HelloAnswer, type HelperAnswer, type HelperRequest } from './protocol.ts';
import { readRequestLines } from './request-lines.ts';
import { parseRequest, RequestError } from './validate.ts';

export interface HelperServerOptions {
  /** `RUN/UID/helper.sock` */
  runDir: string;
  uid: number;
  gid: number;
  version: string;
  machine: Machine;
  /** Milliseconds between the loss of the holder and the undoing. */
  grace: number;
  /** Milliseconds in which a connection must say hello, and complete a request that it began; default 5,000. */
  patience?: number;
  /** Hears of every request, done or refused. Must not throw. */
  audit: (operation: string, facts: Record<string, unknown>) => void;
}

export async function startHelperServer(options: HelperServerOptions): Promise<AsyncDisposable> {
  const path = await claimSocketPath(options.runDir, options.uid);
  const sockets = new Set<Socket>();
  const holding: Holding = { holder: undefined, timer: undefined };
  const server = createServer((socket) => {
    if (sockets.size >= limits.clients) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    serve(socket, holding, options);
  });
  // The socket is made for nobody but root, then given to the user.
  const mask = process.umask(0o177);
  try {
    server.listen(path);
    await once(server, 'listening');
  } finally {
    process.umask(mask);
  }
  chownSync(path, options.uid, options.gid);
  return {
    async [Symbol.asyncDispose]() {
      server.close();
      clearTimeout(holding.timer);
      for (const socket of sockets) socket.destroy();
      await options.machine.undo();
      options.machine.close();
      rmSync(path, { force: true });
    },
  };
}

/** Tells the connections apart in the audit. */
let callers = 0;

interface Holding {
  holder: Socket | undefined;
  timer: NodeJS.Timeout | undefined;
}

function serve(socket: Socket, holding: Holding, options: HelperServerOptions): void {
  const { machine, version, grace, audit, patience = 5000 } = options;
  const caller = ++callers;
  let greeted = false;
  const late = setTimeout(() => socket.destroy(), patience);

  const answer = (message: HelperAnswer): void => {
    socket.write(`${JSON.stringify(message)}\n`);
    // A caller that asks and does not read would fill our memory.
    if (socket.writableLength > limits.unreadBytes) socket.destroy();
  };

  const handle = async (request: HelperRequest): Promise<unknown> => {
    if (request.op === 'hello') {
      if (request.protocol !== protocolVersion) {
        throw new RequestError(
          'WRONG_VERSION',
          `The helper ${version} speaks protocol ${protocolVersion}, the caller ${request.protocol}.`,
        );
      }
      greeted = true;
      clearTimeout(late);
      return { version, protocol: protocolVersion, redirects: machine.redirects } satisfies HelloAnswer;
    }
    if (!greeted) throw new RequestError('BAD_REQUEST', 'hello comes first.');
    if (socket.destroyed) throw new RequestError('FAILED', 'The caller is gone.'); // it must not become the holder
    if (holding.holder !== undefined && holding.holder !== socket) {
      throw new RequestError('HELD', 'Another daemon of this user holds the names of this machine.');
    }
    clearTimeout(holding.timer);
    if (request.op === 'apply') {
      holding.holder = socket;
      return machine.apply(request.desired);
    }
    holding.holder = undefined;
    await machine.undo();
    return {};
  };

  /** The last answer of a connection: nothing that it sent besides is looked at. */
  const dismiss = (message: HelperAnswer): void => {
    stopReading();
    answer(message);
    // Closing with bytes unread would take the answer away too.
    socket.resume().end();
    setTimeout(() => socket.destroy(), 1000).unref();
  };

  const receive = async (line: string): Promise<void> => {
    let id = 0;
    let operation = 'unreadable';
    try {
      const request = parseRequest(line);
      ({ id, op: operation } = request);
      const result = await handle(request);
      audit(operation, { caller });
      answer({ id, ok: true, result });
    } catch (error) {
      const code = error instanceof RequestError ? error.code : 'FAILED';
      const message = error instanceof Error ? error.message : String(error);
      audit(operation, { caller, refused: code, reason: message });
      const refusal: HelperAnswer = { id, ok: false, error: { code, message } };
      if (!greeted || code === 'BAD_REQUEST') dismiss(refusal);
      else answer(refusal);
    }
  };

  const stopReading = readRequestLines(socket, {
    longest: limits.requestBytes,
    patience,
    onLine: receive,
    onTooLong() {
      audit('unreadable', { caller, refused: 'TOO_MUCH' });
      dismiss({ id: 0, ok: false, error: { code: 'TOO_MUCH', message: 'The request is too long.' } });
    },
  });
  socket.on('error', () => socket.destroy());
  socket.once('close', () => {
    clearTimeout(late);
    if (holding.holder !== socket) return;
    holding.holder = undefined;
    holding.timer = setTimeout(() => void machine.undo().catch(() => undefined), grace);
  });
}

/** The folders of the socket, which nobody but root may write; refuses where somebody else has prepared them. */
export async function claimSocketPath(runDir: string, uid: number): Promise<string> {
  const path = join(runDir, String(uid), 'helper.sock');
  for (const folder of [runDir, dirname(path)]) {
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    const stat = lstatSync(folder);
    if (!stat.isDirectory() || stat.uid !== process.getuid?.())
      throw new Error(`${folder} is not a folder of this user; refusing to use it.`);
    chmodSync(folder, 0o755);
  }
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) {
    if (await answers(path)) throw new Error(`Another helper answers at ${path}.`);
    rmSync(path);
  }
  return path;
}

async function answers(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
