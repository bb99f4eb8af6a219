/**
 * HTTP to one API server: calls over keep-alive connections, streams for watches, upgrades and WebSockets over
 * connections of their own. Owns the sockets. Adds credentials (and renews them once after a 401), retries what may be
 * retried, and bounds every wait.
 */
import { BowlineError } from '../../../api/errors.ts';
import { HttpFailure, apiError, networkError } from '../errors.ts';
import { abortReason, pause, startDeadline } from './deadline.ts';
import { createDialer } from './dial.ts';
import { DialingAgent, StaleConnection, destroyOnAbort, readBody, send } from './exchange.ts';
import { sendUpgrade } from './upgrade.ts';
import { openWebSocket } from './websocket.ts';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { ClientCertificate, ServerConfig } from '../config/access.ts';
import type { CredentialSource, Credentials } from '../config/credentials.ts';
import type { Caller, Subject } from '../errors.ts';
import type { Log } from '../../log.ts';

export interface Call {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  contentType?: string;
  subject: Subject;
  signal?: AbortSignal | undefined;
  /** Milliseconds for all tries together, once the credentials are there (a plugin has its own bound). Default 15,000. */
  timeout?: number | undefined;
}

export interface Transport extends Disposable {
  /** URL of the API server, for people. */
  readonly server: string;
  /** Resolves with the next success of any call: the server can be reached again. */
  readonly answered: Promise<void>;
  json<T>(call: Call): Promise<T>;
  /** Resolves with the first byte of the answer's body still to come; from then on only the signal ends it. */
  stream(call: Call): Promise<IncomingMessage>;
  upgrade(call: Call, protocol: string): Promise<Duplex>;
  /** `query` may name a key more than once. */
  webSocket(call: Call, protocols: string[], query: URLSearchParams): Promise<WebSocket>;
}

export interface TransportOptions {
  server: ServerConfig;
  context: string;
  credentials: CredentialSource;
  env: NodeJS.ProcessEnv;
  log: Log;
}

const defaultTimeout = 15_000;
const maxRetries = 5;

/** One try of a call, as one identity. */
interface Try {
  headers: OutgoingHttpHeaders;
  certificate: ClientCertificate | undefined;
  signal: AbortSignal;
}

