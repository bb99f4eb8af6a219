/** A peer without the one right certificate gets nothing, whichever end it is. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import tls from 'node:tls';
import { openInbound, serveInbound } from './inbound.ts';
import { openOutbound, serveOutbound } from './outbound.ts';
import { secureClient, secureServer } from './secure.ts';
import { listen, makeIdentities, tcpPair } from './testbed.ts';
import type { TunnelIdentity } from './tunnel.ts';

const ours = await makeIdentities();
const stranger = await makeIdentities();
const call = (): Promise<unknown> => assert.fail('called');
const accept = (): never => assert.fail('asked');

const openers = {
  outbound: (pipe: net.Socket, identity: TunnelIdentity) => openOutbound(pipe, identity),
  inbound: (pipe: net.Socket, identity: TunnelIdentity) => openInbound(pipe, identity, { accept }),
};
const servers = {
  outbound: (pipe: net.Socket, identity: TunnelIdentity) => serveOutbound(pipe, identity, { call }),
  inbound: (pipe: net.Socket, identity: TunnelIdentity) => serveInbound(pipe, identity),
};

for (const way of ['outbound', 'inbound'] as const) {
  void test(`${way}: a daemon with another certificate is turned away by the agent`, async () => {
    const [near, far] = await tcpPair();
    const opening = openers[way](near, { ...stranger.daemon, peerCert: ours.agent.cert });
    await Promise.all([
      assert.rejects(servers[way](far, ours.agent), /another certificate/),
      assert.rejects(opening, /could not be opened|TLS handshake/),
    ]);
    assert.ok(near.destroyed && far.destroyed);
  });

  void test(`${way}: an agent with another certificate is turned away by the daemon`, async () => {
    const [near, far] = await tcpPair();
    const serving = servers[way](far, { ...stranger.agent, peerCert: ours.daemon.cert });
    await assert.rejects(openers[way](near, ours.daemon), /another certificate/);
    const ended = await serving.then(
      (tunnel) => tunnel.closed,
      (error: Error) => error.message,
    );
    assert.ok(ended);
    assert.ok(near.destroyed && far.destroyed);
  });
}

void test('a stranger reads not one byte of the tunnel: no certificate, his own, or ours without the key', async () => {
  const identities = [{}, { key: stranger.daemon.key, cert: stranger.daemon.cert }];
  for (const identity of identities) {
    const [near, far] = await tcpPair();
    const serving = assert.rejects(serveOutbound(far, ours.agent, { call }), /certificate/);
    const socket = tls.connect({ socket: near, rejectUnauthorized: false, ALPNProtocols: ['bowline'], ...identity });
    let read = 0;
    socket.on('data', (data: Buffer) => (read += data.length)).on('error', () => {});
    socket.write('let me in');
    await Promise.all([serving, once(socket, 'close')]);
    assert.equal(read, 0);
  }
  assert.throws(() => tls.createSecureContext({ key: stranger.daemon.key, cert: ours.daemon.cert }), /mismatch/);
});

void test('older TLS and plain text are turned away', async () => {
  const [near, far] = await tcpPair();
  const serving = assert.rejects(secureServer(far, ours.agent), /TLS handshake/);
  const { key, cert } = ours.daemon;
  const socket = tls.connect({ socket: near, maxVersion: 'TLSv1.2', rejectUnauthorized: false, key, cert });
  await assert.rejects(once(socket, 'secureConnect'));
  await serving;

  const [plain, other] = await tcpPair();
  const refusing = assert.rejects(secureServer(other, ours.agent), /TLS handshake/);
  plain.on('error', () => {}).end('GET / HTTP/1.1\r\n\r\n');
  await refusing;
});

void test('a peer that says nothing is given up in time, and on cancellation at once', async () => {
  const [near, far] = await tcpPair();
  await assert.rejects(secureServer(far, ours.agent, { timeout: 100 }), /longer than 100 ms/);
  await once(near.resume(), 'close');

  await using silent = await listen(() => {});
  const cancel = new AbortController();
  const pipe = net.connect(silent.port, '127.0.0.1');
  const opening = secureClient(pipe, ours.daemon, { signal: cancel.signal });
  cancel.abort(new Error('enough'));
  await assert.rejects(opening, { message: 'enough' });
});

void test('bytes that came with the upgrade belong to the handshake', async () => {
  const [near, far] = await tcpPair();
  const opening = openOutbound(near, ours.daemon);
  const [early] = (await once(far, 'data')) as [Buffer];
  far.pause();
  far.unshift(early);
  await using agent = await serveOutbound(far, ours.agent, { call: () => Promise.resolve('heard') });
  await using daemon = await opening;
  assert.equal(await daemon.call('x', {}), 'heard');
  assert.equal(agent.streams, 0);
});
