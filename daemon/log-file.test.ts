import assert from 'node:assert/strict';
import { mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { readLogLines } from '../api/log-lines.ts';
import { openLogFile } from './log-file.ts';

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bowline-'));
  file = join(folder, 'daemon.log');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function lines(path = file): Promise<Array<Record<string, unknown>>> {
  const content = await readFile(path, 'utf8');
  return content
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

void test('a line has time, level, event and facts; a child adds its own', async () => {
  using log = openLogFile({ file });
  log.child({ session: 'abc' }).warn('tunnel.lost', { after: 3 });
  log.debug('not.shown');
  const [line, ...others] = await lines();
  assert.equal(others.length, 0);
  const { time, ...rest } = line ?? {};
  assert.ok(Math.abs(Date.parse(String(time)) - Date.now()) < 60_000);
  assert.deepEqual(rest, { level: 'warn', session: 'abc', after: 3, event: 'tunnel.lost' });
  assert.equal((await stat(file)).mode & 0o777, 0o600);
});

void test('the file is changed for a new one at its size, the oldest is given up, no line is lost or torn', async () => {
  using log = openLogFile({ file, maxBytes: 2_000, files: 3 });
  for (let n = 0; n < 60; n++) log.info('line', { n, filler: 'x'.repeat(40) });
  assert.deepEqual((await readdir(folder)).sort(), ['daemon.log', 'daemon.log.1', 'daemon.log.2']);
  const kept = [...(await lines(`${file}.2`)), ...(await lines(`${file}.1`)), ...(await lines())].map(({ n }) =>
    Number(n),
  );
  assert.equal(kept.at(-1), 59);
  assert.deepEqual(
    kept,
    Array.from({ length: kept.length }, (_, index) => 60 - kept.length + index),
  );
  for (const name of await readdir(folder)) assert.ok((await stat(join(folder, name))).size <= 2_000);
});

void test('a log that is opened again goes on in the same file', async () => {
  for (const n of [1, 2]) {
    using log = openLogFile({ file });
    log.info('start', { n });
  }
  assert.deepEqual(
    (await lines()).map(({ n }) => n),
    [1, 2],
  );
});

void test('secrets do not get in, by key or by looks', async () => {
  const secret = 'hunter2hunter2';
  const jwt = `eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.${secret}`;
  using log = openLogFile({ file });
  log.info('facts', {
    token: secret,
    headers: { Authorization: `Bearer ${secret}`, 'set-cookie': secret },
    user: { password: secret, 'client-key-data': secret, clientCertificateData: secret, apiKey: secret },
    list: [{ secretKey: secret }],
    env: { DATABASE: secret },
    variables: { A: secret },
    key: secret,
    text: `GET / Authorization: Bearer ${secret}`,
    url: `postgres://shop:${secret}@db:5432/shop`,
    jwt,
    pem: `-----BEGIN EC PRIVATE KEY-----\n${secret}\n-----END EC PRIVATE KEY-----`,
    error: new Error(`refused: Bearer ${secret}`, { cause: new Error(`at //u:${secret}@h/`) }),
  });
  log.child({ password: secret }).info('child', { keyboard: 'kept', tokens: 3, monkey: 'kept' });
  const content = await readFile(file, 'utf8');
  assert.ok(!content.includes(secret), content);
  const [, child] = await lines();
  assert.equal(child?.['keyboard'], 'kept');
  assert.equal(child?.['monkey'], 'kept');
  assert.equal(child?.['tokens'], 3);
});

void test('a reader that follows sees each line once, across rotation', { timeout: 20_000 }, async () => {
  using log = openLogFile({ file, maxBytes: 3_000, files: 3 });
  log.info('line', { n: 0 });
  const over = new AbortController();
  const seen: number[] = [];
  for await (const line of readLogLines(file, { lines: 10, follow: true, signal: over.signal })) {
    seen.push(Number(line['n']));
    if (seen.length === 1) for (let n = 1; n <= 40; n++) log.info('line', { n, filler: 'x'.repeat(40) });
    if (seen.at(-1) === 40) over.abort();
  }
  assert.deepEqual(
    seen,
    Array.from({ length: 41 }, (_, n) => n),
  );
  assert.ok((await readdir(folder)).includes('daemon.log.1'));
});
