import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { BowlineError } from '../../../api/errors.ts';
import { startFolder } from '../testing/apiserver.ts';
import { createCredentials } from './credentials.ts';
import { maskSecrets } from './plugin.ts';
import { createPluginCache } from './plugincache.ts';
import type { PluginConfig, ServerConfig, UserConfig } from './access.ts';
import type { CredentialSource } from './credentials.ts';

const server: ServerConfig = {
  url: new URL('https://api.example:6443'),
  ca: 'CA',
  insecure: false,
  pluginConfig: { audience: 'x' },
};
const never = new AbortController().signal;
const v1 = 'client.authentication.k8s.io/v1';

/** Counts its runs in a file, and takes the wanted time and answer from the environment. */
const script = `#!/bin/sh
echo run >> "$COUNT"
printf '%s' "$KUBERNETES_EXEC_INFO" > "$COUNT.info"
sleep "\${DELAY:-0}"
n=$(wc -l < "$COUNT" | tr -d ' ')
printf '{"apiVersion":"%s","kind":"ExecCredential","status":{"token":"token-%s","expirationTimestamp":"%s"}}' "\${VERSION:-${v1}}" "$n" "$EXPIRES"
`;

function plugin(path: string, env: Record<string, string> = {}, more: Partial<PluginConfig> = {}): PluginConfig {
  return {
    apiVersion: v1,
    command: join(path, 'plugin.sh'),
    args: [],
    env: { COUNT: join(path, 'count'), ...env },
    provideClusterInfo: false,
    interactiveMode: 'Never',
    ...more,
  };
}

function source(
  user: Partial<UserConfig>,
  options: { now?: () => number; reload?: () => Promise<UserConfig> } = {},
): CredentialSource {
  const whole = { name: 'jane', ...user };
  const now = options.now ?? Date.now;
  return createCredentials({
    user: whole,
    server,
    env: process.env,
    plugins: createPluginCache(now),
    reload: options.reload ?? (() => Promise.resolve(whole)),
    now,
  });
}

async function runs(path: string): Promise<number> {
  return (await readFile(join(path, 'count'), 'utf8')).trim().split('\n').length;
}