export async function createTransport(options: TransportOptions): Promise<Transport> {
  const { server, context, credentials, env, log } = options;
  const dialer = await createDialer(server, env);
  const lifetime = new AbortController();
  const name = server.url.href.replace(/\/$/, '');
  const base = server.url.pathname.replace(/\/$/, '');
  let agent = new DialingAgent(dialer, undefined, lifetime.signal);
  let answered = Promise.withResolvers<void>();

  const agentFor = (certificate: ClientCertificate | undefined): DialingAgent => {
    // A connection is one identity. The old one's connections close when idle, and running watches go on.
    if (agent.certificate?.cert !== certificate?.cert || agent.certificate?.key !== certificate?.key)
      agent = new DialingAgent(dialer, certificate, lifetime.signal);
    return agent;
  };

  /** Runs `attempt` until it succeeds, fails for good, or the time is over. */
  const authorized = async <T>(call: Call, attempt: (one: Try) => Promise<T>): Promise<T> => {
    const caller: Caller = { server: name, context };
    const timeout = call.timeout ?? defaultTimeout;
    let fresh: Credentials = await currentCredentials(call.signal);
    using deadline = startDeadline(timeout, [call.signal, lifetime.signal], () => timedOut(name, timeout));
    let renewed = false;
    for (let tries = 1; ; tries++) {
      caller.credentials = fresh;
      const headers: OutgoingHttpHeaders = { host: server.url.host, 'user-agent': 'bowline', ...fresh.headers };
      try {
        deadline.signal.throwIfAborted();
        const result = await attempt({ headers, certificate: fresh.certificate, signal: deadline.signal });
        answered.resolve();
        answered = Promise.withResolvers<void>();
        return result;
      } catch (error) {
        if (deadline.signal.aborted) throw abortReason(deadline.signal);
        if (error instanceof StaleConnection && tries <= maxRetries) {
          // Its idle sisters will be no better.
          agent = new DialingAgent(dialer, agent.certificate, lifetime.signal);
          continue;
        }
        if (!(error instanceof HttpFailure)) throw networkError(caller, error);
        if (error.status === 401 && !renewed && (await credentials.refused(fresh))) {
          renewed = true;
          log.debug('credentials.renewed', { context });
          fresh = await currentCredentials(call.signal);
          continue;
        }
        const mayWait = error.retryAfter !== undefined && error.retryAfter < timeout && tries <= maxRetries;
        if (!mayWait) throw apiError(call.subject, caller, error);
        await pause(error.retryAfter ?? 0, deadline.signal).catch(() => {
          // The server's own answer says more than that time is over.
          throw call.signal?.aborted ? abortReason(call.signal) : apiError(call.subject, caller, error);
        });
      }
    }
  };

  const currentCredentials = async (signal: AbortSignal | undefined): Promise<Credentials> => {
    using waiting = startDeadline(
      120_000,
      [signal, lifetime.signal],
      () => new BowlineError('CREDENTIALS_FAILED', 'The credentials took more than 120 s.'),
    );
    return await credentials.get(waiting.signal);
  };

  const exchange = async (call: Call, one: Try, more: OutgoingHttpHeaders = {}): Promise<IncomingMessage> => {
    const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
    const headers = {
      accept: 'application/json',
      ...one.headers,
      ...more,
      ...(body === undefined
        ? {}
        : { 'content-type': call.contentType ?? 'application/json', 'content-length': body.length }),
    };
    const request = { agent: agentFor(one.certificate), method: call.method, path: base + target(call), headers, body };
    return await send(request, one.signal);
  };

  return {
    server: name,
    get answered() {
      return answered.promise;
    },

    json: (call) =>
      authorized(call, async (one) => {
        const answer = await exchange(call, one, { 'accept-encoding': 'gzip' });
        const text = await readBody(answer, one.signal);
        try {
          return JSON.parse(text);
        } catch (error) {
          throw new BowlineError(
            'API_ERROR',
            `${name} did not answer with JSON; something else may answer in its place.`,
            {
              // Without the cause: its message quotes the answer, which may hold a secret.
              hint: 'Check the server in the kubeconfig, and proxies on the way.',
              details: { reason: error instanceof Error ? error.name : 'unknown' },
            },
          );
        }
      }),

    stream: (call) =>
      authorized(call, async (one) => {
        const answer = await exchange(call, one);
        const bound = destroyOnAbort(answer, [call.signal, lifetime.signal]);
        answer.once('close', () => bound[Symbol.dispose]());
        return answer;
      }),

    upgrade: (call, protocol) =>
      authorized(call, async ({ headers, certificate, signal }) => {
        const socket = await dialer.dial(certificate, signal);
        return await sendUpgrade(socket, { path: base + target(call), headers, protocol }, signal);
      }),

    webSocket: (call, protocols, query) =>
      authorized(call, async ({ headers, certificate, signal }) => {
        const socket = await dialer.dial(certificate, signal);
        return await openWebSocket(
          socket,
          { path: `${base}${call.path}?${query.toString()}`, headers, protocols },
          signal,
        );
      }),

    [Symbol.dispose]() {
      lifetime.abort(new BowlineError('CANCELLED', 'The access to the cluster was closed.'));
      agent.destroy();
    },
  };
}

function target({ path, query = {} }: Call): string {
  const given = Object.entries(query).filter(
    (entry): entry is [string, string | number | boolean] => entry[1] !== undefined,
  );
  if (given.length === 0) return path;
  return `${path}?${new URLSearchParams(given.map(([key, value]): [string, string] => [key, String(value)])).toString()}`;
}

function timedOut(server: string, timeout: number): BowlineError {
  return new BowlineError(
    'API_UNREACHABLE',
    `The API server ${server} did not answer within ${timeout / 1000} s (ETIMEDOUT).`,
    {
      hint: 'Are the VPN and the network up? Is the cluster overloaded?',
      details: { server, errno: 'ETIMEDOUT' },
    },
  );
}
