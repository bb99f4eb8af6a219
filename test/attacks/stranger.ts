/**
 * What any pod of the cluster may try on an agent's control port: sends the text of a program that runs in a pod and prints,
 * for each attempt, what it was told, and how many bytes came back once the pipe was open.
 */
export interface Attempt {
  name: string;
  /** Status of the answer to the request or the upgrade; 0 where the connection was closed without one. */
  status: number;
  /** Bytes of the answer's body, or of what was said inside the pipe. */
  bytes: number;
}

export function strangerProgram(options: { host: string; port: number; key: string; cert: string }): string {
  return `
const http = require('http'), net = require('net'), tls = require('tls');
const { host, port, key, cert } = ${JSON.stringify(options)};
const preface = Buffer.from('PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n\\0\\0\\0\\4\\0\\0\\0\\0\\0', 'latin1');

/** Settles when the agent has closed: it must, whatever it was told. */
function ask(method, path) {
  return new Promise((resolve) => {
    const request = http.request({ host, port, method, path, agent: false }, (response) => {
      let bytes = 0;
      response.on('data', (chunk) => (bytes += chunk.length));
      response.on('close', () => resolve({ status: response.statusCode, bytes }));
    });
    request.on('error', () => resolve({ status: 0, bytes: 0 }));
    request.end(method === 'POST' ? '{}' : undefined);
  });
}
function upgrade(path, how, talk) {
  return new Promise((resolve) => {
    const request = http.request({ host, port, path, agent: false, headers: { Connection: 'Upgrade', Upgrade: how } });
    request.on('error', () => resolve({ status: 0, bytes: 0 }));
    request.on('response', (response) => { response.resume(); resolve({ status: response.statusCode, bytes: 0 }); });
    request.on('upgrade', (response, socket, head) => {
      socket.on('error', () => {});
      const inside = talk(socket);
      let bytes = 0;
      inside.on('error', () => {});
      inside.on('data', (chunk) => (bytes += chunk.length));
      inside.on('close', () => resolve({ status: 101, bytes }));
      socket.on('close', () => inside.destroy());
    });
    request.end();
  });
}
const plain = (text) => (socket) => (socket.write(text), socket);
const secured = (more) => (socket) => {
  const inside = tls.connect({ socket, rejectUnauthorized: false, ...more });
  inside.on('secureConnect', () => inside.write(preface));
  return inside;
};
(async () => {
  const said = [];
  const note = async (name, attempt) => said.push({ name, ...(await attempt) });
  for (const [method, path] of [['GET', '/'], ['GET', '/healthz'], ['GET', '/metrics'], ['GET', '/outbound'], ['POST', '/outbound'],
    ['GET', '/var/run/bowline/session.json'], ['GET', '/../../etc/passwd'], ['DELETE', '/healthz']])
    await note(method + ' ' + path, ask(method, path));
  await note('another purpose', upgrade('/status', 'bowline', plain('x')));
  await note('another protocol', upgrade('/outbound', 'h2c', plain(preface)));
  for (const purpose of ['outbound', 'inbound']) for (const how of ['bowline', 'websocket']) {
    const attempt = (name, talk) => note(purpose + ' by ' + how + ': ' + name, upgrade('/' + purpose, how, talk));
    await attempt('garbage', plain('hello\\r\\n\\r\\n'));
    await attempt('HTTP/2 without TLS', plain(preface));
    await attempt('TLS without a certificate', secured({ ALPNProtocols: ['bowline'] }));
    await attempt('TLS with a certificate of his own', secured({ key, cert, ALPNProtocols: ['bowline'] }));
    await attempt('TLS 1.2', secured({ key, cert, maxVersion: 'TLSv1.2' }));
    await attempt('HTTP/2 by name', secured({ key, cert, ALPNProtocols: ['h2'] }));
  }
  console.log(JSON.stringify(said));
  process.exit();
})();
`;
}

/** Opens more pipes than the agent holds unproven, and says nothing on them; ends when the first was closed. */
export function crowdProgram({ host, port }: { host: string; port: number }): string {
  return `
const net = require('net');
let closed = 0;
for (let index = 0; index < 200; index++) {
  const socket = net.connect(${port}, ${JSON.stringify(host)});
  socket.on('error', () => {});
  socket.write('GET /outbound HTTP/1.1\\r\\nHost: x\\r\\nConnection: Upgrade\\r\\nUpgrade: bowline\\r\\n\\r\\n');
  socket.resume();
  socket.on('close', () => { if (++closed === 100) { console.log('closed'); process.exit(); } });
}
`;
}
