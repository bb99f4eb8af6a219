import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import type { Client } from '../../api/client.ts';
import type { Endpoint } from '../../api/endpoint.ts';
import { BowlineError } from '../../api/errors.ts';
import { openApi } from '../../api/openapi.ts';
import type { EventLine } from '../../api/schema.ts';
import { testHome, until, type TestHome } from '../testing/fake-daemon-process.ts';

let home: TestHome;
let endpoint: Endpoint;
let client: Client;

before(async () => {
  home = await testHome();
  ({ client } = await home.startFake());
  endpoint = JSON.parse(await readFile(home.paths.endpoint, 'utf8')) as Endpoint;
});
after(() => home[Symbol.asyncDispose]());

interface Raw {
  method?: string;
  path?: string;
  headers?: Record<string, string | undefined>;
  body?: string | Buffer;
}

/** A request as an attacker or a foreign program makes it; `undefined` takes a header away. */
async function raw({
  method = 'GET',
  path = '/v1/status',
  headers = {},
  body,
}: Raw): Promise<{ status: number; code: string; response: IncomingMessage }> {
  const all = { host: 'localhost', authorization: `Bearer ${endpoint.token}`, ...headers };
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const outgoing = request(
    {
      socketPath: endpoint.socket,
      method,
      path,
      headers: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Record<
        string,
        string
      >,
    },
    resolve,
  );
  outgoing.on('error', reject);
  outgoing.end(body);
  const response = await promise;
  const answer = JSON.parse(await text(response)) as { code?: string };
  return { status: response.statusCode ?? 0, code: answer.code ?? '', response };
}

const json = { 'content-type': 'application/json' };

void test('a caller without the token, with a foreign Host or from a web page gets nothing', async () => {
  const refused: Array<Record<string, string | undefined>> = [
    { authorization: undefined },
    { authorization: 'Bearer wrong' },
    { authorization: `Basic ${endpoint.token}` },
    { host: 'evil.example' },
    { host: '127.0.0.1:80' },
    { origin: 'http://localhost' },
    { origin: 'null' },
  ];
  for (const headers of refused) {
    const { status, code } = await raw({ headers });
    assert.deepEqual([status, code], [403, 'API_FORBIDDEN'], JSON.stringify(headers));
  }
  assert.equal((await raw({})).status, 200);
});

void test('another protocol is a coded error that names both sides', async () => {
  const { status, code } = await raw({ headers: { 'x-bowline-protocol': '9.3' } });
  assert.deepEqual([status, code], [426, 'API_VERSION_MISMATCH']);
  assert.equal((await raw({ headers: { 'x-bowline-protocol': '1.99' } })).status, 200);
});

void test('unknown routes and bad requests are refused with a code', async () => {
  const cases: Array<[Raw, number, string]> = [
    [{ path: '/v2/status' }, 400, 'BAD_REQUEST'],
    [{ method: 'PATCH' }, 400, 'BAD_REQUEST'],
    [{ path: '/v1/connections/%zz/environment' }, 400, 'BAD_REQUEST'],
    [{ path: '/v1/events?since=-1' }, 400, 'BAD_REQUEST'],
    [{ path: '/v1/connections/none/environment' }, 404, 'CONNECTION_NOT_FOUND'],
    [{ method: 'POST', path: '/v1/connections', headers: json, body: '{"a":' }, 400, 'BAD_REQUEST'],
    [
      { method: 'POST', path: '/v1/connections', headers: json, body: '{"ports":[{"local":70000}]}' },
      400,
      'BAD_REQUEST',
    ],
    [
      { method: 'POST', path: '/v1/connections', headers: { 'content-type': 'text/plain' }, body: '{}' },
      400,
      'BAD_REQUEST',
    ],
    [{ method: 'POST', path: '/v1/connections', headers: json, body: 'null' }, 400, 'BAD_REQUEST'],
  ];
  for (const [input, status, code] of cases) {
    const answer = await raw(input);
    assert.deepEqual(
      [answer.status, answer.code],
      [status, code],
      `${input.method ?? 'GET'} ${input.path} ${String(input.body)}`,
    );
  }
});

void test('a body above the limit is refused, whether its length is told or not', async () => {
  const body = Buffer.alloc(1024 * 1024 + 1, 'x');
  const told = await raw({
    method: 'POST',
    path: '/v1/connections',
    headers: { ...json, 'content-length': String(body.length) },
    body,
  });
  assert.equal(told.status, 413);
  const chunked = await raw({
    method: 'POST',
    path: '/v1/connections',
    headers: { ...json, 'transfer-encoding': 'chunked' },
    body,
  });
  assert.equal(chunked.status, 413);
});

