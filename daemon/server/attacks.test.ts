/**
 * What other users of the machine, pages in the user's browser and hostile programs may try on the local API: a whole daemon
 * process but for the cluster. A browser cannot open a Unix socket; the requests here are those it would send if it could,
 * as through a proxy that somebody put before the socket. Each test fails when the check that it is about is taken out.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { Endpoint } from '../../api/endpoint.ts';
import { silentLog } from '../log.ts';
import { testHome, until, type TestHome } from '../testing/fake-daemon-process.ts';
import { createOperations } from './operations.ts';
import { startServer, type ServerLimits, type ServerOptions } from './server.ts';

let home: TestHome;
let endpoint: Endpoint;

before(async () => {
  home = await testHome();
  await home.startFake();
  endpoint = await readEndpoint();
});
after(() => home[Symbol.asyncDispose]());

const readEndpoint = async (): Promise<Endpoint> => JSON.parse(await readFile(home.paths.endpoint, 'utf8')) as Endpoint;

/** Says that, byte for byte, and answers all that came back until the other end closed. */
async function say(request: string, socketPath = endpoint.socket): Promise<string> {
  const socket = connect({ path: socketPath, allowHalfOpen: true });
  let answer = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
  socket.on('end', () => socket.end());
  socket.on('error', () => undefined); // cut off with bytes of ours unread
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write(request);
  await closed;
  return answer;
}

/** A request with the right token; `connection: close`, so that the answer has an end. */
function request(line: string, headers: string[] = [], body = ''): string {
  const all = ['Host: localhost', `Authorization: Bearer ${endpoint.token}`, 'Connection: close', ...headers];
  return `${line} HTTP/1.1\r\n${all.join('\r\n')}\r\n\r\n${body}`;
}

const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 0);

