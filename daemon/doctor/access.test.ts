import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { DoctorCheck } from '../../api/schema.ts';
import { makeCredentials } from '../redirect/credentials.ts';
import { checkAccess } from './access.ts';

const year = 365 * 24 * 3600_000;
const now = Date.UTC(2026, 5, 1);
let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bowline-access-'));
});
after(() => rm(folder, { recursive: true, force: true }));

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** What is said of a kubeconfig with this user, and with this cluster besides its address. */
async function said(user: object, cluster: object = {}): Promise<Record<string, DoctorCheck>> {
  const file = join(folder, 'config');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'here',
    contexts: [{ name: 'here', context: { cluster: 'shop', user: 'ann' } }],
    clusters: [{ name: 'shop', cluster: { server: 'https://cluster.invalid:6443', ...cluster } }],
    users: [{ name: 'ann', user }],
  };
  await writeFile(file, JSON.stringify(config), { mode: 0o600 });
  const checks = await checkAccess({ kubeconfig: file, env: {}, home: folder }, now);
  return Object.fromEntries(checks.map((check) => [check.check, check]));
}

async function certificate(made: number): Promise<object> {
  const { daemonCert, daemonKey } = await makeCredentials('x', new Date(made));
  return { 'client-certificate-data': base64(daemonCert), 'client-key-data': base64(daemonKey) };
}

const token = (end: number): string =>
  [{ alg: 'none' }, { exp: Math.floor(end / 1000) }, 'x'].map((part) => base64(JSON.stringify(part))).join('.');

void test('a credential that has expired, is about to, or stands is told with its date', async () => {
  const day = 24 * 3600_000;
  const cases: Array<[user: object, state: DoctorCheck['state'], message: RegExp]> = [
    [await certificate(now - 2 * year), 'failure', /a client certificate that expired at 2025-06-01T/],
    [await certificate(now - year + day / 2), 'warning', /a client certificate that expires soon, at 2026-06-01T12/],
    [await certificate(now), 'ok', /a client certificate that is valid until 2027-06-01T/],
    [{ token: token(now - 1000) }, 'failure', /a token that expired at 2026-05-31T23:59:59/],
    [{ token: token(now + day / 2) }, 'warning', /a token that expires soon/],
    [{ token: token(now + year) }, 'ok', /a token that is valid until 2027/],
    [{}, 'warning', /shows nothing/],
  ];
  for (const [user, state, message] of cases) {
    const { credentials } = await said(user);
    assert.match(credentials?.message ?? '', message);
    assert.equal(credentials?.state, state, credentials?.message);
    if (state !== 'ok') assert.ok(credentials.hint);
    if ('token' in user) assert.ok(!JSON.stringify(credentials).includes(String(user.token)));
  }
});

void test('a server whose certificate nobody checks is a warning that says what that costs', async () => {
  const user = { token: token(now + year) };
  const { route } = await said(user, { 'insecure-skip-tls-verify': true });
  assert.equal(route?.state, 'warning');
  assert.match(
    route.message,
    /https:\/\/cluster\.invalid:6443\S* is reached directly, and its certificate is not checked/,
  );
  assert.match(route.hint ?? '', /certificate-authority-data/);
  assert.equal((await said(user)).route?.state, 'ok');
});