async function fails(promise: Promise<unknown>): Promise<BowlineError> {
  const error: unknown = await promise.then(
    () => assert.fail('did not fail'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof BowlineError, String(error));
  return error;
}

test('ten at once start the plugin once', async () => {
  await using folder = await startFolder({ 'plugin.sh': script });
  const credentials = source({ exec: plugin(folder.path, { DELAY: '0.2' }) });
  const all = await Promise.all(Array.from({ length: 10 }, () => credentials.get(never)));
  assert.equal(await runs(folder.path), 1);
  assert.ok(all.every(({ headers }) => headers['authorization'] === 'Bearer token-1'));
});

test('kept until a minute before it expires', async () => {
  await using folder = await startFolder({ 'plugin.sh': script });
  let now = Date.parse('2030-01-01T00:00:00Z');
  const credentials = source({ exec: plugin(folder.path, { EXPIRES: '2030-01-01T01:00:00Z' }) }, { now: () => now });
  await credentials.get(never);
  now = Date.parse('2030-01-01T00:58:59Z');
  await credentials.get(never);
  assert.equal(await runs(folder.path), 1);
  now = Date.parse('2030-01-01T00:59:01Z');
  await credentials.get(never);
  assert.equal(await runs(folder.path), 2);
});

test('dropped when refused, but only once for many that were refused with the same', async () => {
  await using folder = await startFolder({ 'plugin.sh': script });
  const credentials = source({ exec: plugin(folder.path) });
  const [a, b] = await Promise.all([credentials.get(never), credentials.get(never)]);
  assert.equal(await credentials.refused(a), true);
  const next = await credentials.get(never);
  assert.equal(next.headers['authorization'], 'Bearer token-2');
  assert.equal(await credentials.refused(b), true);
  assert.equal((await credentials.get(never)).headers['authorization'], 'Bearer token-2');
});

test('provideClusterInfo fills KUBERNETES_EXEC_INFO', async () => {
  await using folder = await startFolder({ 'plugin.sh': script });
  const info = async (): Promise<unknown> => JSON.parse(await readFile(join(folder.path, 'count.info'), 'utf8'));
  await source({ exec: plugin(folder.path) }).get(never);
  assert.deepEqual(await info(), { apiVersion: v1, kind: 'ExecCredential', spec: { interactive: false } });
  await source({ exec: plugin(folder.path, {}, { provideClusterInfo: true }) }).get(never);
  assert.deepEqual(await info(), {
    apiVersion: v1,
    kind: 'ExecCredential',
    spec: {
      interactive: false,
      cluster: { server: 'https://api.example:6443', 'certificate-authority-data': 'Q0E=', config: { audience: 'x' } },
    },
  });
});

test('v1beta1 works; another version than configured does not', async () => {
  await using folder = await startFolder({ 'plugin.sh': script });
  const v1beta1 = 'client.authentication.k8s.io/v1beta1';
  const good = source({ exec: plugin(folder.path, { VERSION: v1beta1 }, { apiVersion: v1beta1 }) });
  assert.match(String((await good.get(never)).headers['authorization']), /^Bearer token-/);
  const bad = await fails(source({ exec: plugin(folder.path, { VERSION: v1beta1 }) }).get(never));
  assert.equal(bad.code, 'CREDENTIALS_FAILED');
});

test('a plugin may give a client certificate', async () => {
  await using folder = await startFolder({
    'plugin.sh': `#!/bin/sh\necho '{"apiVersion":"${v1}","kind":"ExecCredential","status":{"clientCertificateData":"C","clientKeyData":"K"}}'`,
  });
  const credentials = await source({ exec: plugin(folder.path) }).get(never);
  assert.deepEqual(credentials.certificate, { cert: 'C', key: 'K' });
  assert.equal(credentials.headers['authorization'], undefined);
});

test('a failing plugin: its words without secrets, and its install hint', async () => {
  const token = `eyJhbGciOiJSUzI1NiJ9.${'a'.repeat(60)}.sig`;
  await using folder = await startFolder({
    'plugin.sh': `#!/bin/sh\necho "session expired for jane, token=${token} password: hunter2" >&2\nexit 3\n`,
  });
  const error = await fails(
    source({ exec: plugin(folder.path, {}, { installHint: 'Install it from the shop.' }) }).get(never),
  );
  assert.equal(error.code, 'CREDENTIALS_FAILED');
  assert.match(error.message, /exit status 3.*session expired for jane/s);
  assert.doesNotMatch(error.message, /eyJ|hunter2/);
  assert.equal(error.hint, 'Install it from the shop.');
});

test('a plugin that is not there, wants a terminal, or prints nonsense', async () => {
  await using folder = await startFolder({ 'plugin.sh': '#!/bin/sh\necho hello' });
  const missing = await fails(
    source({ exec: plugin('/nonexistent', {}, { installHint: 'brew install it' }) }).get(never),
  );
  assert.match(missing.message, /not installed/);
  assert.equal(missing.hint, 'brew install it');
  assert.match(
    (await fails(source({ exec: plugin(folder.path, {}, { interactiveMode: 'Always' }) }).get(never))).message,
    /terminal/,
  );
  assert.match((await fails(source({ exec: plugin(folder.path) }).get(never))).message, /JSON/);
});

test('who stops waiting is free at once, and the last one takes the plugin and its children along', async () => {
  await using folder = await startFolder({ 'plugin.sh': '#!/bin/sh\nsleep 300 &\necho $! > "$COUNT"\nwait\n' });
  const credentials = source({ exec: plugin(folder.path) });
  const [a, b] = [new AbortController(), new AbortController()];
  const waiting = Promise.allSettled([credentials.get(a.signal), credentials.get(b.signal)]);
  const child = await until(async () => Number(await readFile(join(folder.path, 'count'), 'utf8')) || undefined);
  a.abort(new Error('enough'));
  process.kill(child, 0);
  b.abort(new Error('enough'));
  assert.deepEqual(
    (await waiting).map((each) => each.status),
    ['rejected', 'rejected'],
  );
  await until(() => {
    try {
      process.kill(child, 0);
      return Promise.resolve(undefined);
    } catch {
      return Promise.resolve(true);
    }
  });
});

test('a token file is read again', async () => {
  await using folder = await startFolder({ token: 'one\n' });
  let now = 0;
  const credentials = source({ tokenFile: join(folder.path, 'token') }, { now: () => now });
  assert.equal((await credentials.get(never)).headers['authorization'], 'Bearer one');
  await writeFile(join(folder.path, 'token'), 'two\n');
  assert.equal((await credentials.get(never)).headers['authorization'], 'Bearer one');
  now = 60_000;
  assert.equal((await credentials.get(never)).headers['authorization'], 'Bearer two');
});

test('a login meanwhile is taken up from the kubeconfig', async () => {
  let current: UserConfig = { name: 'jane', token: 'old' };
  const credentials = source({ token: 'old' }, { reload: () => Promise.resolve(current) });
  const used = await credentials.get(never);
  assert.equal(await credentials.refused(used), false);
  current = { name: 'jane', token: 'new' };
  assert.equal(await credentials.refused(used), true);
  assert.equal(await credentials.refused(used), true, 'the second one that was refused with the old token');
  assert.equal((await credentials.get(never)).headers['authorization'], 'Bearer new');
});

/** A user whose token ends at a time, in seconds. */
function oidcUser(exp: number): Partial<UserConfig> {
  const token = `x.${Buffer.from(JSON.stringify({ exp })).toString('base64url')}.y`;
  return { authProvider: { name: 'oidc', config: { 'id-token': token } } };
}

function inSecond1000(): number {
  return 1_000_000;
}

test('oidc without renewal: used while it holds, refused clearly afterwards', async () => {
  const good = await source(oidcUser(2000), { now: inSecond1000 }).get(never);
  assert.match(String(good.headers['authorization']), /^Bearer x/);
  const error = await fails(source(oidcUser(999), { now: inSecond1000 }).get(never));
  assert.equal(error.code, 'CREDENTIALS_EXPIRED');
  assert.match(error.message, /1970-01-01T00:16:39/);
  assert.equal(
    (await fails(source({ authProvider: { name: 'gcp', config: {} } }).get(never))).code,
    'CREDENTIALS_FAILED',
  );
});

test('basic authentication and impersonation', async () => {
  const { headers } = await source({
    username: 'u',
    password: 'p:ä',
    impersonate: { user: 'jane', groups: ['a', 'b'], extra: { 'Acme.com/Reason': ['x'] } },
  }).get(never);
  assert.equal(headers['authorization'], `Basic ${Buffer.from('u:p:ä').toString('base64')}`);
  assert.deepEqual(headers['Impersonate-Group'], ['a', 'b']);
  assert.deepEqual(headers['Impersonate-Extra-acme.com%2Freason'], ['x']);
});

test('what looks like a secret is blanked', () => {
  for (const secret of [
    'Bearer abc.def',
    'token=abc.def',
    '"refresh_token": "abc.def"',
    'https://user:abc.def@host/',
    'client_secret: abc.def',
  ]) {
    assert.doesNotMatch(maskSecrets(`before ${secret} after`), /abc\.def/, secret);
    assert.match(maskSecrets(`before ${secret} after`), /before .*after/);
  }
});

async function until<T>(probe: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + 5000;
  for (;;) {
    const value = await probe().catch(() => undefined);
    if (value !== undefined) return value;
    if (Date.now() > end) assert.fail('waited too long');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