void test(
  'another user: closed out by the folder, and by socket and file should the folder be open',
  {
    skip: process.getuid?.() === 0 ? false : 'needs root to be another user',
  },
  async () => {
    const folder = home.paths.runtimeFolder;
    // The test's own folders around it are not the subject.
    for (const above of [dirname(folder), dirname(dirname(folder))]) await chmod(above, 0o755);
    const tries = async (): Promise<string[]> => {
      const script = `
      const attempt = (name, act) => { try { act(); return name + ' worked'; } catch (error) { return name + ' ' + error.code; } };
      const fs = require('fs');
      const [endpoint, socket, folder] = process.argv.slice(1);
      const said = [attempt('read', () => fs.readFileSync(endpoint)), attempt('remove', () => fs.rmSync(socket)),
        attempt('write', () => fs.writeFileSync(folder + '/x', ''))];
      require('net').connect(socket).on('connect', () => done('connect worked')).on('error', (error) => done('connect ' + error.code));
      function done(last) { console.log([...said, last].join(',')); process.exit(); }`;
      const child = spawn(process.execPath, ['-e', script, home.paths.endpoint, endpoint.socket, folder], {
        uid: 12_345,
        gid: 12_345,
        cwd: '/',
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      return (await text(child.stdout)).trim().split(',');
    };
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    const closed = ['read EACCES', 'remove EACCES', 'write EACCES', 'connect EACCES'];
    assert.deepEqual(await tries(), closed);
    await chmod(folder, 0o755);
    try {
      assert.deepEqual(await tries(), closed);
    } finally {
      await chmod(folder, 0o700);
    }
  },
);

void test('a page in the browser: fetch, form, preflight and rebound name are refused, and no answer permits a page to read it', async () => {
  const attempts: string[] = [
    request('GET /v1/status', ['Origin: https://evil.example', 'Sec-Fetch-Site: cross-site']),
    request('GET /v1/status', ['Origin: null']),
    request('GET /v1/status', ['Origin: http://localhost']),
    request(
      'POST /v1/connections',
      ['Origin: https://evil.example', 'Content-Type: application/x-www-form-urlencoded', 'Content-Length: 3'],
      'a=b',
    ),
    request('OPTIONS /v1/connections', [
      'Origin: https://evil.example',
      'Access-Control-Request-Method: POST',
      'Access-Control-Request-Headers: authorization',
    ]),
    request('GET /v1/status').replace('Host: localhost', 'Host: evil.example'),
    request('GET /v1/status').replace('Host: localhost', 'Host: localhost.evil.example'),
    request('GET /v1/status').replace('Host: localhost', 'Host: localhost:80'),
    request('GET http://evil.example/v1/status').replace('Host: localhost', 'Host: evil.example'),
    request('GET /v1/status').replace(/Authorization:.*\r\n/, ''),
    request(`GET /v1/status?token=${endpoint.token}`).replace(
      /Authorization:.*\r\n/,
      `Cookie: token=${endpoint.token}\r\n`,
    ),
  ];
  for (const attempt of attempts) {
    const answer = await say(attempt);
    assert.deepEqual([statusOf(answer), /"code":"(\w+)"/.exec(answer)?.[1]], [403, 'API_FORBIDDEN'], attempt);
    assert.doesNotMatch(answer, /access-control-/i);
  }
  const proper = await say(request('GET /v1/status'));
  assert.equal(statusOf(proper), 200);
  assert.doesNotMatch(proper, /access-control-/i);
});

void test('a WebSocket, h2c or CONNECT never leaves HTTP/1.1: a page gets a refusal, a program at most the plain answer', async () => {
  const upgrade = ['Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='];
  const page = await say(
    request('GET /v1/events', [...upgrade, 'Origin: https://evil.example']).replace(
      'Connection: close',
      'Connection: Upgrade, close',
    ),
  );
  assert.equal(statusOf(page), 403);
  for (const kind of ['websocket', 'h2c']) {
    const program = await say(
      request('GET /v1/ping', [`Upgrade: ${kind}`]).replace('Connection: close', 'Connection: Upgrade, close'),
    );
    assert.notEqual(statusOf(program), 101, kind);
  }
  assert.doesNotMatch(await say(request('CONNECT evil.example:80')), /^HTTP\/1\.1 2/);
});

void test('a token from before a restart is worth nothing, nor is one that is near', async () => {
  await using other = await testHome();
  const first = await other.startFake();
  const stale = JSON.parse(await readFile(other.paths.endpoint, 'utf8')) as Endpoint;
  const ended = once(first.child, 'exit');
  first.child.kill('SIGKILL');
  await ended;
  await other.startFake();
  const fresh = JSON.parse(await readFile(other.paths.endpoint, 'utf8')) as Endpoint;
  assert.notEqual(fresh.token, stale.token);
  const ask = async (token: string): Promise<number> =>
    statusOf(await say(request('GET /v1/ping').replace(endpoint.token, token), fresh.socket));
  assert.equal(await ask(fresh.token), 200);
  for (const token of [
    stale.token,
    '',
    fresh.token.slice(0, -1),
    `${fresh.token}=`,
    fresh.token.toUpperCase(),
    `${fresh.token} ${fresh.token}`,
  ])
    assert.equal(await ask(token), 403, token);
});

void test('tricks with the path reach no route, and no file', async () => {
  const paths = [
    '//v1/status',
    '/v1//status',
    '/v1/status/',
    '/v1/./status',
    '/v1/connections/../status',
    '/v1/%73tatus',
    '/V1/status',
    '/v1/status%00',
    '/v1/status%0d%0aX-Injected:%201',
    '/../../../../etc/passwd',
    '/v1/connections/%2e%2e%2f%2e%2e%2fendpoint.json/environment',
    '/v1/connections/__proto__/environment',
    '/v1/connections/constructor/environment',
    '/v1/status?__proto__[x]=1&__proto__=1',
    '/__proto__',
    '*',
  ];
  for (const path of paths) {
    const answer = await say(request(`GET ${path}`));
    const [head = '', body = ''] = answer.split('\r\n\r\n');
    const plain = path.startsWith('/v1/status?') ? 200 : undefined; // unknown parameters of a query are passed over
    assert.ok(plain === statusOf(answer) || [400, 404].includes(statusOf(answer)), `${path}: ${answer}`);
    assert.doesNotMatch(head, /x-injected/i);
    assert.doesNotMatch(body, /root:|token/, path);
  }
});

void test('requests that two readers could read differently are no requests', async () => {
  const smuggled = 'GET /v1/ping HTTP/1.1\r\n\r\n';
  const json = 'Content-Type: application/json';
  const attempts = [
    request('POST /v1/connections', [json, 'Content-Length: 5', 'Transfer-Encoding: chunked'], `0\r\n\r\n${smuggled}`),
    request('POST /v1/connections', [json, 'Content-Length: 2', 'Content-Length: 30'], smuggled),
    request('POST /v1/connections', [json, 'Content-Length: -1'], smuggled),
    request('POST /v1/connections', [json, 'Transfer-Encoding: chunked, identity'], smuggled),
    request('GET /v1/status', ['X-Folded: a\r\n b', 'Bad Name: x']),
    request('GET /v1/status').replace('Host: localhost\r\n', ''),
    request('GET /v1/status').replaceAll('\r\n', '\n').replace('HTTP/1.1', 'HTTP/9.9'),
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    '\u0016\u0003\u0001\u0000\u00a5\u0001',
  ];
  for (const attempt of attempts) {
    const answer = await say(attempt);
    assert.equal(statusOf(answer), 400, JSON.stringify(attempt.slice(-120)));
    assert.equal(answer.split('HTTP/1.1 ').length, 2, 'one answer, not two');
  }
});

void test('huge and malformed: headers, bodies, brackets, unknown versions', async () => {
  const json = 'Content-Type: application/json';
  const post = (body: string, headers: string[] = [json]): string =>
    request('POST /v1/connections', [...headers, `Content-Length: ${Buffer.byteLength(body)}`], body);
  const cut = 0; // Node closes with the rest unread, so its 431 may be lost on the way
  const cases: Array<[attempt: string, ...statuses: number[]]> = [
    [request('GET /v1/status', [`X-Long: ${'x'.repeat(100_000)}`]), 431, cut],
    [request(`GET /v1/${'x'.repeat(100_000)}`), 431, cut],
    [post(`{"target":"${'x'.repeat(1024 * 1024)}"}`), 413],
    [post('['.repeat(500_000)), 400],
    [post(`${'['.repeat(500_000)}${']'.repeat(500_000)}`), 400],
    [post('{"target":"a","target":{"$ref":"x"}}'), 400],
    [post('{"__proto__":{"target":"a"}}x'), 400],
    [post('\ufeff{}x'), 400],
    [post('{}', ['Content-Type: text/plain']), 400],
    [post('\u001f\u008b\u0008', [json, 'Content-Encoding: gzip']), 400],
    [request('GET /v1/status', ['X-Bowline-Protocol: 99.0']), 426],
    [request('GET /v1/status', ['X-Bowline-Protocol: ../1']), 426],
    [request('GET /v2/status'), 400],
  ];
  for (const [attempt, ...statuses] of cases) {
    const status = statusOf(await say(attempt));
    assert.ok(statuses.includes(status), `${status} for ${attempt.slice(0, 60)}...${attempt.slice(-60)}`);
  }
  assert.equal(statusOf(await say(request('GET /v1/status'))), 200, 'and it goes on');
});

void test('a caller without the token costs nothing: he is refused before his body is read', async () => {
  const socket = connect(endpoint.socket);
  const headers = ['Content-Type: application/json', 'Content-Length: 1000000'];
  socket.write(request('POST /v1/connections', headers).replace(endpoint.token, 'wrong'));
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  assert.equal(statusOf(chunk.toString()), 403);
  socket.destroy();
});

interface Served extends AsyncDisposable {
  socket: string;
  /** As `request`, with this server's token. */
  request: typeof request;
}

/** The server alone, with limits that a test can wait for; what is not said here is as in production. */
async function serve(
  limits: Partial<ServerLimits>,
  handlers: Partial<ServerOptions['handlers']> = {},
): Promise<Served> {
  await using undo = new AsyncDisposableStack();
  const { paths } = undo.use(await testHome());
  await mkdir(paths.runtimeFolder, { recursive: true, mode: 0o700 });
  const all = { ping: async () => ({ version: '0', pid: 1 }), ...handlers } as ServerOptions['handlers'];
  const options: ServerOptions = { paths, handlers: all, operations: createOperations(), log: silentLog, limits };
  undo.use(await startServer(options, new AbortController().signal));
  const { token, socket } = JSON.parse(await readFile(paths.endpoint, 'utf8')) as Endpoint;
  const kept = undo.move();
  return {
    socket,
    request: (...of) => request(...of).replace(endpoint.token, token),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Of the limits that a test is not about. */
const never = 600_000;
const bounded = { timeout: 30_000 };

void test('headers that go on and on, a line at a time, are cut off', bounded, async () => {
  await using server = await serve({ headers: 300, request: never });
  const socket = connect({ path: server.socket });
  let answer = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
  socket.on('error', () => undefined); // cut off with bytes of ours unread
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write(server.request('GET /v1/ping').replace(/\r\n\r\n$/, '\r\n'));
  const more = setInterval(() => socket.write('X-More: x\r\n'), 20);
  await closed;
  clearInterval(more);
  assert.equal(statusOf(answer), 408);
});

void test('a body that never ends is cut off', bounded, async () => {
  await using server = await serve({ headers: 500, request: 500 });
  const headers = ['Content-Type: application/json', 'Content-Length: 100'];
  const answer = await say(server.request('POST /v1/connections', headers, '{"tar'), server.socket);
  assert.equal(statusOf(answer), 408);
});

void test('more connections than allowed are closed unanswered, and room is made when one goes', bounded, async () => {
  await using server = await serve({ headers: never, request: never, connections: 3 });
  const ping = server.request('GET /v1/ping');
  const waiting = Array.from({ length: 3 }, () => connect(server.socket));
  // The kernel hands them over in the order in which they came.
  await Promise.all(waiting.map((socket) => once(socket, 'connect')));
  assert.equal(await say(ping, server.socket), '');
  waiting.pop()?.destroy();
  await until('there is room', async () => statusOf(await say(ping, server.socket)) === 200);
  for (const socket of waiting) socket.destroy();
});

void test('a reader that never reads is cut off before what waits for him fills the memory', bounded, async () => {
  const unread = 256 * 1024;
  const most = 64 * unread;
  const line = { version: 1, at: 'x'.repeat(16 * 1024), event: 'x' };
  const cut = Promise.withResolvers<number>();
  await using server = await serve(
    { unread },
    {
      async events(_call, send, signal) {
        let sent = 0;
        // The socket itself holds some before anything lies here.
        for (; !signal.aborted && sent < most; sent += line.at.length) {
          send(line);
          await setImmediate();
        }
        cut.resolve(sent);
      },
    },
  );
  const socket = connect({ path: server.socket });
  socket.pause();
  socket.write(server.request('GET /v1/events'));
  const sent = await cut.promise;
  assert.ok(sent < most, 'it was cut off');
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.resume();
  await closed;
  assert.equal(statusOf(await say(server.request('GET /v1/ping'), server.socket)), 200, 'and it goes on');
});
