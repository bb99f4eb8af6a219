/**
 * The local API: HTTP/1.1 and JSON on a Unix socket in a private folder (a random named pipe on Windows). Owns the socket,
 * the token and the requests in flight; whoever calls is checked before anything else is read. A caller that goes away
 * aborts its operation.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Endpoint } from '../../api/endpoint.ts';
import { BowlineError, type ErrorCategory, type ErrorCode } from '../../api/errors.ts';
import type { Paths } from '../../api/paths.ts';
import { operationHeader, productVersion, protocolHeader, protocolText, versionHeader } from '../../api/version.ts';
import type { Log } from '../log.ts';
import { writeWhole } from '../state/json-files.ts';
import { BodyTooLarge, checked, readJson } from './body.ts';
import { checkCaller } from './guard.ts';
import { errorForCaller, type Handlers } from './handlers.ts';
import type { Operations } from './operations.ts';
import { findRoute, type Found } from './router.ts';

export interface ServerOptions {
  paths: Paths;
  handlers: Handlers;
  operations: Operations;
  log: Log;
  limits?: Partial<ServerLimits>;
}

/** What one caller may take of the daemon's time and memory. */
export interface ServerLimits {
  /** Milliseconds for the headers of a request to arrive. */
  headers: number;
  /** Milliseconds for a whole request to arrive. */
  request: number;
  /** At once; the next one is closed unanswered. */
  connections: number;
  /** Bytes a stream's reader may leave lying before it is cut off; it can resume. */
  unread: number;
}

const production: ServerLimits = { headers: 5_000, request: 30_000, connections: 512, unread: 8 * 1024 * 1024 };
/** Milliseconds for requests in flight when the server ends. */
const closingTime = 2_000;

/** Listens when resolved; the folder must be made and the lock be held. */
export async function startServer(options: ServerOptions, signal: AbortSignal): Promise<AsyncDisposable> {
  const { paths, log } = options;
  const limits = { ...production, ...options.limits };
  const token = randomBytes(32).toString('base64url');
  const ending = new AbortController();
  const server = createServer(
    {
      headersTimeout: limits.headers,
      requestTimeout: limits.request,
      connectionsCheckingInterval: Math.min(1_000, limits.headers, limits.request),
      keepAliveTimeout: 5_000,
    },
    (request, response) => {
      serve(request, response, { ...options, limits, token, ending: ending.signal }).catch((error: unknown) => {
        log.error('api.failed', { error });
        response.destroy();
      });
    },
  );
  server.maxConnections = limits.connections;
  const socket = paths.socket ?? `\\\\.\\pipe\\bowline-${randomBytes(16).toString('hex')}`;
  // Only the holder of the lock comes here, so what lies there is of a dead daemon.
  if (paths.socket) await rm(paths.socket, { force: true });
  signal.throwIfAborted();
  // Before anyone can connect: whoever is answered finds the token that belongs to the answer.
  const endpoint: Endpoint = { socket, token, pid: process.pid, version: productVersion };
  await writeWhole(paths.endpoint, JSON.stringify(endpoint), { durable: false });
  server.listen(socket);
  await once(server, 'listening');
  if (paths.socket) await chmod(paths.socket, 0o600);
  log.info('api.listening', { socket });

  return {
    async [Symbol.asyncDispose]() {
      await rm(paths.endpoint, { force: true });
      const closed = once(server, 'close');
      server.close();
      ending.abort(new BowlineError('CANCELLED', 'The daemon is ending.'));
      server.closeIdleConnections();
      const late = setTimeout(() => server.closeAllConnections(), closingTime);
      await closed;
      clearTimeout(late);
    },
  };
}

interface Context extends ServerOptions {
  limits: ServerLimits;
  token: string;
  ending: AbortSignal;
}

async function serve(request: IncomingMessage, response: ServerResponse, context: Context): Promise<void> {
  response.setHeader(protocolHeader, protocolText);
  response.setHeader(versionHeader, productVersion);
  response.setHeader('cache-control', 'no-store');
  const gone = new AbortController();
  response.once('close', () =>
    gone.abort(new BowlineError('CANCELLED', 'The caller went away; everything was put back.')),
  );
  let found: Found | undefined;
  const caller = new AbortController();
  const signal = AbortSignal.any([gone.signal, caller.signal, context.ending]);
  try {
    checkCaller(request, context.token);
    found = findRoute(request.method ?? '', request.url ?? '');
    using _ = context.operations.begin(request.headers[operationHeader]?.toString(), caller);
    const call = await readCall(request, found);
    if (found.route.kind === 'one') sendJson(response, 200, await one(context.handlers, found, call, signal));
    else await stream(found, { context, call, response, signal });
  } catch (thrown) {
    const error = errorForCaller(thrown, signal);
    const level = error.code === 'INTERNAL' ? 'error' : 'info';
    context.log[level]('api.error', {
      route: found?.name,
      code: error.code,
      error: level === 'error' ? thrown : error.message,
    });
    if (!response.headersSent) sendError(response, error);
    else if (found?.route.kind === 'progress' || found?.name === 'connect')
      sendLine(response, { type: 'error', error: error.toShape() }, context.limits);
    response.end();
  }
}

async function readCall(request: IncomingMessage, { route, params, query }: Found): Promise<object> {
  return {
    params,
    ...(route.query && { query: checked(route.query, query, 'query') }),
    ...(route.body && { body: checked(route.body, await readJson(request), 'request') }),
  };
}

type AnyOne = (call: object, signal: AbortSignal) => Promise<unknown>;
type AnyStream = (call: object, send: (line: unknown) => void, signal: AbortSignal) => Promise<void>;

// The table pairs each name with its handler's types; the compiler cannot follow a name that is known only at run time.
function one(handlers: Handlers, { name }: Found, call: object, signal: AbortSignal): Promise<unknown> {
  return (handlers[name] as unknown as AnyOne)(call, signal);
}

interface Streaming {
  context: Context;
  call: object;
  response: ServerResponse;
  signal: AbortSignal;
}

async function stream({ name, route }: Found, { context, call, response, signal }: Streaming): Promise<void> {
  response.setHeader('content-type', 'application/x-ndjson');
  // A feed may be silent for long, and its reader wants to know that it stands. An operation may still fail with a status.
  if (route.kind === 'feed' && name !== 'hold') response.flushHeaders();
  const send = (line: unknown): void => sendLine(response, line, context.limits);
  await (context.handlers[name] as unknown as AnyStream)(call, send, signal);
  response.end();
}

function sendLine(response: ServerResponse, line: unknown, { unread }: ServerLimits): void {
  if (response.destroyed || response.writableEnded) return;
  response.write(`${JSON.stringify(line)}\n`);
  if (response.writableLength > unread) response.destroy();
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = JSON.stringify(value);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

function sendError(response: ServerResponse, error: BowlineError): void {
  // The rest of the body is not read, so the connection cannot be used again.
  if (error instanceof BodyTooLarge) response.setHeader('connection', 'close');
  sendJson(response, error instanceof BodyTooLarge ? 413 : statusOf(error), error.toShape());
}

const statusByCode: Partial<Record<ErrorCode, number>> = {
  API_FORBIDDEN: 403,
  API_VERSION_MISMATCH: 426,
  CONNECTION_NOT_FOUND: 404,
};
const statusByCategory: Record<ErrorCategory, number> = {
  usage: 400,
  config: 422,
  rights: 403,
  cluster: 502,
  conflict: 409,
  machine: 503,
  interrupted: 499,
  bug: 500,
};

function statusOf(error: BowlineError): number {
  return statusByCode[error.code] ?? statusByCategory[error.category];
}
