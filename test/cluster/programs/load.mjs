// Sends requests to each of TARGETS (JSON: {name: {url, rate}}), `rate` a second, each on a connection of its own, and keeps what came
// of every one. GET /records?since=N gives them as JSON: [{n, target, at, ms, by?, error?, port?}], with how many are open and
// when the oldest of those was sent. Time never waits for an answer.
import { createServer, request as httpRequest } from 'node:http';

const targets = Object.entries(JSON.parse(process.env.TARGETS));
const timeout = Number(process.env.TIMEOUT ?? 15_000);
const records = [];
let sent = 0;
/** When those were sent that are not answered yet, oldest first. */
const open = new Map();

function send(target, url) {
  sent += 1;
  const id = sent;
  const at = Date.now();
  open.set(id, at);
  const began = performance.now();
  const finish = (result) => {
    if (finish.done) return;
    finish.done = true;
    open.delete(id);
    records.push({ n: records.length, target, at, ms: Math.round(performance.now() - began), ...result });
  };
  const request = httpRequest(url, { agent: false, timeout, headers: { connection: 'close' } }, (response) => {
    const chunks = [];
    response.on('data', (chunk) => chunks.push(chunk));
    response.on('error', (error) => finish({ error: error.code ?? error.message }));
    response.on('close', () => response.complete || finish({ error: 'answer cut off' }));
    response.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      if (response.statusCode !== 200) return finish({ error: `status ${response.statusCode}: ${text.slice(0, 200)}` });
      try {
        const body = JSON.parse(text);
        finish({ by: body.by ?? body.servedBy ?? 'unknown' });
      } catch {
        finish({ error: `not JSON: ${text.slice(0, 200)}` });
      }
    });
  });
  request.on('timeout', () => {
    finish({ error: `no answer in ${timeout} ms`, port: request.socket?.localPort });
    request.destroy();
  });
  request.on('error', (error) => finish({ error: error.code ?? error.message }));
  request.end();
}

// From the clock and not by counting ticks, so that a tick that comes late makes up for what it missed.
const began = performance.now();
const counts = new Map();
const timer = setInterval(() => {
  for (const [name, { url, rate }] of targets) {
    let count = counts.get(name) ?? 0;
    for (; (count * 1000) / rate <= performance.now() - began; count += 1) send(name, url);
    counts.set(name, count);
  }
}, 5);

const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://load');
  if (url.pathname === '/stop') clearInterval(timer);
  const since = Number(url.searchParams.get('since') ?? 0);
  response.setHeader('content-type', 'application/json');
  response.end(
    JSON.stringify({ sent, open: open.size, oldest: open.values().next().value, records: records.slice(since) }),
  );
});
server.listen(8080);
process.once('SIGTERM', () => {
  clearInterval(timer);
  server.close();
  server.closeAllConnections();
});
