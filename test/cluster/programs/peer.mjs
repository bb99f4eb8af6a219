/**
 * Both ends of a TCP connection, for what a tunnel must carry; runs in a pod and on the machine alike.
 *
 *   node peer.mjs serve PORT [HOST]              until it is ended
 *   node peer.mjs down HOST PORT BYTES           takes that many, and reads nothing until the giver stands still
 *   node peer.mjs up HOST PORT BYTES             gives that many to a taker that reads nothing until this stands still
 *   node peer.mjs many HOST PORT COUNT ABREAST   opens and closes that many, so many at a time
 *   node peer.mjs ends HOST PORT                 either side ends first, and still hears the other
 *   node peer.mjs fails HOST PORT                a connection that nobody takes
 *   node peer.mjs keep HOST PORT                 opens one, says nothing by it, and waits for its end
 *   node peer.mjs kept HOST PORT                 how many of those the server has had
 *
 * A client prints one line of JSON. What a connection is for its first line says.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { text } from 'node:stream/consumers';

const chunk = Buffer.from(Array.from({ length: 1024 * 1024 }, (_, index) => (index * 31 + (index >> 8)) & 0xff));

/** Bytes given so far, by the last one who gave: a stalled reader is seen here. */
let given = 0;
let letTakersGo = () => {};

async function give(socket, bytes) {
  given = 0;
  while (given < bytes) {
    const more = socket.write(chunk.subarray(0, Math.min(chunk.length, bytes - given)));
    given += Math.min(chunk.length, bytes - given);
    if (!more) await once(socket, 'drain');
  }
  socket.end();
}

async function hashOf(socket) {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const data of socket) {
    hash.update(data);
    bytes += data.length;
  }
  return { bytes, hash: hash.digest('hex') };
}

async function stands(look) {
  for (let last = -1, now = await look(); ; last = now, now = await look()) {
    if (now === last && now > 0) return now;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

function firstLine(socket) {
  return new Promise((resolve) => {
    let line = '';
    const look = () => {
      for (let byte = socket.read(1); byte !== null; byte = socket.read(1)) {
        if (byte[0] === 10) {
          socket.off('readable', look);
          return resolve(line);
        }
        line += byte.toString();
      }
    };
    socket.on('readable', look);
  });
}

async function answer(socket) {
  const [what, ...rest] = (await firstLine(socket)).split(' ');
  if (what === 'give') await give(socket, Number(rest[0]));
  else if (what === 'given') socket.end(String(given));
  else if (what === 'go') socket.end(String(letTakersGo()));
  else if (what === 'take') {
    await new Promise((resolve) => (letTakersGo = resolve));
    socket.end(JSON.stringify(await hashOf(socket)));
  } else if (what === 'echo') socket.pipe(socket);
  else if (what === 'keep') kept += 1;
  else if (what === 'kept') socket.end(String(kept));
  else if (what === 'welcome') {
    socket.end('welcome');
    heard = await text(socket);
  } else if (what === 'heard') socket.end(heard);
}
let heard = '';
let kept = 0;

function dial(host, port, first) {
  const socket = net.connect({ host, port: Number(port), allowHalfOpen: true });
  if (first !== undefined) socket.write(`${first}\n`);
  return socket;
}

async function ask(host, port, what, more = '') {
  const socket = dial(host, port, what);
  socket.end(more);
  return text(socket);
}

const clients = {
  async down(host, port, bytes) {
    const socket = dial(host, port, `give ${bytes}`);
    const held = await stands(async () => Number(await ask(host, port, 'given')));
    const got = await hashOf(socket);
    socket.end();
    return { held, ...got };
  },
  async up(host, port, bytes) {
    const socket = dial(host, port, 'take');
    const done = give(socket, Number(bytes));
    const held = await stands(async () => given);
    await ask(host, port, 'go');
    await done;
    return { held, ...JSON.parse(await text(socket)) };
  },
  async many(host, port, count, abreast) {
    const failed = new Map();
    let left = Number(count);
    let answered = 0;
    const some = async () => {
      while (left > 0) {
        const said = String((left -= 1));
        try {
          if ((await ask(host, port, 'echo', said)) === said) answered += 1;
          else failed.set('another answer', (failed.get('another answer') ?? 0) + 1);
        } catch (error) {
          failed.set(error.code, (failed.get(error.code) ?? 0) + 1);
        }
      }
    };
    await Promise.all(Array.from({ length: Number(abreast) }, some));
    return { answered, failed: Object.fromEntries(failed) };
  },
  async ends(host, port) {
    const first = await ask(host, port, 'echo', 'said before the end');
    const socket = dial(host, port, 'welcome');
    const greeting = await text(socket);
    socket.end('said after the end');
    await once(socket, 'close');
    for (;;) {
      const said = await ask(host, port, 'heard');
      if (said !== '') return { first, greeting, said };
    }
  },
  async keep(host, port) {
    const socket = dial(host, port, 'keep');
    try {
      await text(socket);
      return { code: 'an end' };
    } catch (error) {
      return { code: error.code };
    }
  },
  async kept(host, port) {
    return { count: Number(await ask(host, port, 'kept')) };
  },
  async fails(host, port) {
    const before = performance.now();
    try {
      await ask(host, port, 'echo');
      return { code: 'an end' };
    } catch (error) {
      return { code: error.code, milliseconds: performance.now() - before };
    }
  },
};

const [role, ...args] = process.argv.slice(2);
if (role === 'serve') {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    void answer(socket).catch(() => socket.destroy());
  });
  server.listen(Number(args[0]), args[1] ?? '0.0.0.0', () => console.log(server.address().port));
  process.once('SIGTERM', () => process.exit(0));
} else {
  console.log(JSON.stringify(await clients[role](...args)));
}
