/**
 * The helper's socket. Who may open it is decided by the kernel: mode 0600, owned by the one user, in a folder that only
 * root may write (Node has no SO_PEERCRED). Owns which connection holds the machine: the first that applies; when it
 * closes, what it asked for stays for a short grace, so that a daemon that restarts finds its names in place.
 */
import { chmodSync, chownSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import type { Machine } from './machine.ts';
import { limits, protocolVersion, type HelloAnswer, type HelperAnswer, type HelperRequest } from './protocol.ts';
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
  /** Milliseconds in which a connection must say hello. */
  patience?: number;
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

interface Holding {
  holder: Socket | undefined;
  timer: NodeJS.Timeout | undefined;
}

function serve(socket: Socket, holding: Holding, options: HelperServerOptions): void {
  const { machine, version, grace } = options;
  let greeted = false;
  let pending = '';
  const late = setTimeout(() => socket.destroy(), options.patience ?? 5000);
  const answer = (message: HelperAnswer): void => void socket.write(`${JSON.stringify(message)}\n`);

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

  const receive = async (line: string): Promise<void> => {
    let id = 0;
    try {
      const request = parseRequest(line);
      id = request.id;
      answer({ id, ok: true, result: await handle(request) });
    } catch (error) {
      const code = error instanceof RequestError ? error.code : 'FAILED';
      answer({ id, ok: false, error: { code, message: error instanceof Error ? error.message : String(error) } });
      if (!greeted || code === 'BAD_REQUEST') socket.end();
    }
  };

  let work = Promise.resolve();
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    pending += chunk;
    const lines = pending.split('\n');
    pending = lines.pop() ?? '';
    for (const line of lines) {
      socket.pause(); // one request at a time
      work = work.then(() => receive(line)).then(() => void socket.resume());
    }
    if (pending.length > limits.requestBytes) {
      answer({ id: 0, ok: false, error: { code: 'TOO_MUCH', message: 'The request is too long.' } });
      pending = '';
      // Closing with bytes unread would take the answer away too.
      socket.removeAllListeners('data').resume().end();
      setTimeout(() => socket.destroy(), 1000).unref();
    }
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
