/**
 * Which proxy a connection to the API server takes, and the way through it: HTTP CONNECT (over TCP or TLS) and SOCKS5.
 * The cluster's `proxy-url` wins; else HTTPS_PROXY, HTTP_PROXY and NO_PROXY as Go programs, kubectl among them, read them.
 */
import { request } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { BowlineError } from '../../../api/errors.ts';
import type { Duplex } from 'node:stream';
import type { ServerConfig } from '../config/access.ts';

export interface Proxy {
  url: URL;
  /** Where it was configured, for errors. */
  origin: string;
}

export function proxyFor(server: ServerConfig, env: NodeJS.ProcessEnv): Proxy | undefined {
  if (server.proxy !== undefined) return parseProxy(server.proxy, "the cluster's proxy-url");
  const names = server.url.protocol === 'https:' ? ['HTTPS_PROXY', 'https_proxy'] : ['HTTP_PROXY', 'http_proxy'];
  const name = names.find((each) => env[each]);
  const value = name === undefined ? undefined : env[name];
  if (!name || !value) return undefined;
  return isDirect(server.url, env['NO_PROXY'] || env['no_proxy'] || '') ? undefined : parseProxy(value, name);
}

function parseProxy(value: string, origin: string): Proxy {
  const url = URL.parse(value.includes('://') ? value : `http://${value}`);
  if (url === null || !['http:', 'https:', 'socks5:', 'socks5h:'].includes(url.protocol)) {
    throw new BowlineError('API_UNREACHABLE', `The proxy in ${origin} is not an http, https or socks5 URL.`, {
      hint: 'It looks like http://HOST:3128.',
    });
  }
  return { url, origin };
}

/** NO_PROXY, and this machine itself, are reached without a proxy. */
function isDirect(url: URL, noProxy: string): boolean {
  const host = bareHost(url);
  const port = portOf(url);
  const family = isIP(host);
  if (host === 'localhost' || host.startsWith('127.') || host === '::1') return true;
  return noProxy
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true;
      if (family !== 0 && entry.includes('/')) return inRange(host, family, entry);
      const [, name = entry, wantedPort] = /^(\[[^\]]+\]|[^:]+):(\d+)$/.exec(entry) ?? [];
      if (wantedPort !== undefined && Number(wantedPort) !== port) return false;
      const wanted = name.replace(/^\[|\]$/g, '').replace(/^\*/, '');
      if (family !== 0) return wanted === host;
      return wanted.startsWith('.') ? host.endsWith(wanted) : host === wanted || host.endsWith(`.${wanted}`);
    });
}

function inRange(address: string, family: number, range: string): boolean {
  const [network = '', bits = ''] = range.split('/');
  if (isIP(network) !== family || !/^\d+$/.test(bits) || Number(bits) > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  list.addSubnet(network, Number(bits), family === 4 ? 'ipv4' : 'ipv6');
  return list.check(address, family === 4 ? 'ipv4' : 'ipv6');
}

/** Host without the brackets of an IPv6 address. */
export function bareHost(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
}

export function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'https:' ? 443 : url.protocol.startsWith('socks') ? 1080 : 80;
}

/** Asks the proxy at the other end of `socket` for a connection to host:port; the socket is that connection afterwards. */
export function throughProxy(socket: Duplex, proxy: Proxy, target: { host: string; port: number }): Promise<void> {
  return proxy.url.protocol.startsWith('socks') ? socks5(socket, proxy, target) : httpConnect(socket, proxy, target);
}

function httpConnect(socket: Duplex, proxy: Proxy, target: { host: string; port: number }): Promise<void> {
  const authority = `${isIP(target.host) === 6 ? `[${target.host}]` : target.host}:${target.port}`;
  const { username, password } = proxy.url;
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return new Promise((resolve, reject) => {
    const connect = request({
      method: 'CONNECT',
      path: authority,
      headers: {
        host: authority,
        ...(username === '' ? {} : { 'proxy-authorization': `Basic ${Buffer.from(login).toString('base64')}` }),
      },
      createConnection: () => socket,
    });
    connect.on('connect', (answer, _socket, head) => {
      if (answer.statusCode !== 200)
        return reject(refused(proxy, authority, `${answer.statusCode} ${answer.statusMessage}`));
      if (head.length > 0) socket.unshift(head);
      resolve();
    });
    connect.on('response', (answer) =>
      reject(refused(proxy, authority, `${answer.statusCode} ${answer.statusMessage}`)),
    );
    connect.on('error', (error) => reject(refused(proxy, authority, error.message)));
    connect.end();
  });
}

/** RFC 1928, with the name resolved by the proxy, and RFC 1929 for user and password. */
async function socks5(socket: Duplex, proxy: Proxy, target: { host: string; port: number }): Promise<void> {
  const authority = `${target.host}:${target.port}`;
  const user = Buffer.from(decodeURIComponent(proxy.url.username));
  const password = Buffer.from(decodeURIComponent(proxy.url.password));
  socket.write(Buffer.from(user.length > 0 ? [5, 2, 0, 2] : [5, 1, 0]));
  const [, method] = await readExactly(socket, 2);
  if (method === 2) {
    socket.write(Buffer.from([1, user.length, ...user, password.length, ...password]));
    const [, status] = await readExactly(socket, 2);
    if (status !== 0) throw refused(proxy, authority, 'wrong user or password');
  } else if (method !== 0) {
    throw refused(proxy, authority, 'no way of authentication in common');
  }
  const host = Buffer.from(target.host);
  socket.write(Buffer.from([5, 1, 0, 3, host.length, ...host, target.port >> 8, target.port & 255]));
  const [, reply = 1, , kind] = await readExactly(socket, 4);
  if (reply !== 0) throw refused(proxy, authority, socksReplies[reply] ?? `SOCKS reply ${reply}`);
  const length = kind === 1 ? 4 : kind === 4 ? 16 : ((await readExactly(socket, 1))[0] ?? 0);
  await readExactly(socket, length + 2);
}

const socksReplies = [
  '',
  'general failure',
  'not allowed',
  'network unreachable',
  'host unreachable',
  'connection refused',
  'timed out',
  'command not supported',
  'address type not supported',
];

function readExactly(socket: Duplex, length: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      socket.off('readable', onReadable);
      socket.off('close', onClose);
    };
    const onReadable = (): void => {
      const bytes: unknown = socket.read(length);
      if (!Buffer.isBuffer(bytes)) return;
      stop();
      if (bytes.length < length) return reject(new Error('The proxy closed the connection.'));
      resolve(bytes);
    };
    const onClose = (): void => {
      stop();
      reject(new Error('The proxy closed the connection.'));
    };
    socket.on('readable', onReadable);
    socket.on('close', onClose);
    onReadable();
  });
}

export function proxyName({ url, origin }: Proxy): string {
  return `${url.protocol}//${url.host} (from ${origin})`;
}

function refused(proxy: Proxy, authority: string, why: string): BowlineError {
  return new BowlineError('API_UNREACHABLE', `The proxy ${proxyName(proxy)} did not connect to ${authority}: ${why}.`, {
    hint: 'Check the proxy, or name the server in NO_PROXY when it needs none.',
    details: { proxy: proxyName(proxy), server: authority },
  });
}
