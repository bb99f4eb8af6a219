import assert from 'node:assert/strict';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { test } from 'node:test';
import { BowlineError } from '../../../api/errors.ts';
import {
  authority,
  bodyOf,
  failure,
  json,
  listen,
  startFolder,
  startTestServer,
  transportTo,
} from '../testing/apiserver.ts';
import { connectAsAsked, startConnectProxy } from '../testing/proxy.ts';
import { createDialer } from './dial.ts';
import { proxyFor } from './proxy.ts';
import { createTransport } from './transport.ts';
import { silentLog } from '../../log.ts';
import type { Socket, Server as TcpServer } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { ServerConfig } from '../config/access.ts';
import type { CredentialSource } from '../config/credentials.ts';
import type { Call } from './transport.ts';

const call: Call = {
  method: 'GET',
  path: '/api/v1/pods',
  subject: { verb: 'list', group: '', resource: 'pods', namespace: 'shop' },
};
const anyone: CredentialSource = {
  get: () => Promise.resolve({ headers: {}, origin: 'nobody' }),
  refused: () => Promise.resolve(false),
};

async function fails(promise: Promise<unknown>): Promise<BowlineError> {
  const error: unknown = await promise.then(
    () => assert.fail('did not fail'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof BowlineError, String(error));
  return error;
}

function to(server: ServerConfig, env: NodeJS.ProcessEnv = {}) {
  return createTransport({ server, context: 'test', credentials: anyone, env, log: silentLog });
}

/** Credentials that become others, by `step`, when they are refused. */
const renewing = (step: number): CredentialSource => {
  let n = 1;
  return {
    get: () =>
      Promise.resolve({
        headers: { authorization: `Bearer ${n}` },
        origin: 'the token of "jane"',
        expired: '2020-01-01T00:00:00.000Z',
      }),
    refused: () => {
      n += step;
      return Promise.resolve(true);
    },
  };
};

test('calls share one connection', async () => {
  await using server = await startTestServer((_request, response) => json(response, 200, { ok: true }));
  using transport = await transportTo(server);
  for (let i = 0; i < 5; i++) assert.deepEqual(await transport.json(call), { ok: true });
  assert.equal(server.connections(), 1);
});

test('a path of the server stays in front, and the body arrives', async () => {
  let seen = '';
  await using server = await startTestServer((request, response) => {
    void bodyOf(request).then((body) => {
      seen = `${request.method} ${request.url} ${request.headers['content-type']} ${body}`;
      json(response, 201, {});
    });
  });
  using transport = await to({ url: new URL('/k8s/clusters/c-1/', server.url), ca: server.ca, insecure: false });
  await transport.json({ ...call, method: 'POST', body: { ä: 1 }, query: { dryRun: 'All', gone: undefined } });
  assert.equal(seen, 'POST /k8s/clusters/c-1/api/v1/pods?dryRun=All application/json {"ä":1}');
});

test('401 once: credentials are renewed and the call is repeated; 401 twice is the end', async () => {
  const seen: Array<string | undefined> = [];
  await using server = await startTestServer((request, response) => {
    seen.push(request.headers.authorization);
    if (request.headers.authorization === 'Bearer 2') json(response, 200, { ok: true });
    else failure(response, 401, 'Unauthorized', 'Unauthorized');
  });
  const options = {
    server: { url: server.url, ca: server.ca, insecure: false },
    context: 'test',
    env: {},
    log: silentLog,
  };
  using good = await createTransport({ ...options, credentials: renewing(1) });
  assert.deepEqual(await good.json(call), { ok: true });
  assert.deepEqual(seen, ['Bearer 1', 'Bearer 2']);
  using bad = await createTransport({ ...options, credentials: renewing(5) });
  const error = await fails(bad.json(call));
  assert.equal(error.code, 'CREDENTIALS_EXPIRED');
  assert.match(error.message, /the token of "jane".*expired at 2020-01-01/);
  assert.equal(seen.length, 4);
});

test('429 is repeated after the time that the server names, as long as it fits', async () => {
  let asked = 0;
  await using server = await startTestServer((_request, response) => {
    asked++;
    if (asked === 1) json(response, 429, {}, { 'retry-after': '0.05' });
    else json(response, 200, { ok: true });
  });
  using transport = await transportTo(server);
  assert.deepEqual(await transport.json({ ...call, method: 'POST', body: {} }), { ok: true });
  assert.equal(asked, 2);
  asked = -100;
  server.server.removeAllListeners('request');
  server.server.on('request', (_request, response) =>
    json(response, 429, { kind: 'Status', message: 'too many requests' }, { 'retry-after': '60' }),
  );
  const error = await fails(transport.json({ ...call, timeout: 500 }));
  assert.deepEqual([error.code, error.details?.['status']], ['API_ERROR', 429]);
});

test('a kept connection that died is no failure for a GET', async () => {
  await using server = await startTestServer((_request, response) => json(response, 200, { ok: true }));
  let cut = false;
  server.server.prependListener('request', (request, response) => {
    if (!cut) return;
    cut = false;
    response.destroy();
    request.socket.destroy();
  });
  using transport = await transportTo(server);
  await transport.json(call);
  cut = true;
  assert.deepEqual(await transport.json(call), { ok: true });
  assert.equal(server.connections(), 2);
  cut = true;
  assert.equal(
    (await fails(transport.json({ ...call, method: 'POST', body: {} }))).code,
    'API_UNREACHABLE',
    'a POST may have been done',
  );
});

test('a server that never answers: bounded, and cancelled at once', async () => {
  await using server = await startTestServer(() => {});
  using transport = await transportTo(server);
  const error = await fails(transport.json({ ...call, timeout: 100 }));
  assert.equal(error.code, 'API_UNREACHABLE');
  assert.equal(error.details?.['errno'], 'ETIMEDOUT');
  const abort = new AbortController();
  const pending = transport.json({ ...call, signal: abort.signal });
  abort.abort(new BowlineError('CANCELLED', 'Ctrl-C'));
  assert.equal((await fails(pending)).message, 'Ctrl-C');
  const closed = transport.json(call);
  transport[Symbol.dispose]();
  assert.equal((await fails(closed)).code, 'CANCELLED');
});

test('unreachable: names server and errno', async () => {
  const server = createTcpServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  using refused = await to({ url: new URL(`https://127.0.0.1:${port}`), insecure: false });
  const error = await fails(refused.json(call));
  assert.equal(error.code, 'API_UNREACHABLE');
  assert.match(error.message, new RegExp(`https://127.0.0.1:${port}.*ECONNREFUSED`));
  using unknown = await to({ url: new URL('https://no-such-host.invalid'), insecure: false });
  assert.match((await fails(unknown.json(call))).message, /no-such-host\.invalid.*(ENOTFOUND|EAI_AGAIN)/);
});

test('certificates: unknown authority, other name, none at all; CA, tls-server-name, extra authorities and insecure help', async () => {
  await using server = await startTestServer((_request, response) => json(response, 200, { ok: true }));
  using unknown = await to({ url: server.url, insecure: false });
  const error = await fails(unknown.json(call));
  assert.equal(error.code, 'CERTIFICATE_UNKNOWN');
  assert.match(error.message, new RegExp(server.url.host));

  using otherName = await to({ url: server.url, ca: server.ca, tlsServerName: 'other.example', insecure: false });
  assert.equal((await fails(otherName.json(call))).code, 'CERTIFICATE_UNKNOWN');
  using serverName = await to({ url: server.url, ca: server.ca, tlsServerName: 'api.example', insecure: false });
  assert.deepEqual(await serverName.json(call), { ok: true });

  await using folder = await startFolder({ 'ca.pem': server.ca });
  using extra = await to({ url: server.url, insecure: false }, { NODE_EXTRA_CA_CERTS: join(folder.path, 'ca.pem') });
  assert.deepEqual(await extra.json(call), { ok: true });
  using insecure = await to({ url: server.url, insecure: true });
  assert.deepEqual(await insecure.json(call), { ok: true });

  const plain = createHttpServer((_request, response) => response.end('{}'));
  const port = await listen(plain);
  using noTls = await to({ url: new URL(`https://127.0.0.1:${port}`), insecure: false });
  assert.match((await fails(noTls.json(call))).message, /TLS|cut/);
  plain.close();
});

test('a client certificate is shown', async () => {
  await using server = await startTestServer((request, response) => {
    json(response, 200, { peer: (request.socket as TLSSocket).getPeerCertificate().subject?.CN });
  });
  const jane = await authority.issue({ commonName: 'jane' });
  using transport = await transportTo(server, { certificate: { cert: jane.certificate, key: jane.key } });
  assert.deepEqual(await transport.json(call), { peer: 'jane' });
});

test('answers become errors', async () => {
  const answers: Array<[number, string, string]> = [
    [
      403,
      'Forbidden',
      'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "shop"',
    ],
    [403, 'Forbidden', 'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group ""'],
    [403, 'Forbidden', 'pods "x" is forbidden: exceeded quota: small'],
    [409, 'AlreadyExists', 'leases "x" already exists'],
    [404, 'NotFound', 'pods "x" not found'],
    [500, 'InternalError', 'etcdserver: request timed out'],
  ];
  const queue = [...answers];
  await using server = await startTestServer((_request, response) =>
    failure(response, ...(queue.shift() ?? [500, '', ''])),
  );
  using transport = await transportTo(server);
  const codes: string[] = [];
  for (let i = 0; i < answers.length; i++) {
    const error = await fails(transport.json(call));
    codes.push(`${error.code} ${String(error.details?.['reason'])}`);
    if (i === 0) {
      assert.deepEqual(error.details?.['missing'], [{ verb: 'list', group: '', resource: 'pods', namespace: 'shop' }]);
    }
  }
  assert.deepEqual(codes, [
    'RIGHTS_MISSING Forbidden',
    'CREDENTIALS_FAILED Forbidden',
    'NOT_ADMITTED Forbidden',
    'CHANGED_MEANWHILE AlreadyExists',
    'API_ERROR NotFound',
    'API_ERROR InternalError',
  ]);
});

test('what a server says about a Secret stays out of the error', async () => {
  await using server = await startTestServer((_request, response) =>
    failure(response, 422, 'Invalid', 'Secret "x" is invalid: data[a]: Invalid value: "hunter2"'),
  );
  using transport = await transportTo(server);
  const error = await fails(transport.json({ ...call, subject: { verb: 'create', group: '', resource: 'secrets' } }));
  assert.doesNotMatch(JSON.stringify(error.toShape()), /hunter2/);
});

test('through an HTTP proxy, with a login', async () => {
  await using server = await startTestServer((_request, response) => json(response, 200, { ok: true }));
  const { proxy, seen, port } = await startConnectProxy('user:pass');
  using transport = await to({
    url: server.url,
    ca: server.ca,
    insecure: false,
    proxy: `http://user:pass@127.0.0.1:${port}`,
  });
  assert.deepEqual(await transport.json(call), { ok: true });
  assert.deepEqual(seen, [`127.0.0.1:${server.port}`]);
  using refused = await to({
    url: server.url,
    ca: server.ca,
    insecure: false,
    proxy: `http://user:wr0ng@127.0.0.1:${port}`,
  });
  const error = await fails(refused.json(call));
  assert.equal(error.code, 'API_UNREACHABLE');
  assert.match(error.message, /407/);
  assert.doesNotMatch(JSON.stringify(error.toShape()), /wr0ng/);
  proxy.close();
  proxy.closeAllConnections();
  using gone = await to({ url: server.url, ca: server.ca, insecure: false, proxy: `http://127.0.0.1:${port}` });
  assert.match(
    (await fails(gone.json(call))).message,
    /proxy http:\/\/127\.0\.0\.1:\d+ .* cannot be reached \(ECONNREFUSED\)/,
  );
});

test('through an HTTPS proxy: TLS in TLS', async () => {
  await using server = await startTestServer((_request, response) => json(response, 200, { ok: true }));
  await using proxy = await startTestServer(() => {});
  proxy.server.on('connect', connectAsAsked);
  await using folder = await startFolder({ 'ca.pem': proxy.ca });
  using transport = await to(
    { url: server.url, ca: server.ca, insecure: false, proxy: proxy.url.href },
    { NODE_EXTRA_CA_CERTS: join(folder.path, 'ca.pem') },
  );
  assert.deepEqual(await transport.json(call), { ok: true });
});

test('through a SOCKS5 proxy', async () => {
  await using server = await startTestServer((_request, response) => json(response, 200, { ok: true }));
  const { proxy, port } = await startSocksProxy();
  using transport = await to({ url: server.url, ca: server.ca, insecure: false, proxy: `socks5://127.0.0.1:${port}` });
  assert.deepEqual(await transport.json(call), { ok: true });
  transport[Symbol.dispose]();
  proxy.close();
});

/** The proxy that is taken to a server. */
const proxyOf = (url: string, env: NodeJS.ProcessEnv, proxy?: string): string | undefined =>
  proxyFor({ url: new URL(url), insecure: false, ...(proxy === undefined ? {} : { proxy }) }, env)?.url.host;

test('which proxy: proxy-url, then the environment, but not for NO_PROXY and this machine', () => {
  const env = { HTTPS_PROXY: 'http://p:1' };
  assert.equal(proxyOf('https://api.example', env), 'p:1');
  assert.equal(proxyOf('https://api.example', { https_proxy: 'p:2' }), 'p:2');
  assert.equal(proxyOf('http://api.example', env), undefined);
  assert.equal(proxyOf('https://127.0.0.1:6443', env), undefined);
  assert.equal(proxyOf('https://api.example', { ...env, NO_PROXY: '*' }, 'http://q:2'), 'q:2');
  const direct = (url: string, noProxy: string): boolean => proxyOf(url, { ...env, NO_PROXY: noProxy }) === undefined;
  assert.equal(direct('https://api.example', 'other, example'), true);
  assert.equal(direct('https://api.example', '.example'), true);
  assert.equal(direct('https://example', '.example'), false);
  assert.equal(direct('https://notexample', 'example'), false);
  assert.equal(direct('https://10.1.2.3:6443', '10.0.0.0/8'), true);
  assert.equal(direct('https://11.1.2.3:6443', '10.0.0.0/8'), false);
  assert.equal(direct('https://api.example:6443', 'api.example:443'), false);
  assert.equal(direct('https://api.example:6443', 'api.example:6443'), true);
  assert.equal(direct('https://[fd00::5]:6443', 'fd00::/8'), true);
});

test('a WebSocket and an upgrade take the same way, and a refusal carries the words of the server', async () => {
  await using server = await startTestServer((_request, response) =>
    failure(response, 403, 'Forbidden', 'User "jane" cannot get resource "pods/proxy"'),
  );
  server.server.on('upgrade', (request, socket: Socket) => {
    if (request.url?.startsWith('/no')) {
      socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 9\r\n\r\nno thanks');
      return;
    }
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: ${request.headers.upgrade}\r\n\r\nearly `,
    );
    socket.on('data', (data: Buffer) => socket.write(data));
  });
  using transport = await transportTo(server);
  const stream = await transport.upgrade(call, 'bowline');
  stream.write('late');
  let text = '';
  for await (const chunk of stream) {
    text += String(chunk);
    if (text === 'early late') break;
  }
  const error = await fails(transport.upgrade({ ...call, path: '/no' }, 'bowline'));
  assert.deepEqual(
    [error.code, error.details?.['status'], error.details?.['fromKubernetes']],
    ['API_ERROR', 403, false],
  );
  assert.match(error.message, /no thanks/);
  assert.match(
    (await fails(transport.webSocket({ ...call, path: '/no' }, ['v4.channel.k8s.io'], new URLSearchParams()))).message,
    /no thanks/,
  );
});

test('a dial that hangs in the TLS handshake is cancelled with the call', async () => {
  const silent = createTcpServer(() => {});
  const port = await listen(silent);
  const dialer = await createDialer({ url: new URL(`https://127.0.0.1:${port}`), insecure: false }, {});
  const abort = new AbortController();
  const dialled = dialer.dial(undefined, abort.signal);
  abort.abort(new Error('enough'));
  await assert.rejects(dialled, /enough/);
  silent.close();
});

/** As little of SOCKS5 as one connection needs. */
async function startSocksProxy(): Promise<{ proxy: TcpServer; port: number }> {
  const proxy = createTcpServer((socket) => {
    socket.once('data', () => {
      socket.write(Buffer.from([5, 0]));
      socket.once('data', (asked: Buffer) => {
        const length = asked[4] ?? 0;
        const upstream = connect(asked.readUInt16BE(5 + length), asked.toString('utf8', 5, 5 + length));
        upstream.once('connect', () => {
          socket.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
          pipeline(socket, upstream, socket, () => {});
        });
      });
    });
  });
  return { proxy, port: await listen(proxy) };
}