void test('garbage on the socket disturbs nobody', async () => {
  const garbage = connect(endpoint.socket);
  garbage.end('\0\0nonsense\r\n\r\n');
  assert.match(await text(garbage), /^HTTP\/1.1 400/);
  assert.equal((await raw({})).status, 200);
});

void test('the table of routes is served as OpenAPI', async () => {
  const served = (await client.call('openapi', {})) as ReturnType<typeof openApi>;
  assert.deepEqual(served, JSON.parse(JSON.stringify(openApi())));
  const paths = served['paths'] as Record<string, Record<string, { requestBody?: unknown }>>;
  assert.ok(paths['/v1/connections']?.['post']?.requestBody);
  assert.ok(paths['/v1/connections/{name}']?.['delete']);
});

void test('events are numbered and resume; an unknown past is a snapshot', async () => {
  const over = new AbortController();
  const fresh = client.stream('events', {}, over.signal);
  const first = (await fresh.next()).value as Extract<EventLine, { reset: unknown }>;
  assert.deepEqual(first.reset.connections, []);
  await connected('events');
  const second = (await fresh.next()).value as Extract<EventLine, { version: number }>;
  assert.equal(second.version, first.reset.version + 1);
  assert.equal(second.event, 'connecting');

  const resumed = client.stream('events', { query: { since: first.reset.version } }, over.signal);
  assert.deepEqual((await resumed.next()).value, second);
  for (const since of [0, second.version + 1_000_000]) {
    const strange = client.stream('events', { query: { since } }, over.signal);
    assert.ok('reset' in ((await strange.next()).value as EventLine), `since ${since}`);
    await strange.return();
  }
  over.abort();
  await disconnected('events');
});

void test('a caller that leaves cancels its connect, and everything is undone', async () => {
  const over = new AbortController();
  const outgoing = request({
    socketPath: endpoint.socket,
    method: 'POST',
    path: '/v1/connections',
    headers: { ...json, host: 'localhost', authorization: `Bearer ${endpoint.token}` },
    signal: over.signal,
  });
  outgoing.on('error', () => undefined);
  outgoing.end(JSON.stringify({ target: 'slow', namespace: 'left' }));
  await until('it is connecting', () => stateOf('left/slow'));
  over.abort();
  await until('it is gone', async () => (await stateOf('left/slow')) === undefined);
});

void test('a cancelled connect shows how it is undone', async () => {
  const cancel = new AbortController();
  const steps: string[] = [];
  await assert.rejects(
    async () => {
      for await (const line of client.stream('connect', { body: { target: 'slow' } }, cancel.signal)) {
        if (line.type === 'step') steps.push(line.step);
        cancel.abort();
      }
    },
    (error) => error instanceof BowlineError && error.code === 'CANCELLED',
  );
  assert.deepEqual(steps, ['agent', 'undo']);
});

void test('a held connection ends with its stream, another one does not', async () => {
  for (const hold of [true, false]) {
    const lines = client.stream('connect', { body: { target: `hold-${hold}`, drainSeconds: 0 }, query: { hold } });
    let line = (await lines.next()).value;
    while (line && line.type !== 'result') line = (await lines.next()).value;
    if (hold) assert.equal((await lines.next()).value?.type, 'held');
    assert.equal(await stateOf(`default/hold-${hold}`), 'connected');
    await lines.return();
  }
  await until('the held one is released', async () => (await stateOf('default/hold-true')) === undefined);
  assert.equal(await stateOf('default/hold-false'), 'connected');
  await disconnected('default/hold-false');
});

void test('what is answered as an error on the stream is thrown by the client', async () => {
  await assert.rejects(
    connected('broken'),
    (error) => error instanceof BowlineError && error.code === 'WORKLOAD_NOT_FOUND' && error.hint === 'Mend it.',
  );
});

async function stateOf(name: string): Promise<string | undefined> {
  return (await client.call('status', {})).connections.find((each) => each.name === name)?.state;
}

async function connected(target: string): Promise<void> {
  for await (const _ of client.stream('connect', { body: { target, drainSeconds: 0 } }));
}

async function disconnected(name: string): Promise<void> {
  const full = name.includes('/') ? name : `default/${name}`;
  for await (const _ of client.stream('disconnect', { params: { name: full } }));
}
