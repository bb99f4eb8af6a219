import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pathsOf, type PlatformFacts } from './paths.ts';

const linux: PlatformFacts = { platform: 'linux', env: {}, uid: 1000, home: '/home/ada', tmpdir: '/tmp' };

void test('Linux: XDG folders, and /tmp with the user’s number where there is none', () => {
  const bare = pathsOf(linux);
  assert.equal(bare.socket, '/tmp/bowline-1000/daemon.sock');
  assert.equal(bare.stateFolder, '/home/ada/.local/state/bowline');
  const xdg = pathsOf({
    ...linux,
    env: { XDG_RUNTIME_DIR: '/run/user/1000', XDG_STATE_HOME: '/s', XDG_CACHE_HOME: 'relative' },
  });
  assert.equal(xdg.socket, '/run/user/1000/bowline/daemon.sock');
  assert.equal(xdg.logFile, '/s/bowline/daemon.log');
  assert.equal(xdg.cacheFolder, '/home/ada/.cache/bowline');
});

void test('a socket is never longer than the shortest limit, and different folders stay different', () => {
  const long = (letter: string): string =>
    pathsOf({ ...linux, env: { XDG_RUNTIME_DIR: `/${letter.repeat(100)}` } }).socket ?? '';
  assert.ok(Buffer.byteLength(long('a')) <= 103);
  assert.notEqual(long('a'), long('b'));
});

void test('macOS and Windows have their own', () => {
  const mac = pathsOf({
    platform: 'darwin',
    env: { TMPDIR: '/var/folders/x' },
    uid: 501,
    home: '/Users/ada',
    tmpdir: '/var/folders/x',
  });
  assert.equal(mac.socket, '/tmp/bowline-501/daemon.sock');
  assert.equal(mac.stateFolder, '/Users/ada/Library/Application Support/bowline');
  const windows = pathsOf({
    platform: 'win32',
    env: { LOCALAPPDATA: 'C:\\L' },
    uid: -1,
    home: 'C:\\U',
    tmpdir: 'C:\\T',
  });
  assert.equal(windows.socket, undefined);
  assert.equal(windows.endpoint, 'C:\\L\\bowline\\run\\endpoint.json');
});
