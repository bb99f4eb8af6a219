// Answers every request with who answers it: {"by": HOSTNAME, "label": LABEL, "path", "headers"}. Ends on SIGTERM when open requests are done.
import { createServer } from 'node:http';
import { hostname } from 'node:os';

const server = createServer((request, response) => {
  const body = JSON.stringify({
    by: hostname(),
    label: process.env.LABEL,
    path: request.url,
    headers: request.headers,
  });
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body);
});
server.listen(Number(process.env.PORT ?? 8080));
// While the Service still sends connections here, they are served: the endpoint goes when the pod is told to end, not before.
process.once('SIGTERM', () => setTimeout(() => server.close(), Number(process.env.LINGER ?? 1000)));
