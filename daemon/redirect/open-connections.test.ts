import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { parsePeers } from './open-connections.ts';

const head =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                     ';
const rest = '00000000:00000000 02:000005A3 00000000  1000        0 81023 2 0000000000000000 20 4 31 10 -1';

test('established connections to the ports, of both families; not of the pod itself, not closing, not listening, not others', () => {
  const table = [
    head,
    `   0: 00000000:1F90 00000000:0000 0A ${rest}`,
    `   1: 0A00F40A:1F90 0F00F40A:C350 01 ${rest}`,
    `   2: 0A00F40A:1F90 0F00F40A:C351 06 ${rest}`,
    `   3: 0100007F:1F90 0100007F:C352 01 ${rest}`,
    `   4: 0A00F40A:C353 0F00F40A:1F90 01 ${rest}`,
    head,
    `   0: 0000000000000000FFFF00000A00F40A:1F90 0000000000000000FFFF00001000F40A:C354 01 ${rest}`,
    `   1: B80D0120000000000000000001000000:1F90 B80D0120000000000000000002000000:C355 01 ${rest}`,
    `   2: 00000000000000000000000001000000:1F90 00000000000000000000000001000000:C356 01 ${rest}`,
  ].join('\n');
  assert.deepEqual(parsePeers(table, [8080]), [
    { address: '10.244.0.15', port: 50000 },
    { address: '10.244.0.16', port: 50004 },
    { address: '2001:db8::2', port: 50005 },
  ]);
  assert.deepEqual(parsePeers(table, [9090]), []);
});

test("this machine's own kernel prints it so", { skip: process.platform !== 'linux' }, async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  // Seen from its far end, whose local port is not loopback's affair: both ends are of this machine, so none is a caller.
  const table = await readFile('/proc/net/tcp', 'latin1');
  assert.match(
    table,
    new RegExp(`0100007F:${port.toString(16).toUpperCase().padStart(4, '0')} 0100007F:[0-9A-F]{4} 01 `),
  );
  assert.deepEqual(parsePeers(table, [port]), []);
  assert.equal(parsePeers(table.replaceAll('0100007F', '0200A8C0'), [port]).length, 1);
  socket.destroy();
  server.close();
});
