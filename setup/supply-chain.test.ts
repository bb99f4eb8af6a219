/** npm and this project's own questions, asked of a registry of the test's: one that signs, warns, or does not answer. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { knownVulnerabilities } from './advisories.ts';
import { vouchedFor } from './provenance.ts';

type Answers = Record<string, unknown>;

/** A registry that has these answers, by method and path, and 404 for everything else. */
async function registry(answers: Answers): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer((request, response) => {
    request.resume();
    const answer = answers[`${request.method} ${request.url}`];
    response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer ?? { error: 'not found' }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** npm remembers advisories; those of a test are none of the user's. */
const cache = mkdtempSync(join(tmpdir(), 'bowline-npm-'));
process.env['npm_config_cache'] = cache;
after(() => rmSync(cache, { recursive: true, force: true }));

const bulk = 'POST /-/npm/v1/security/advisories/bulk';
let advisories = 0;
const advisory = (severity: string): Answers => ({
  [bulk]: {
    ws: [
      { id: ++advisories, url: 'https://advisories.example', title: 'x', severity, vulnerable_versions: '*', cwe: [] },
    ],
  },
});

void test('an advisory of high severity against what is shipped fails, a lesser one is listed', async () => {
  const ask = async (answers: Answers): Promise<string> => {
    await using there = await registry(answers);
    const { result, detail } = await knownVulnerabilities({ registry: there.url, seconds: 60 });
    return `${result}: ${detail}`;
  };
  assert.equal(await ask(advisory('high')), 'FAILED: ws (high)');
  assert.equal(await ask(advisory('moderate')), 'ok: ws (moderate)');
  assert.equal(await ask({ [bulk]: {} }), 'ok: none in what is shipped');
  assert.match(await ask({}), /^could not be asked: /);
});

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = publicKey.export({ format: 'der', type: 'spki' }).toString('base64');
const keys = { 'GET /-/npm/v1/keys': { keys: [{ keyid: 'SHA256:one', keytype: 'ecdsa', key, expires: null }] } };
const never = new AbortController().signal;
const signed = (text: string, keyid = 'SHA256:one'): object => ({
  keyid,
  sig: sign('sha256', Buffer.from(text), privateKey).toString('base64'),
});

void test('signatures are checked against the checksum of the lockfile, and provenance is noted', async () => {
  const predicateType = 'https://slsa.dev/provenance/v1';
  const dists: Record<string, object> = {
    '@x%2fgood/1.0.0': {
      signatures: [signed('@x/good@1.0.0:sha512-a')],
      attestations: { provenance: { predicateType } },
    },
    'other/1.0.0': { signatures: [signed('other@1.0.0:sha512-another')] },
    'stranger/1.0.0': { signatures: [signed('stranger@1.0.0:sha512-a', 'SHA256:two')] },
    'bare/1.0.0': {},
  };
  const versions = Object.fromEntries(Object.entries(dists).map(([path, dist]) => [`GET /${path}`, { dist }]));
  await using there = await registry({ ...keys, ...versions });
  const packages = ['@x/good', 'other', 'stranger', 'bare'].map((name) => ({
    name,
    version: '1.0.0',
    integrity: 'sha512-a',
  }));
  assert.deepEqual(
    (await vouchedFor(packages, there.url, never)).map(({ name, signature, provenance }) => [
      name,
      signature,
      provenance,
    ]),
    [
      ['@x/good', 'valid', predicateType],
      ['other', 'invalid', undefined],
      ['stranger', 'invalid', undefined],
      ['bare', 'missing', undefined],
    ],
  );
});

void test('a registry without keys, or without the package, is not taken for one that was asked', async () => {
  const one = [{ name: 'a', version: '1.0.0', integrity: 'sha512-a' }];
  await using mirror = await registry({ 'GET /a/1.0.0': { dist: {} } });
  await assert.rejects(vouchedFor(one, mirror.url, never), /the registry shows no keys/);
  await using empty = await registry(keys);
  await assert.rejects(vouchedFor(one, empty.url, never), /answers 404 to a\/1\.0\.0/);
});
