import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { BowlineError } from '../../../api/errors.ts';
import { startFolder } from '../testing/apiserver.ts';
import { inClusterAccess } from './incluster.ts';
import { kubeconfigNotFound, readKubeconfig, resolveContext } from './kubeconfig.ts';

const home = '/nonexistent';

function file(name: string, server: string, extra = ''): string {
  return `
apiVersion: v1
kind: Config
clusters: [{name: ${name}, cluster: {server: "${server}"}}]
users: [{name: ${name}, user: {token: ${name}-token}}]
contexts: [{name: ${name}, context: {cluster: ${name}, user: ${name}, namespace: ${name}-ns}}]
${extra}`;
}

async function fails(promise: Promise<unknown>): Promise<BowlineError> {
  const error: unknown = await promise.then(
    () => assert.fail('did not fail'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof BowlineError, String(error));
  return error;
}

test('a KUBECONFIG list: the first file that names something wins, missing files are skipped', async () => {
  await using folder = await startFolder({
    a: file('one', 'https://a:1'),
    b: file('one', 'https://b:2', 'current-context: two'),
    c: file('two', 'https://c:3/k8s/clusters/x', 'current-context: one'),
  });
  const kubeconfig = ['missing', 'a', 'b', '', 'c']
    .map((name) => (name ? join(folder.path, name) : ''))
    .join(delimiter);
  const config = await readKubeconfig({ kubeconfig, home });
  assert.ok(config);
  assert.equal(config.currentContext, 'two');
  const one = await resolveContext(config, 'one');
  assert.equal(one.server.url.href, 'https://a:1/');
  const two = await resolveContext(config, undefined);
  assert.deepEqual(
    [two.context, two.namespace, two.server.url.href, two.user.token],
    ['two', 'two-ns', 'https://c:3/k8s/clusters/x', 'two-token'],
  );
});

test('all files missing: says what was looked at', async () => {
  const place = { kubeconfig: `/nonexistent/a${delimiter}/nonexistent/b`, home };
  assert.equal(await readKubeconfig(place), undefined);
  const error = kubeconfigNotFound(place);
  assert.equal(error.code, 'KUBECONFIG_NOT_FOUND');
  assert.match(error.message, /\/nonexistent\/a, \/nonexistent\/b do not exist/);
  assert.match(kubeconfigNotFound({ home }).message, /\/nonexistent\/\.kube\/config/);
});

test('without KUBECONFIG: ~/.kube/config, and nothing is written', async () => {
  await using folder = await startFolder();
  await mkdir(join(folder.path, '.kube'));
  const path = join(folder.path, '.kube', 'config');
  const content = `# mine\n${file('x', 'https://x')}\ncurrent-context: x\n`;
  await writeFile(path, content);
  const config = await readKubeconfig({ home: folder.path });
  assert.ok(config);
  assert.equal((await resolveContext(config, undefined)).context, 'x');
  assert.equal(await readFile(path, 'utf8'), content);
});

test('paths are relative to their own file; data wins over files', async () => {
  await using folder = await startFolder({ 'ca.pem': 'CA', 'c.pem': 'CERT', 'k.pem': 'KEY', token: 't' });
  await mkdir(join(folder.path, 'sub'));
  await writeFile(
    join(folder.path, 'sub', 'config'),
    `
clusters:
- name: c
  cluster: {server: "https://h", certificate-authority: ../ca.pem, proxy-url: "http://p:1", tls-server-name: sni, insecure-skip-tls-verify: false}
users:
- name: u
  user: {client-certificate: ../c.pem, client-key: ../k.pem, client-key-data: ${Buffer.from('KEY2').toString('base64')}, tokenFile: ../token, as: jane, as-groups: [a, b], as-user-extra: {reason: [x]}}
- name: p
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin.sh, args: [1, true], env: [{name: A, value: 1}], provideClusterInfo: true}
contexts:
- {name: c, context: {cluster: c, user: u}}
- {name: p, context: {cluster: c, user: p}}
`,
  );
  const config = await readKubeconfig({ kubeconfig: join(folder.path, 'sub', 'config'), home });
  assert.ok(config);
  const { server, user, namespace } = await resolveContext(config, 'c');
  assert.deepEqual(
    { ca: server.ca, proxy: server.proxy, sni: server.tlsServerName, insecure: server.insecure },
    { ca: 'CA', proxy: 'http://p:1', sni: 'sni', insecure: false },
  );
  assert.equal(namespace, 'default');
  assert.deepEqual(user.certificate, { cert: 'CERT', key: 'KEY2' });
  assert.equal(user.tokenFile, join(folder.path, 'token'));
  assert.deepEqual(user.impersonate, { user: 'jane', groups: ['a', 'b'], extra: { reason: ['x'] } });
  const plugin = (await resolveContext(config, 'p')).user.exec;
  assert.equal(plugin?.command, join(folder.path, 'sub', 'plugin.sh'));
  assert.deepEqual([plugin?.args, plugin?.env, plugin?.provideClusterInfo], [['1', 'true'], { A: '1' }, true]);
});

test('scalars stay what stands in the file', async () => {
  await using folder = await startFolder({
    config: `
clusters: [{name: c, cluster: {server: "https://h", extensions: [{name: client.authentication.k8s.io/exec, extension: {n: 007, b: true}}]}}]
users: [{name: 007, user: {token: 0123e4}}]
contexts: [{name: c, context: {cluster: c, user: 007}}]
`,
  });
  const config = await readKubeconfig({ kubeconfig: join(folder.path, 'config'), home });
  assert.ok(config);
  const { user, server } = await resolveContext(config, 'c');
  assert.deepEqual([user.name, user.token], ['007', '0123e4']);
  assert.deepEqual(server.pluginConfig, { n: 7, b: true });
});

test('an unknown context offers the nearest, and none at all says what there is', async () => {
  await using folder = await startFolder({ config: file('staging-eu', 'https://h') });
  const config = await readKubeconfig({ kubeconfig: join(folder.path, 'config'), home });
  assert.ok(config);
  const unknown = await fails(resolveContext(config, 'stagin-eu'));
  assert.equal(unknown.code, 'CONTEXT_NOT_FOUND');
  assert.match(unknown.hint ?? '', /staging-eu/);
  const none = await fails(resolveContext(config, undefined));
  assert.equal(none.code, 'CONTEXT_NOT_FOUND');
  assert.match(none.hint ?? '', /staging-eu/);
});

test('a broken file is named with the line, never quoted', async () => {
  await using folder = await startFolder({
    yaml: 'users:\n- name: u\n  user: {token: "s3cr3t-token\n',
    shape: 'users:\n- name: u\n  user: {token: [s3cr3t-token]}\n',
    empty: '',
  });
  for (const name of ['yaml', 'shape']) {
    const error = await fails(readKubeconfig({ kubeconfig: join(folder.path, name), home }));
    assert.equal(error.code, 'KUBECONFIG_INVALID');
    assert.match(error.message, new RegExp(`${name} is not a valid kubeconfig`));
    assert.doesNotMatch(JSON.stringify(error.toShape()) + String(error.stack), /s3cr3t/);
  }
  const empty = await readKubeconfig({ kubeconfig: join(folder.path, 'empty'), home });
  assert.ok(empty);
  assert.equal((await fails(resolveContext(empty, undefined))).code, 'CONTEXT_NOT_FOUND');
});

test('a context that names what is not there', async () => {
  await using folder = await startFolder({
    config: 'contexts: [{name: c, context: {cluster: gone, user: u}}]\nusers: null\n',
  });
  const config = await readKubeconfig({ kubeconfig: join(folder.path, 'config'), home });
  assert.ok(config);
  const error = await fails(resolveContext(config, 'c'));
  assert.equal(error.code, 'KUBECONFIG_INVALID');
  assert.match(error.message, /cluster "gone"/);
});

test('in a pod: the service account is the user', async () => {
  await using folder = await startFolder({ token: 't', 'ca.crt': 'CA', namespace: 'shop\n' });
  const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
  const access = await inClusterAccess(env, folder.path);
  assert.equal(access?.server.url.href, 'https://[fd00::1]/');
  assert.deepEqual(
    [access?.namespace, access?.server.ca, access?.user.tokenFile],
    ['shop', 'CA', join(folder.path, 'token')],
  );
  assert.equal(await inClusterAccess({}, folder.path), undefined);
});
