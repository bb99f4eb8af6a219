/**
 * The client of the daemon: every program that talks to it goes through here. Typed by the route table. Holds no state
 * but the endpoint it was opened with; a daemon that was restarted needs a new client.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { readEndpoint, type Endpoint } from './endpoint.ts';
import { BowlineError, errorCodes, type ErrorShape } from './errors.ts';
import { readNdjson } from './ndjson.ts';
import type { Paths } from './paths.ts';
import { routes, type Answer, type CallInput, type Route, type RouteName, type RouteOf } from './routes.ts';
import { ErrorAnswer } from './schema.ts';
import { operationHeader, productVersion, protocol, protocolHeader, protocolText, versionHeader } from './version.ts';

// Imported as a module it also loads what fetch and WebSocket need: a third of the time that `bowline status` takes.
const { request } = process.getBuiltinModule('node:http');

/** Lines of a `progress` stream without its `error`, which is thrown instead. */
export type StreamLine<N extends RouteName> = Exclude<Answer<N>, { type: 'error' }>;

export interface Client {
  /** The daemon's process. */
  readonly pid: number;
  call<N extends RouteOf<'one'>>(name: N, input: CallInput<N>, signal?: AbortSignal): Promise<Answer<N>>;
  /**
   * `progress`: aborting the signal asks the daemon to cancel, and the lines go on until all is undone; then it throws
   * CANCELLED. `feed`: aborting closes it, and it ends.
   */
  stream<N extends RouteOf<'progress' | 'feed'>>(
    name: N,
    input: CallInput<N>,
    signal?: AbortSignal,
  ): AsyncGenerator<StreamLine<N>, void, void>;
}

/** Rejects with DAEMON_UNREACHABLE when none runs; does not start one. */
export async function openClient(paths: Paths, uid: number): Promise<Client> {
  const endpoint = await readEndpoint(paths, uid);
  if (endpoint === undefined) throw notRunning();
  return clientOf(endpoint);
}

export function clientOf(endpoint: Endpoint): Client {
  return {
    pid: endpoint.pid,

    async call(name, input, signal) {
      const response = await send(endpoint, name, input as object, signal);
      const body = await text(response).catch((error: unknown) => {
        throw signal?.aborted ? BowlineError.from(error) : lost(error);
      });
      return parseAnswer(name, JSON.parse(body)) as never;
    },

    async *stream(name, input, signal) {
      const progress = routes[name].kind === 'progress';
      const operation = randomUUID();
      const cancel = (): void => {
        // Should the daemon be gone, the stream itself reports it.
        send(endpoint, 'cancel', { params: { id: operation } }).then(text, () => undefined);
      };
      // A feed is closed by its signal; an operation is cancelled by it and read to its end.
      const response = await send(endpoint, name, input as object, progress ? undefined : signal, operation);
      if (progress) signal?.addEventListener('abort', cancel, { once: true });
      if (progress && signal?.aborted) cancel();
      try {
        for await (const value of readNdjson(response)) {
          const line = parseAnswer(name, value) as StreamLine<typeof name> | { type: 'error'; error: unknown };
          if (progress && isErrorLine(line)) throw errorOf(line.error);
          yield line as StreamLine<typeof name>;
        }
      } catch (error) {
        if (error instanceof BowlineError) throw error;
        if (!progress && signal?.aborted) return;
        throw lost(error);
      } finally {
        signal?.removeEventListener('abort', cancel);
        response.destroy();
      }
    },
  };
}

async function send(
  endpoint: Endpoint,
  name: RouteName,
  input: object,
  signal?: AbortSignal,
  operation?: string,
): Promise<IncomingMessage> {
  const route: Route = routes[name];
  const {
    params = {},
    query = {},
    body,
  } = input as {
    params?: Record<string, string>;
    query?: Record<string, string | number | boolean | undefined>;
    body?: unknown;
  };
  const payload = body === undefined ? undefined : JSON.stringify(body);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const outgoing = request(
    {
      socketPath: endpoint.socket,
      method: route.method,
      path: pathFor(route.path, params, query),
      agent: false,
      ...(signal === undefined ? {} : { signal }),
      headers: {
        host: 'bowline',
        authorization: `Bearer ${endpoint.token}`,
        [protocolHeader]: protocolText,
        ...(operation === undefined ? {} : { [operationHeader]: operation }),
        ...(payload === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
      },
    },
    resolve,
  );
  outgoing.on('error', reject);
  outgoing.end(payload);
  let response: IncomingMessage;
  try {
    response = await promise;
  } catch (error) {
    if (signal?.aborted) throw BowlineError.from(error);
    throw isNotListening(error) ? notRunning(error) : lost(error);
  }
  checkVersion(response);
  if (response.statusCode !== 200) throw errorOf(parseJson(await text(response)));
  return response;
}

export function pathFor(
  path: string,
  params: Record<string, string>,
  query: Record<string, string | number | boolean | undefined>,
): string {
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, key: string) => encodeURIComponent(params[key] ?? ''));
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) search.set(key, String(value));
  return search.size === 0 ? filled : `${filled}?${search.toString()}`;
}

function checkVersion(response: IncomingMessage): void {
  const spoken = String(response.headers[protocolHeader] ?? 'unknown');
  if (spoken.split('.')[0] === String(protocol.major)) return;
  throw versionMismatch(
    { version: productVersion, protocol: protocolText },
    { version: String(response.headers[versionHeader] ?? 'unknown'), protocol: spoken },
  );
}

interface Side {
  version: string;
  protocol: string;
}

export function versionMismatch(client: Side, daemon: Side): BowlineError {
  return new BowlineError(
    'API_VERSION_MISMATCH',
    `This client (${client.version}) speaks protocol ${client.protocol}, but the daemon that runs (${daemon.version}) speaks ${daemon.protocol}.`,
    {
      hint: 'Stop the daemon with the version that started it (`bowline daemon stop`); the next command starts the right one.',
      details: { client, daemon },
    },
  );
}

function parseAnswer(name: RouteName, value: unknown): unknown {
  const parsed = (routes[name] as Route).answer.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new BowlineError('INTERNAL', `The daemon's answer to ${name} is not as agreed: ${parsed.error.message}`);
}

function isErrorLine(line: unknown): line is { type: 'error'; error: unknown } {
  return typeof line === 'object' && line !== null && 'type' in line && line.type === 'error' && 'error' in line;
}

function errorOf(value: unknown): BowlineError {
  const shape = ErrorAnswer.safeParse(value);
  if (!shape.success) return new BowlineError('INTERNAL', 'The daemon answered with an error of an unknown form.');
  // A newer daemon may know codes that we do not.
  if (!(shape.data.code in errorCodes))
    return new BowlineError('INTERNAL', `${shape.data.code}: ${shape.data.message}`);
  return BowlineError.fromShape(shape.data as ErrorShape);
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

function isNotListening(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ECONNREFUSED';
}

function notRunning(cause?: unknown): BowlineError {
  return new BowlineError('DAEMON_UNREACHABLE', 'No Bowline daemon of yours is running.', {
    hint: '`bowline connect` starts one, and so does `bowline daemon start`.',
    cause,
  });
}

function lost(cause: unknown): BowlineError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new BowlineError('DAEMON_UNREACHABLE', `The connection to the daemon broke: ${why}.`, {
    hint: 'Look at `bowline logs`. A daemon that is started again takes up its connections, or undoes what was begun.',
    cause,
  });
}
