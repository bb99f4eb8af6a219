/** What `status` says of volumes. */
import assert from 'node:assert/strict';
import { stripVTControlCharacters } from 'node:util';
import { test } from 'node:test';
import type { Connection, DaemonStatus } from '../api/schema.ts';
import { describeStatus } from './texts.ts';

const mebibyte = 1024 * 1024;
const at = (mountPath: string) => ({ volume: 'v', kind: 'secret', mountPath, readOnly: true, local: `/f${mountPath}` });

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
  const connection = {
    name: 'shop/x',
    state: 'connected',
    since: '',
    ports: [],
    passedOn: [],
    environmentFile: '/project/azds-local.env',
    services: [],
    warnings: [],
  };
  const daemon = { version: '1', pid: 1, started: '', logFile: '' };
  const status = { version: 1, daemon, helper: { installed: true }, connections: [{ ...connection, files }] };
  const text = stripVTControlCharacters(describeStatus(status as unknown as DaemonStatus));
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
