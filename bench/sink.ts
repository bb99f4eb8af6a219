/**
 * The far end of every measurement: `node sink.ts NAME [PORT]`. The same program is the original in the cluster and the
 * local process on the machine, so that two paths differ in nothing but the path.
 */
import { createServer, type Socket } from 'node:net';
import { amountLength, down, echo, port as usualPort, up, who } from './wire.ts';

const [name = 'sink', port = String(usualPort)] = process.argv.slice(2);
const block = Buffer.alloc(1024 * 1024, 'x');

function serve(socket: Socket): void {
  let head: Buffer = Buffer.alloc(0);
  socket.on('error', () => undefined);
  socket.on('end', () => socket.end());
  socket.on('data', function begin(chunk: Buffer) {
    head = Buffer.concat([head, chunk]);
    const task = String.fromCharCode(head[0] ?? 0);
    const needed = task === down || task === up ? 1 + amountLength : 1;
    if (head.length < needed) return;
    socket.off('data', begin);
    const amount = Number(head.subarray(1, needed).toString());
    const rest = head.subarray(needed);
    if (task === down) send(socket, amount);
    else if (task === up) take(socket, amount - rest.length);
    else if (task === who) socket.end(name);
    else if (task === echo) {
      if (rest.length > 0) socket.write(rest);
      socket.on('data', (bytes: Buffer) => socket.write(bytes));
    } else socket.destroy();
  });
}

function send(socket: Socket, amount: number): void {
  let left = amount;
  const more = (): void => {
    while (left > 0) {
      const part = left < block.length ? block.subarray(0, left) : block;
      left -= part.length;
      if (!socket.write(part)) {
        socket.once('drain', more);
        return;
      }
    }
  };
  more();
  socket.resume();
}

function take(socket: Socket, amount: number): void {
  let left = amount;
  socket.on('data', (bytes: Buffer) => {
    left -= bytes.length;
    if (left <= 0) socket.write('.');
  });
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, serve);
server.listen({ port: Number(port), backlog: 4096 }, () => process.stdout.write('ready\n'));
// In a pod it is the first process, which ends by no signal that it does not handle.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0));
