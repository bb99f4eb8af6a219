/** What `status` says of volumes, and of a connection that does not carry. */
import assert from 'node:assert/strict';
import { stripVTControlCharacters } from 'node:util';
import { test } from 'node:test';
import type { Connection, DaemonStatus } from '../api/schema.ts';
import { describeStatus } from './texts.ts';

const mebibyte = 1024 * 1024;
const at = (mountPath: string) => ({ volume: 'v', kind: 'secret', mountPath, readOnly: true, local: `/f${mountPath}` });

function describe(facts: object): string {
  const daemon = { version: '1', pid: 1, started: '', logFile: '' };
  const basics = { name: 'shop/x', state: 'connected', since: '', ports: [], passedOn: [], services: [], warnings: [] };
  const status = { version: 1, daemon, helper: { installed: true }, connections: [{ ...basics, ...facts }] };
  return stripVTControlCharacters(describeStatus(status as unknown as DaemonStatus));
}

test('volumes: how many are here, how much of the others has come, and why one will not', () => {
  const files: Connection['files'] = {
    folder: '/run/user/1000/bowline/files/x',
    backing: 'memory',
    mounts: [
      { ...at('/etc/a'), state: 'ready', bytes: 10, files: 1 },
      { ...at('/data'), state: 'downloading', bytes: 24 * mebibyte, received: 6 * mebibyte },
      { ...at('/big'), state: 'skipped', bytes: 900 * mebibyte, reason: 'it is larger than 100 MiB' },
    ],
    parts: [{ volume: 'certs', path: '*.crt', local: '/f/p', state: 'failed', reason: 'the tunnel ended' }],
  };
  const text = describe({ environmentFile: '/project/azds-local.env', files });
  const lines = text.split('\n').map((line) => line.trim());
  assert.ok(lines.includes('env file  /project/azds-local.env'), text);
  const from = lines.findIndex((line) => line.startsWith('files'));
  assert.deepEqual(lines.slice(from, from + 4), [
    'files     1 of 3 volumes at /run/user/1000/bowline/files/x/root (in memory)',
    '/data: downloading, 6.0 MiB of 24.0 MiB',
    '/big: skipped, 900.0 MiB: it is larger than 100 MiB',
    'certs/*.crt: failed: the tunnel ended',
  ]);
});

const redirected = {
  target: { kind: 'Deployment', name: 'x', container: 'app' },
  ports: [{ local: 8080, remote: 80, services: ['x:80'] }],
  passedOn: [{ remote: 9090, protocol: 'TCP' }],
  originals: { replicas: 2, stopped: false },
  keeper: 'namespace',
  namesMode: 'hosts',
  pipe: 'pods/proxy',
  traffic: { inbound: 1, outbound: 2, toOriginals: 0 },
};

test('a port that nobody listens on, and what its callers get', () => {
  const since = new Date(2026, 0, 1, 9, 5, 7).toISOString();
  const portOf = (callers: string): string | undefined =>
    /port +(.*)/.exec(describe({ ...redirected, down: [{ local: 8080, since, callers, stopped: true }] }))?.[1];
  const nobody = 'nothing listens on localhost:8080 since 09:05:07: ';
  assert.equal(portOf('reset'), `${nobody}callers of port 80 of the pod (x:80) are reset`);
  assert.equal(portOf('originals'), `${nobody}the originals answer port 80 of the pod (x:80)`);
});

test('what only a standing connection does is said of no other', () => {
  const connected = describe(redirected);
  for (const said of ['localhost:8080 answers port 80', 'answer by their names\n', '2 replicas when it was connected'])
    assert.ok(connected.includes(said), connected);
  assert.match(connected, /traffic +1 in, 2 out\n/);
  const without = describe({ ...redirected, state: 'reconnecting', pipe: undefined });
  assert.match(without, /port +localhost:8080 answers .* when there is a tunnel; now nothing arrives\n/);
  assert.match(without, /names +services answer by their names when the tunnel is there again; now none does\n/);
  const error = { code: 'TAKEN_OVER', category: 'conflict', message: 'x was taken over by bob.' };
  const failed = describe({ ...redirected, state: 'failed', error });
  assert.match(failed, /TAKEN_OVER: x was taken over by bob\./);
  assert.doesNotMatch(failed, /answer|keeper|replicas|traffic|tunnel/);
});
