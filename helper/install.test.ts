import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { connectHelper } from './client.ts';
import { helperStatus, installCommand, planInstall, runInstall, runUninstall, type InstallOptions } from './install.ts';
import { defineService as darwin } from './service/darwin.ts';
import { defineService as linux } from './service/linux.ts';
import { defineService as win32 } from './service/win32.ts';

const folder = mkdtempSync(join(tmpdir(), 'bowline-install-'));
chmodSync(folder, 0o755);
after(() => rmSync(folder, { recursive: true, force: true }));

const places = {
  libDir: join(folder, 'lib'),
  runDir: join(folder, 'run'),
  stateDir: join(folder, 'state'),
  hosts: join(folder, 'hosts'),
};
const options: InstallOptions = {
  uid: 65_533,
  gid: 65_533,
  platform: 'linux',
  allowSuffixes: ['dev'],
  sourceDir: import.meta.dirname,
  node: process.execPath,
  service: false,
  places,
};
const never = new AbortController().signal;

void test(
  'installed, answering, and gone without a trace',
  { skip: process.getuid?.() === 0 ? false : 'needs root', timeout: 60_000 },
  async () => {
    writeFileSync(places.hosts, '127.0.0.1 localhost\n');
    assert.equal((await helperStatus(options, never)).running, false);
    const status = await runInstall(options, never);
    try {
      assert.deepEqual([status.installed, status.running, status.startedAs], [true, true, 'process']);
      assert.match(status.detail, /no service manager/);
      for (const file of readdirSync(places.libDir)) {
        const { uid, mode } = statSync(join(places.libDir, file));
        assert.deepEqual([file, uid, mode & 0o022], [file, 0, 0]);
        assert.doesNotMatch(file, /test|client|install/);
      }
      // The copy works on its own, with what the administrator allowed.
      const client = await connectHelper({ uid: 65_533, runDir: places.runDir }, never);
      const { refused } = await client.apply({
        hosts: [{ address: '127.66.88.1', names: ['redis.dev', 'redis.com'] }],
        lowPorts: [],
      });
      assert.deepEqual(
        refused.map(({ what }) => what),
        ['redis.com'],
      );
      assert.match(readFileSync(places.hosts, 'utf8'), /redis\.dev/);
      await client.apply({
        hosts: [{ address: '127.66.88.1', names: ['redis'] }],
        lowPorts: [{ address: '127.66.88.1', port: 80, targetPort: 26_401 }],
      });
      // Again, over the running one.
      assert.equal((await runInstall(options, never)).running, true);
      assert.doesNotMatch(readFileSync(places.hosts, 'utf8'), /redis/);
      // Killed with everything in place.
      const second = await connectHelper({ uid: 65_533, runDir: places.runDir }, never);
      await second.apply({
        hosts: [{ address: '127.66.88.1', names: ['redis'] }],
        lowPorts: [{ address: '127.66.88.1', port: 80, targetPort: 26_401 }],
      });
      process.kill(Number(readFileSync(join(places.stateDir, '65533.pid'), 'utf8')), 'SIGKILL');
      await second.closed;
      assert.match(readFileSync(places.hosts, 'utf8'), /redis/);
    } finally {
      await runUninstall(options);
    }
    assert.equal(readFileSync(places.hosts, 'utf8'), '127.0.0.1 localhost\n');
    assert.doesNotMatch(spawnSync('iptables', ['-t', 'nat', '-S']).stdout?.toString() ?? '', /BOWLINE-65533/);
    for (const place of [places.libDir, places.runDir, places.stateDir]) assert.ok(!existsSync(place), place);
  },
);

void test('the definitions start the installed program for one user', () => {
  const service = { uid: 1000, gid: 100, node: '/lib/node', program: '/lib/main.ts', allowSuffixes: ['dev'] };
  for (const define of [linux, darwin, win32]) {
    const { name, content, start, stop } = define(service);
    const words = content.replace(/<\/?string>|\s+/g, ' ');
    assert.match(words, /\/lib\/node.*\/lib\/main\.ts +--user +1000 +--gid +100 +--allow-suffix +dev/);
    assert.match(name, /1000/);
    assert.ok(start.length > 0 && stop.length > 0);
  }
});

void test('what is going to happen is said before', () => {
  const plan = planInstall(options).join('\n');
  for (const fact of [places.libDir, places.hosts, '127.66.0.0/16', '65533']) assert.ok(plan.includes(fact), fact);
  assert.deepEqual(installCommand('install', options).slice(2), [
    'install',
    '--user',
    '65533',
    '--gid',
    '65533',
    '--allow-suffix',
    'dev',
  ]);
});
