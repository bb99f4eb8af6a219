/**
 * The one way to the API server, taken by calls, watches, pipes and WebSockets alike: TCP, directly or through a proxy,
 * then TLS. HTTP/1.1 is asked for by ALPN, because upgrades need it.
 */
import { readFile } from 'node:fs/promises';
import { connect as connectTcp, isIP } from 'node:net';
import { connect as connectTls, createSecureContext, getCACertificates } from 'node:tls';
import { BowlineError } from '../../../api/errors.ts';
import { abortReason, startDeadline } from './deadline.ts';
import { bareHost, portOf, proxyFor, proxyName, throughProxy } from './proxy.ts';
import type { Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import type { ClientCertificate, ServerConfig } from '../config/access.ts';

export interface Dialer {
  /** Rejects with Node's own errors, or a BowlineError where a proxy is to blame. */
  dial(certificate: ClientCertificate | undefined, signal: AbortSignal): Promise<Socket>;
}

const dialTimeout = 10_000;
/** Silence after which the kernel asks whether the other end still lives; ten probes a second apart follow. */
const keepAliveDelay = 15_000;

export async function createDialer(server: ServerConfig, env: NodeJS.ProcessEnv): Promise<Dialer> {
  const proxy = proxyFor(server, env);
  const host = bareHost(server.url);
  const port = portOf(server.url);
  const extra = await extraAuthorities(env);
  let current: { certificate: ClientCertificate | undefined; context: SecureContext } | undefined;

  const contextFor = (certificate: ClientCertificate | undefined): SecureContext => {
    if (
      current === undefined ||
      current.certificate?.cert !== certificate?.cert ||
      current.certificate?.key !== certificate?.key
    ) {
      current = { certificate, context: createContext(server, extra, certificate) };
    }
    return current.context;
  };

  return {
    async dial(certificate, signal) {
      using deadline = startDeadline(dialTimeout, [signal], () =>
        Object.assign(new Error(`no connection within ${dialTimeout / 1000} s`), { code: 'ETIMEDOUT' }),
      );
      const tcp = await openTcp(
        proxy === undefined ? { host, port } : { host: bareHost(proxy.url), port: portOf(proxy.url) },
        deadline.signal,
        (error) => (proxy === undefined ? error : proxyUnreachable(proxyName(proxy), error)),
      );
      try {
        let socket = tcp;
        if (proxy !== undefined) {
          if (proxy.url.protocol === 'https:') {
            const context = createSecureContext({ ca: [...systemAuthorities(), ...extra] });
            socket = await openTls(tcp, { host: bareHost(proxy.url), context, insecure: false }, deadline.signal);
          }
          await orDestroy(socket, deadline.signal, throughProxy(socket, proxy, { host, port }));
        }
        if (server.url.protocol === 'http:') return socket;
        const context = contextFor(certificate);
        const name = server.tlsServerName ?? host;
        return await openTls(socket, { host: name, context, insecure: server.insecure }, deadline.signal);
      } catch (error) {
        tcp.destroy();
        throw error;
      }
    },
  };
}

function openTcp(
  target: { host: string; port: number },
  signal: AbortSignal,
  explain: (error: Error) => Error,
): Promise<Socket> {
  const socket = connectTcp({ ...target, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveDelay });
  return settled(socket, 'connect', signal, explain);
}

function openTls(
  socket: Socket,
  to: { host: string; context: SecureContext; insecure: boolean },
  signal: AbortSignal,
): Promise<Socket> {
  const tls = connectTls({
    socket,
    host: to.host,
    // An address may not be a server name, but is compared with the certificate all the same (`host`).
    ...(isIP(to.host) === 0 ? { servername: to.host } : {}),
    secureContext: to.context,
    rejectUnauthorized: !to.insecure,
    ALPNProtocols: ['http/1.1'],
  });
  return settled(tls, 'secureConnect', signal, (error) => error);
}

function settled<T extends Socket>(
  socket: T,
  event: string,
  signal: AbortSignal,
  explain: (error: Error) => Error,
): Promise<T> {
  return orDestroy(
    socket,
    signal,
    new Promise((resolve, reject) => {
      socket.once(event, () => {
        socket.off('error', onError);
        resolve(socket);
      });
      const onError = (error: Error): void => reject(explain(error));
      socket.once('error', onError);
      socket.once('close', () =>
        reject(explain(Object.assign(new Error('closed during the handshake'), { code: 'ECONNRESET' }))),
      );
    }),
  );
}

/** Errors of a socket that is given up have been reported by the step. */
function ignore(): void {}

/** Waits for `step` no longer than `signal` allows; a socket that does not get through it is destroyed. */
async function orDestroy<T>(socket: Socket, signal: AbortSignal, step: Promise<T>): Promise<T> {
  const onAbort = (): void => void socket.destroy(abortReason(signal));
  socket.on('error', ignore);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const result = await step;
    socket.off('error', ignore);
    return result;
  } catch (error) {
    socket.destroy();
    throw signal.aborted ? abortReason(signal) : error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** A server's own authority is the only one trusted for it, as in kubectl, beside what the user added by NODE_EXTRA_CA_CERTS. */
function createContext(
  server: ServerConfig,
  extra: string[],
  certificate: ClientCertificate | undefined,
): SecureContext {
  const ca = [...(server.ca === undefined ? systemAuthorities() : [server.ca]), ...extra];
  try {
    return createSecureContext({ ca, ...certificate });
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    throw new BowlineError(
      'KUBECONFIG_INVALID',
      `A certificate or key for ${server.url.origin} cannot be used (${reason}).`,
      {
        hint: 'Check certificate-authority, client-certificate and client-key in the kubeconfig: they must be PEM, and belong together.',
      },
    );
  }
}

function systemAuthorities(): string[] {
  return [...getCACertificates('bundled'), ...getCACertificates('system')];
}

async function extraAuthorities(env: NodeJS.ProcessEnv): Promise<string[]> {
  const path = env['NODE_EXTRA_CA_CERTS'];
  if (!path) return [];
  try {
    return [await readFile(path, 'utf8')];
  } catch (error) {
    throw new BowlineError('CERTIFICATE_UNKNOWN', `The file ${path} (from NODE_EXTRA_CA_CERTS) cannot be read.`, {
      cause: error,
    });
  }
}

function proxyUnreachable(name: string, error: Error): BowlineError {
  const code = 'code' in error ? String(error.code) : error.message;
  return new BowlineError('API_UNREACHABLE', `The proxy ${name} cannot be reached (${code}).`, {
    cause: error,
    hint: 'Check the proxy, or name the server in NO_PROXY when it needs none.',
    details: { proxy: name, errno: code },
  });
}
