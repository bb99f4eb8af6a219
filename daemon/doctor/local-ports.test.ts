import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { localPorts } from './local-ports.ts';

const me = process.getuid?.();
const linux = process.platform === 'linux';

async function listening(host: string): Promise<{ port: number } & AsyncDisposable> {
  const server = createServer().listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}

const check = async (local: number): Promise<string> => {
  const [found, ...more] = await localPorts([{ local, remote: 8080 }], me);
  assert.equal(more.length, 0);
  assert.equal(found?.check, 'local-port');
  return `${found.state} ${found.message} ${found.hint ?? ''}`;
};

void test("a port that nobody has is free, and one of the developer's own program is as it should be", async () => {
  const place = await listening('127.0.0.1');
  const { port } = place;
  const own = await check(port);
  await place[Symbol.asyncDispose]();
  assert.match(
    own,
    linux
      ? new RegExp(`^ok .* program of yours.*: node \\(pid ${process.pid}\\) of user ${me} on 127\\.0\\.0\\.1:${port}`)
      : /^ok/,
  );
  // Some other test's program may have taken it since; then it is not free, and of this user.
  assert.match(await check(port), /^ok .*(is free: start your program there|a program of yours)/);
});

void test('a program that listens on IPv6 alone is seen, though not whose it is', async () => {
  await using place = await listening('::1');
  assert.match(await check(place.port), /^ok .*is in use; this system does not say by whom.*--port OTHER:8080/);
});

void test(
  "somebody else's program on the port is a warning with its owner and the way around",
  { skip: me === 0 && linux ? false : 'needs root to be another user, and a system that names owners' },
  async () => {
    const script =
      "const s = require('net').createServer().listen(0, '127.0.0.1', () => console.log(s.address().port))";
    const other = spawn(process.execPath, ['-e', script], {
      uid: 12_345,
      gid: 12_345,
      cwd: '/',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      const port = Number(String((await once(other.stdout, 'data'))[0]));
      const said = await check(port);
      assert.match(said, new RegExp(`^warning localhost:${port},.* taken by somebody else's program`));
      assert.match(said, new RegExp(`of user 12345 on 127\\.0\\.0\\.1:${port}`));
      assert.match(said, /--port OTHER:8080/);
    } finally {
      other.kill('SIGKILL');
      await once(other, 'exit');
    }
  },
);
